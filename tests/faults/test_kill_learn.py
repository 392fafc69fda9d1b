"""`tamis learn` and the corrections of a server, killed at any moment: nothing that was
acknowledged is lost, and the same command again ends like an undisturbed one.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from tests import runs
from tests.faults.kills import End, Forks, Work, survived

LOOK = """
import json, sqlite3
from pathlib import Path
from tamis import TextClassifier
from tamis.feedback.learning import FeedbackLearner
from tamis.feedback.store import CorrectionStore
store, run = Path("run.feedback.sqlite"), Path("run")
learner = FeedbackLearner(
    TextClassifier.load(run, threads=1), run, CorrectionStore(store), model="run", learn={learn}
)
items = [(item.text, item.label, item.user) for item in learner.items()]
probabilities = learner.classifier_for().predict_proba(["hello", "win a prize"])
check = sqlite3.connect(store).execute("PRAGMA integrity_check").fetchone()
print(json.dumps([sorted(items), learner.pending(), probabilities.tolist(), check]))
"""
"""Prints the corrections, what the model answers with them, and whether the file is sound."""
CORRECTIONS = [
    ("ham", "hey im on the bus, running late"),
    ("spam", "URGENT! Your number won a prize. Call 0900 555 0199 NOW"),
    ("ham", "did u eat yet? meet at platform 4"),
    ("spam", "FREE ringtones, txt TONE to 80808, STOP to end"),
]
"""None is held back: which of several are would depend on their order."""
SERVER = """
from pathlib import Path
from starlette.testclient import TestClient
from tamis.feedback.learning import FeedbackLearner
from tamis.feedback.store import CorrectionStore
from tamis.serving.app import create_app
from tamis.serving.model_registry import Models
def learning(classifier, run, name):
    return FeedbackLearner(classifier, run, CorrectionStore("run.feedback.sqlite"), model=name)
models = Models([("run", Path("run"))], learning, compute={{"threads": 1}})
with TestClient(create_app(models), base_url="http://localhost") as client:
    ids = {{}}
    for label, text in {corrections!r}:
        item = {{"text": text, "label": label, "force": True}}
        answer = client.post("/v1/feedback", json={{"items": [item]}})
        assert answer.status_code == 200, answer.text
        [ids[text]] = answer.json()["ids"]
        print("acknowledged", ids[text], flush=True)
    gone = ids[{corrections[1][1]!r}]
    assert client.delete(f"/v1/feedback/{{gone}}").status_code == 200
    print("removed", gone, flush=True)
"""


def given(here: Path) -> None:
    """A finished run, and a table of corrections."""
    runs.copy_of(runs.finished_run(), here / "run")
    runs.write_table(here / "corrections.tsv", CORRECTIONS)


def without_store(name: str, content: bytes) -> bytes:
    """The store as `LOOK` sees it: the times of its rows and its free pages differ."""
    return b"" if ".sqlite" in name else content


def learn() -> Work:
    return Work(
        ("learn", "{here}/run", "{here}/corrections.tsv", "--force", "--threads", "1"),
        before=given,
        shown=without_store,
        look=LOOK.format(learn=False),
    )


def test_a_killed_learn_ends_like_an_undisturbed_one(
    forks: Forks, kills: int, tmp_path: Path
) -> None:
    survived(forks, learn(), tmp_path, kills)


def kept_what_was_said(here: Path, end: End) -> None:
    """Every acknowledged correction is in the store of the killed process, none that was undone."""
    added = {int(number) for number in re.findall(r"^acknowledged (\d+)$", end.out, re.M)}
    removed = {int(number) for number in re.findall(r"^removed (\d+)$", end.out, re.M)}
    store = here / "run.feedback.sqlite"
    kept: set[int] = set()
    if added:
        with sqlite3.connect(store) as connection:
            kept = {number for (number,) in connection.execute("SELECT id FROM corrections")}
        connection.close()
    lost = added - removed - kept
    # One may have been undone when the kill came, its acknowledgement not yet said.
    assert len(lost) <= (len(added) == len(CORRECTIONS)), f"lost: {lost}"
    assert not removed & kept, f"came back: {removed & kept}"


def test_a_killed_server_keeps_what_it_acknowledged(
    forks: Forks, kills: int, tmp_path: Path
) -> None:
    pytest.importorskip("fastapi")
    work = Work(
        (),
        program=SERVER.format(corrections=CORRECTIONS),
        before=given,
        shown=without_store,
        look=LOOK.format(learn=True),
        whole=kept_what_was_said,
    )
    survived(forks, work, tmp_path, kills)
