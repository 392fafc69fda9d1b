"""Models on the Hugging Face hub: the real client against a hub on the loopback interface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis import TextClassifier
from tamis.classifier import hub as hub_module
from tamis.errors import (
    ConfigError,
    DownloadError,
    MissingExtraError,
    NotFittedError,
    UploadError,
)
from tests import runs
from tests.classifier.fake_hub import FakeHub, running
from tests.rows import messages

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
# The client uploads with an argument that its HTTP library wants to be named otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")
TEXTS = [text for _, text in messages()][:20]
NAME = "some-org/messages"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    with running(tmp_path / "hub-cache") as hub:
        yield hub


def head() -> TextClassifier:
    return TextClassifier.load(runs.head_model(), threads=1)


def test_what_was_pushed_comes_back(hub: FakeHub, tmp_path: Path) -> None:
    classifier = head()
    url = classifier.push_to_hub(NAME, token="secret", private=True, commit_message="First")
    assert url.startswith(f"{hub.url}/{NAME}/commit/")
    assert hub.private[NAME] and "Bearer secret" in hub.tokens
    assert [commit["summary"] for commit in hub.commits] == ["First"]
    assert hub.commits[0]["branch"] == "main"
    files = hub.repositories[NAME]
    assert {"config.json", "model.safetensors", "tokenizer.json", "tamis.json"} < set(files)
    loaded = TextClassifier.from_pretrained(NAME, threads=1)
    assert np.array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert loaded.rule_ == classifier.rule_
    assert loaded.classes_.tolist() == classifier.classes_.tolist()


def test_the_hub_shows_no_text_of_the_training_data(hub: FakeHub) -> None:
    head().push_to_hub(NAME)
    everything = b"".join(hub.repositories[NAME].values()).decode("utf-8", errors="replace")
    assert not [text for _, text in messages() if len(text) > 30 and text in everything]


def test_its_card_has_what_the_hub_reads(hub: FakeHub) -> None:
    TextClassifier.load(runs.finished_run(), threads=1).push_to_hub(
        NAME, license="mit", examples=["see you at six"]
    )
    card = huggingface_hub.ModelCard(hub.repositories[NAME]["README.md"].decode())
    report = json.loads((runs.finished_run() / "report.json").read_text(encoding="utf-8"))
    assert (card.data.license, card.data.pipeline_tag) == ("mit", "text-classification")
    assert card.data.widget == [{"text": "see you at six"}] and "tamis" in card.data.tags
    assert card.data.model_name == NAME
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values["f1"] == report["test"]["f1"]
    assert f'TextClassifier.from_pretrained("{NAME}")' in card.text


def test_a_classifier_without_a_run_has_a_card_too(hub: FakeHub) -> None:
    labels, texts = zip(*messages(), strict=True)
    TextClassifier("scratch:tiny", "head", threads=1).fit(texts, labels).push_to_hub(NAME)
    card = huggingface_hub.ModelCard(hub.repositories[NAME]["README.md"].decode())
    assert card.data.license == "unknown" and card.data.eval_results is None
    assert "`ham`, `spam`" in card.text and "124 training" in card.text


def test_a_pull_request_and_a_branch_can_be_asked_for(hub: FakeHub) -> None:
    url = head().push_to_hub(NAME, create_pr=True)
    assert url == f"{hub.url}/{NAME}/discussions/1" and "create_pr=1" in hub.commits[0]["query"]
    head().push_to_hub(NAME, branch="next")
    assert hub.commits[1]["branch"] == "next" and "create_pr=1" not in hub.commits[1]["query"]


def test_a_folder_is_loaded_without_the_hub(tmp_path: Path) -> None:
    head().save_pretrained(tmp_path / "model")
    loaded = TextClassifier.from_pretrained(tmp_path / "model", threads=1)
    assert np.array_equal(loaded.predict(TEXTS), head().predict(TEXTS))


def test_programs_and_pickles_are_not_downloaded(hub: FakeHub, tmp_path: Path) -> None:
    head().push_to_hub(NAME)
    hub.repositories[NAME] |= {"model.pkl": b"bad", "run.py": b"bad", "pytorch_model.bin": b"bad"}
    TextClassifier.from_pretrained(NAME, threads=1, cache_dir=str(tmp_path / "own"))
    names = {path.name for path in (tmp_path / "own").rglob("*")}
    assert "config.json" in names and not names & {"model.pkl", "run.py", "pytorch_model.bin"}


def test_a_repository_that_is_not_there_is_named(hub: FakeHub) -> None:
    with pytest.raises(DownloadError, match=r"no-org/nothing.*RepositoryNotFoundError"):
        TextClassifier.from_pretrained("no-org/nothing")


def test_a_refusal_says_what_to_check(hub: FakeHub) -> None:
    hub.refuse = "you may not write here"
    with pytest.raises(
        UploadError, match=r"some-org/messages could not be uploaded.*hf auth login"
    ):
        head().push_to_hub(NAME)


def test_offline_nothing_is_uploaded(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_OFFLINE", "1")
    with pytest.raises(UploadError, match="TAMIS_OFFLINE disables the network"):
        head().push_to_hub(NAME)
    assert not hub.repositories


def test_what_was_downloaded_is_there_offline(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    head().push_to_hub(NAME)
    TextClassifier.from_pretrained(NAME, threads=1)
    monkeypatch.setenv("TAMIS_OFFLINE", "1")
    hub.repositories.clear()
    assert TextClassifier.from_pretrained(NAME, threads=1).predict(TEXTS).shape == (len(TEXTS),)


def test_an_unknown_argument_lists_the_known_ones() -> None:
    options: Any = {"revison": "main"}
    with pytest.raises(ConfigError, match=r"'revison'; known: revision, token"):
        TextClassifier.from_pretrained("a/b", **options)


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "hub_client", lambda: None)
    with pytest.raises(MissingExtraError, match=r"\[hub\]"):
        TextClassifier.from_pretrained("a/b")
    with pytest.raises(MissingExtraError, match=r"\[hub\]"):
        head().push_to_hub("a/b")


def test_an_unfitted_classifier_is_not_uploaded() -> None:
    with pytest.raises(NotFittedError):
        TextClassifier().push_to_hub("a/b")
