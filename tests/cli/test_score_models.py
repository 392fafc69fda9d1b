"""`tamis score` gives the verdicts of `tamis predict` of an exported model, of one with several
labels a text, and of one that has learned from corrections.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tamis.feedback.store import default_store
from tamis.workflows.score_table.engine import Chunk, ScoredChunk
from tests import runs
from tests.classifier.test_foreign_models import folder_of
from tests.export import exported
from tests.feedback.learners import TEXTS as CORRECTED
from tests.feedback.learners import head_run, learning, mistaken
from tests.rows import messages
from tests.runs import tamis
from tests.workflows.score_table.test_local_engine import InThisProcess

QUICK = ("--threads", "1")
TEXTS = [text for _, text in messages()][:30] + exported.ODD
"""Among them texts that are empty, longer than the context, or spell special tokens."""


class OneByOne(InThisProcess):
    """An engine that answers each chunk before it takes the next one."""

    def score(self, chunks: Iterable[Chunk]) -> Iterator[ScoredChunk]:
        for chunk in chunks:
            yield from super().score([chunk])


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the processes do is tested with the engine; here they would only take time to start."""
    engine = "tamis.workflows.score_table.local_engine.LocalEngine"
    monkeypatch.setattr(engine, lambda *positional, **named: OneByOne())


def table_of(path: Path, texts: list[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *enumerate(texts)])
    return path


def rows_of(paths: list[Path]) -> list[dict[str, str]]:
    found = []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file))
    return found


def assert_as_predict(
    model: Path, folder: Path, *options: str | Path, texts: list[str] = TEXTS
) -> tuple[list[dict[str, str]], runs.Said]:
    """Score and predict the same table; both must write the same columns and verdicts."""
    table = table_of(folder / "in.csv", texts)
    scored = tamis(
        "score", model, table, folder / "out", "--part-rows", "9", "--json", *QUICK, *options
    )
    assert scored.code == 0, scored.err
    predicted = folder / "predicted.csv"
    said = tamis("predict", model, "--file", table, "--out", predicted, "--threads", "1", *options)
    assert said.code == 0, said.err
    found, expected = rows_of(sorted((folder / "out").glob("part-*"))), rows_of([predicted])
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other)
        for name, value in other.items():
            if name.startswith("p_"):
                assert float(one[name]) == pytest.approx(float(value), abs=1e-5)
            else:
                assert one[name] == value
    return found, scored


@pytest.mark.parametrize("int8", [False, True])
def test_an_exported_model(int8: bool, tmp_path: Path) -> None:
    found, said = assert_as_predict(exported.folder("mean", int8=int8), tmp_path)
    assert len({row["label"] for row in found}) == 2
    assert json.loads(said.out)["model"]["dtype"] == ("int8" if int8 else "fp32")


def test_an_exported_model_of_numbers_as_labels(tmp_path: Path) -> None:
    found, _ = assert_as_predict(exported.folder("three"), tmp_path)
    assert list(found[0])[-3:] == ["p_0", "p_10", "p_20"]


def test_a_multi_label_model(tmp_path: Path) -> None:
    model = folder_of(
        tmp_path / "multi",
        id2label={0: "spam", 1: "insult", 2: "threat"},
        problem_type="multi_label_classification",
    )
    found, said = assert_as_predict(model, tmp_path)
    several = [row["verdict"] for row in found if ", " in row["verdict"]]
    assert several and any(row["verdict"] == "none" for row in found)
    assert json.loads(said.out)["verdicts"][several[0]] >= 1
    for row in found:
        applying = {name for name in ("insult", "spam", "threat") if float(row[f"p_{name}"]) >= 0.5}
        assert set(row["verdict"].split(", ")) == (applying or {"none"})


@pytest.fixture
def learned(tmp_path: Path) -> Path:
    """A run that has learned four corrections of everybody, and one more of a user."""
    run = runs.copy_of(head_run(), tmp_path / "mine")
    learner = learning(default_store(run), run)
    *everybody, last = mistaken(5)
    learner.add([*everybody, replace(last, user="anna")])
    learner.learn()
    return run


def test_a_run_that_has_learned_from_corrections(learned: Path, tmp_path: Path) -> None:
    labels = {}
    for name, options in (
        ("learned", ()),
        ("anna", ("--user", "anna")),
        ("trained", ("--no-feedback",)),
    ):
        folder = tmp_path / name
        folder.mkdir()
        found, said = assert_as_predict(learned, folder, *options, texts=CORRECTED)
        labels[name] = [row["label"] for row in found[:5]]
        summary = json.loads(said.out)
        assert any("in effect" in note for note in summary["notes"]) == (name != "trained")
    right = [str(item.label) for item in mistaken(5)]
    assert labels["learned"][:4] == right[:4] and labels["anna"] == right
    assert not any(one == other for one, other in zip(labels["trained"], right, strict=True))


def test_results_of_other_corrections_are_not_mixed(learned: Path, tmp_path: Path) -> None:
    """A run that was begun before a correction does not go on with it."""
    table, out = table_of(tmp_path / "in.csv", [*CORRECTED, "one more"]), tmp_path / "out"
    with table.open("a", encoding="utf-8") as file:
        file.write("9,too,many\n")
    stopped = tamis("score", learned, table, out, "--part-rows", "4", "--max-bad", "0", *QUICK)
    assert "--max-bad 0" in stopped.err and list(out.glob("part-*"))
    assert tamis("learn", learned, "--undo", "1").code == 0
    again = tamis("score", learned, table, out, "--part-rows", "4", *QUICK)
    assert "has learned from other corrections" in again.err.splitlines()[-1] and again.code == 1


def test_an_exported_model_says_that_it_does_not_learn(learned: Path, tmp_path: Path) -> None:
    model = runs.copy_of(exported.folder("mean"), tmp_path / "exported")
    default_store(learned).rename(tmp_path / "store.sqlite")
    _, said = assert_as_predict(model, tmp_path, "--store", tmp_path / "store.sqlite")
    assert json.loads(said.out)["feedback"] is True
