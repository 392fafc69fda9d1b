"""A process that learns, killed from outside at some moment."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from tamis import TextClassifier
from tamis.feedback.learning import FeedbackLearner
from tamis.feedback.store import CorrectionStore
from tests import runs

WRITER = """
import random, sys
from tamis.classifier.text_classifier import TextClassifier
from tamis.feedback.store import CorrectionStore, NewCorrection
from tamis.feedback.learning import FeedbackLearner

run, store, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
chance = random.Random(seed)
found = FeedbackLearner(TextClassifier.load(run, threads=1), run, CorrectionStore(store), model="m")
for turn in range(10_000):
    texts = [f"turn {seed} {turn} {n} shall we meet" for n in range(3)]
    ids = found.add([NewCorrection(text, chance.choice(("ham", "spam"))) for text in texts])
    print("added", *ids, flush=True)
    if turn % 3 == 1:
        gone = chance.choice(ids)
        found.remove(gone)
        print("removed", gone, flush=True)
    if turn % 4 == 2:
        found.learn()
        print("learnt", flush=True)
"""


def test_nothing_acknowledged_is_lost_by_a_kill_and_nothing_undone_comes_back(
    tmp_path: Path,
) -> None:
    store = tmp_path / "s.sqlite"
    added: set[int] = set()
    removed: set[int] = set()
    command = [sys.executable, "-c", WRITER, str(runs.finished_run()), str(store), "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(12)]
    time.sleep(random.random() * 0.2)  # another moment each time, on purpose
    process.kill()
    said += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    for line in said:
        words = line.split()
        if line.endswith("\n") and words[0] == "added":
            added |= {int(word) for word in words[1:]}
        if line.endswith("\n") and words[0] == "removed":
            removed.add(int(words[1]))
    kept = {item.id for item in CorrectionStore(store).all(model="m")}
    # One may have been undone when the kill came, its acknowledgement not yet said.
    assert added and removed and not removed & kept and len(added - removed - kept) <= 1
    found = FeedbackLearner(
        TextClassifier.load(runs.finished_run(), threads=1),
        runs.finished_run(),
        CorrectionStore(store),
        model="m",
    )
    assert {item.id for item in found.items()} == kept
    assert found.remove_all() == len(kept) and found.items() == []
