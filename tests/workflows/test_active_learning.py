"""`tamis suggest`: what is labelled is left out, repeats are asked for once, the same seed names
the same messages, a table to fill in.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamis import ConfigError, DataError, TextClassifier
from tamis.classifier.active_learning import QueryStrategy, choose_messages
from tamis.data.files.message_reader import Message
from tamis.data.tables import read_table
from tamis.workflows.active_learning import labelled_already
from tests import runs
from tests.rows import messages
from tests.runs import tamis as run

NEW = [
    "You have been selected, ring 0900 555 01 now for your prize",
    "you have been selected!! ring 0900 555 77 now for your prize",
    "ok see you at the pub",
    "did u see the match last nite",
    "Verify your bank account at http://bank-9.example today",
    "dinner is in the oven, back by 7",
    "free entry in a weekly draw, text WIN to 80082",
    "  ",
]


@pytest.fixture(scope="module")
def learnt() -> TextClassifier:
    return TextClassifier.load(runs.finished_run(), threads=1)


def given(texts: list[str]) -> list[Message]:
    return [Message(text, {"id": str(line)}, line) for line, text in enumerate(texts, 1)]


def labelled() -> set[bytes]:
    return labelled_already(runs.finished_run())


def test_labelled_and_repeated_messages_are_left_out(learnt: TextClassifier) -> None:
    known = [text for _, text in messages()]
    found = choose_messages(learnt, given([*known, *NEW]), 20, labelled=labelled())
    texts = [one.text for one in found.suggestions]
    assert sorted(texts) == sorted(
        [*NEW[2:7], texts[0] if texts[0] in NEW[:2] else next(t for t in texts if t in NEW[:2])]
    )
    assert found.seen == len(known) + len(NEW)
    assert found.labelled == len(known)  # training and judged rows alike
    assert (
        found.repeated == 2
    )  # the empty one, and one of the two that differ in digits and punctuation
    one = found.suggestions[0]
    assert one.text == NEW[one.line - 1 - len(known)] and one.columns == {"id": str(one.line)}


def test_without_the_run_nothing_counts_as_labelled(learnt: TextClassifier) -> None:
    known = [text for _, text in messages()][:20]
    assert choose_messages(learnt, given(known), 5).labelled == 0


def test_verdicts_are_the_models_own_and_the_seed_decides(learnt: TextClassifier) -> None:
    found = choose_messages(learnt, given(NEW), 4, strategy=QueryStrategy("clusters", 3))
    assert found == choose_messages(learnt, given(NEW), 4, strategy=QueryStrategy("clusters", 3))
    for one, verdict in zip(
        found.suggestions, learnt.verdicts([s.text for s in found.suggestions]), strict=True
    ):
        assert one.label == verdict.label
        assert one.probabilities == pytest.approx(verdict.probabilities, abs=1e-4)


def test_a_long_text_is_judged_by_its_windows_as_predict_does(learnt: TextClassifier) -> None:
    long = " ".join(
        ["see you at the pub then"] * 200
        + ["You have been selected, ring 0900 555 01 now for your prize"]
    )
    found = choose_messages(learnt, given([long]), 1).suggestions[0]
    verdict = learnt.verdicts([long])[0]
    assert verdict.window is not None and found.label == verdict.label
    assert found.probabilities == pytest.approx(verdict.probabilities, abs=1e-4)


def test_the_model_folder_names_its_run(learnt: TextClassifier) -> None:
    known = [text for _, text in messages()]
    assert choose_messages(
        learnt, given([*known, NEW[0]]), 1, labelled=labelled_already(runs.finished_run() / "model")
    ).labelled == len(known)


def test_a_stream_in_pieces_gives_what_it_gives_whole(
    learnt: TextClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = choose_messages(learnt, given(NEW), 4)
    monkeypatch.setattr("tamis.classifier.active_learning.BATCH", 3)
    pieces = choose_messages(learnt, iter(given(NEW)), 4)
    assert [s.text for s in pieces.suggestions] == [s.text for s in whole.suggestions]
    monkeypatch.setattr("tamis.classifier.active_learning.HELD", 2)  # only the most doubtful stay
    doubts = {s.text: s.uncertainty for s in choose_messages(learnt, given(NEW), 2).suggestions}
    assert sorted(doubts.values()) == pytest.approx(
        sorted(s.uncertainty for s in choose_messages(learnt, given(NEW), 9).suggestions)
    )


def test_nothing_to_suggest_and_wrong_wishes_are_said(learnt: TextClassifier) -> None:
    with pytest.raises(DataError, match="expected unlabelled messages, got none"):
        choose_messages(learnt, [], 5)
    with pytest.raises(DataError, match="of 2 messages, 2 are already labelled in this run"):
        choose_messages(
            learnt,
            given([text for _, text in messages()][:2]),
            5,
            labelled=labelled(),
        )
    with pytest.raises(ConfigError, match="at least 1"):
        choose_messages(learnt, given(NEW), 0)
    with pytest.raises(ConfigError, match="clusters, margin, random"):
        choose_messages(learnt, given(NEW), 1, strategy=QueryStrategy("best"))  # type: ignore[arg-type]


def test_the_command_prints_writes_and_answers_in_json(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox.txt"
    inbox.write_text("\n".join(NEW) + "\n")
    said = run("suggest", runs.finished_run(), inbox, "-n", "3", "--json", "--threads", "1")
    answer = json.loads(said.out)
    assert said.code == 0 and len(answer["suggestions"]) == 3 and answer["seen"] == len(NEW)
    assert answer["suggestions"][0].keys() == {
        "line",
        "text",
        "label",
        "probabilities",
        "uncertainty",
    }
    piped = run(
        "suggest",
        runs.finished_run(),
        "-n",
        "3",
        "--json",
        "--threads",
        "1",
        stdin=inbox.read_bytes(),
    )
    assert json.loads(piped.out)["suggestions"] == answer["suggestions"]
    table = tmp_path / "to-label.csv"
    said = run("suggest", runs.finished_run(), inbox, "-n", "3", "--out", table, "--threads", "1")
    assert said.code == 0 and "fill in the column label" in said.err
    lines = table.read_text().splitlines()
    assert lines[0] == "text,label,suggested,uncertainty,line" and len(lines) == 4
    table.write_text(
        "\n".join([lines[0], *(line.replace(",,", ",spam,", 1) for line in lines[1:])]) + "\n"
    )
    assert set(read_table(table, label="label").labels) == {"spam"}
    own = tmp_path / "own.csv"
    own.write_text("text,label\nok see you at the pub,?\n")
    said = run(
        "suggest",
        runs.finished_run(),
        own,
        "-n",
        "1",
        "--text",
        "text",
        "--out",
        table,
        "--threads",
        "1",
    )
    assert said.code == 0 and "fill in the column new_label" in said.err
    assert table.read_text().splitlines()[0] == "text,label,new_label,suggested,uncertainty,line"
    shown = run("suggest", runs.finished_run(), inbox, "-n", "2", "--threads", "1")
    assert len(shown.out.splitlines()) == 3 and "predicted label" in shown.out
    assert run("suggest", runs.finished_run(), inbox, "--strategy", "best").code == 2
