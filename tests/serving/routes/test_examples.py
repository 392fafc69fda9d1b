"""Texts to try: verdicts that hold, and no text of a run where texts are hidden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tamis.classifier.training_features import PREDICTIONS
from tamis.serving.routes.examples import A_CLASS, HAM, SPAM
from tests import runs
from tests.serving import served


def examples(client: TestClient, model: str = "") -> list[dict[str, str]]:
    answer = client.get(f"/v1/examples{model}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["examples"])


def of_other_labels(client: TestClient, names: list[str]) -> None:
    """Give the served model other labels and no positive one."""
    loaded = client.app.state.service.models.named(None).loaded  # type: ignore[attr-defined]
    classifier = loaded.classifier
    classifier.classes_ = np.array(names)
    object.__setattr__(classifier.rule_, "positive", names[1])


def test_every_example_of_a_spam_model_has_the_verdict_that_is_told(tmp_path: Path) -> None:
    with served.client(served.models(tmp_path / "s.sqlite")) as client:
        found = examples(client)
        assert found and {one["text"] for one in found} <= {*SPAM, *HAM}
        for one in found:
            assert one["verdict"] == ("spam" if one["text"] in SPAM else "ham")
        texts = [one["text"] for one in found]
        results = client.post("/v1/predict", json={"texts": texts}).json()["results"]
        assert [result["verdict"] for result in results] == [one["verdict"] for one in found]
        counts = [sum(one["verdict"] == name for one in found) for name in ("ham", "spam")]
        assert max(counts) <= A_CLASS


def test_the_examples_follow_a_model_that_has_learned(tmp_path: Path) -> None:
    with served.client(served.models(tmp_path / "s.sqlite")) as client:
        assert any(one["verdict"] == "ham" for one in examples(client))
        learning: Any = client.app.state.service.models.named(None).learning  # type: ignore[attr-defined]
        learning.classifier = _all_spam(learning.classifier)
        assert {one["verdict"] for one in examples(client)} == {"spam"}


def _all_spam(classifier: Any) -> Any:
    import copy
    from dataclasses import replace

    changed = copy.copy(classifier)
    changed.rule_ = replace(classifier.rule_, threshold=0.0, low=None, high=None)
    return changed


@pytest.mark.parametrize("shown", [True, False])
def test_another_model_shows_test_rows_of_its_run_or_none(tmp_path: Path, shown: bool) -> None:
    run = runs.copy_of(runs.finished_run(), tmp_path / "mine")
    with served.client(
        served.models(tmp_path / "s.sqlite", [("mine", run)]), show_texts=shown
    ) as client:
        of_other_labels(client, ["good", "bad"])
        rows = [json.loads(line) for line in (run / PREDICTIONS).read_text().splitlines()]
        names = {"ham": "good", "spam": "bad"}
        renamed = [
            {**row, "label": names[row["label"]], "verdict": names.get(row["verdict"], "unsure")}
            for row in rows
        ]
        (run / PREDICTIONS).write_text("".join(json.dumps(row) + "\n" for row in renamed))
        found = examples(client, "?model=mine")
        own = {row["text"]: row["label"] for row in renamed if row["part"] == "test"}
        assert bool(found) is shown
        assert all(own[one["text"]] == one["verdict"] for one in found)


def test_a_run_with_a_damaged_file_has_no_examples(tmp_path: Path) -> None:
    run = runs.copy_of(runs.finished_run(), tmp_path / "mine")
    (run / PREDICTIONS).write_text("not JSON")
    with served.client(served.models(tmp_path / "s.sqlite", [("mine", run)])) as client:
        of_other_labels(client, ["good", "bad"])
        assert examples(client) == []


def test_an_unknown_model_is_404(tmp_path: Path) -> None:
    with served.client(served.models(tmp_path / "s.sqlite")) as client:
        assert client.get("/v1/examples?model=other").status_code == 404
