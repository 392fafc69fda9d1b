"""`tamis predict`: arguments, streams, files of every kind, exit codes; odd texts are texts; one by
one equals all at once.
"""

from __future__ import annotations

import csv
import gzip
import json
import mailbox
import select
import signal
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tamis import TextClassifier
from tamis.decision.verdict import Verdict
from tamis.workflows.predict import line
from tests import runs
from tests.rows import messages
from tests.runs import tamis

INTERRUPTED = (
    "interrupted; finished results are kept. To resume an unfinished run, repeat the same command"
)
TEXTS = [text for _, text in messages()][:9]


@cache
def head() -> Path:
    """The quickest model to load and ask."""
    return runs.head_model()


def answers(said: runs.Said) -> list[dict[str, Any]]:
    assert said.code == 0, said.err
    return [json.loads(line) for line in said.out.splitlines()]


def with_rule(path: Path, **rule: Any) -> Path:
    """A copy of the model that decides by another rule."""
    copy = runs.copy_of(head(), path)
    values = json.loads((copy / "tamis.json").read_text(encoding="utf-8"))
    values["rule"] = {
        "positive": "spam",
        "threshold": 0.5,
        "low": None,
        "high": None,
        "confidence_floor": None,
    } | rule
    (copy / "tamis.json").write_text(json.dumps(values), encoding="utf-8")
    return copy


def test_json_has_its_keys_the_order_of_the_texts_and_unrounded_probabilities() -> None:
    found = answers(tamis("predict", head(), "--json", "--threads", "1", *TEXTS))
    expected = TextClassifier.load(head(), threads=1).predict_proba(TEXTS)
    assert [answer["text"] for answer in found] == TEXTS
    for answer, row in zip(found, expected.tolist(), strict=True):
        assert list(answer) == ["text", "label", "verdict", "probabilities"]
        assert answer["probabilities"] == dict(zip(["ham", "spam"], row, strict=True))
        assert answer["label"] in ("ham", "spam") and answer["verdict"] in (
            answer["label"],
            "unsure",
        )


def test_a_line_for_people_has_verdict_probability_and_text() -> None:
    said = tamis("predict", head(), "tabs\tand\nlines \\ here")
    verdict, probability, text = said.out.rstrip("\n").split("\t")
    assert verdict in ("ham", "spam", "unsure")
    assert 0 <= float(probability.split()[-1]) <= 1
    assert text == "tabs\\tand\\nlines \\\\ here" and said.err == ""


@pytest.mark.parametrize(
    "text", ["", "\0", "a\0b", "<|endoftext|>", "👨‍👩‍👧‍👦", "e\u0301", " ", "ho ho ho! " * 10_000]
)
def test_odd_texts_are_texts(text: str) -> None:
    (answer,) = answers(tamis("predict", head(), "--json", "--", text))
    assert answer["text"] == text and sum(answer["probabilities"].values()) == pytest.approx(1)


def test_a_text_may_look_like_an_option_behind_two_dashes() -> None:
    found = answers(tamis("predict", head(), "--json", "--", "--debug", "--help"))
    assert [answer["text"] for answer in found] == ["--debug", "--help"]


def test_a_lone_surrogate_is_an_error() -> None:
    assert "is not valid Unicode" in tamis("predict", head(), "--json", "half \ud83d").error


def test_lines_of_stdin_are_texts_and_empty_lines_keep_their_place() -> None:
    found = answers(
        tamis("predict", head(), "--json", stdin="\ufeffone é\r\n\ntwo, three\nlast".encode())
    )
    assert [answer["text"] for answer in found] == ["one é", "", "two, three", "last"]


def test_an_empty_stdin_gives_no_answers() -> None:
    assert answers(tamis("predict", head(), "--json", stdin=b"")) == []


def test_objects_on_stdin_are_jsonl() -> None:
    lines = b'{"id": 1, "text": "hi"}\n{"id": 2, "text": "WIN"}\n'
    assert [
        answer["text"] for answer in answers(tamis("predict", head(), "--json", stdin=lines))
    ] == ["hi", "WIN"]
    broken = tamis("predict", head(), "--json", stdin=b'{"text": "hi"}\n{"text": 3}\n')
    assert broken.code == 1 and "line 2" in broken.err and "'text'" in broken.err


def test_invalid_utf_8_on_stdin_names_the_line() -> None:
    said = tamis("predict", head(), stdin=b"fine\nbroken \x81\n")
    assert (
        said.code == 1
        and "line 2" in said.err
        and "0x81" in said.err
        and len(said.err.splitlines()) == 1
    )


def test_an_answer_comes_before_the_stream_ends_and_a_closed_pipe_ends_quietly() -> None:
    process = runs.process("predict", head(), "--json", stdin=-1, bufsize=0)
    assert process.stdin and process.stdout and process.stderr
    for text in ("first", "second"):
        process.stdin.write(f"{text}\n".encode())
        ready, _, _ = select.select([process.stdout], [], [], 60)
        assert ready, "no answer before the end of the stream"
        assert json.loads(process.stdout.readline())["text"] == text
    process.stdout.close()
    process.stdin.write(b"third\n" * 50)
    process.stdin.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 0 and err == b""


@pytest.mark.parametrize("ending", ["closed pipe", "interrupt"])
def test_a_stream_that_goes_on_does_not_keep_the_process_from_ending_in_order(ending: str) -> None:
    """As in `tail -f log | tamis predict RUN | head -1`: the reading thread still waits for more
    when the process ends.
    """
    process = runs.process("predict", head(), "--json", stdin=-1, bufsize=0)
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(b"first\n")
    assert json.loads(process.stdout.readline())["text"] == "first"
    if ending == "interrupt":
        process.send_signal(signal.SIGINT)
    else:
        process.stdout.close()
        process.stdin.write(b"second\n")
    code, err = process.wait(60), process.stderr.read().decode()
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
    assert (code, err.strip()) == ((130, INTERRUPTED) if ending == "interrupt" else (0, ""))


def test_a_text_file_has_a_text_a_line_even_with_commas(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("text,label\nhi, you\n\nWIN", encoding="utf-8")
    found = answers(tamis("predict", head(), "--json", "--file", tmp_path / "in.txt"))
    assert [answer["text"] for answer in found] == ["text,label", "hi, you", "", "WIN"]


def test_a_table_keeps_its_own_columns_beside_the_verdict(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(
        'id,text,label\n7,"hi, ""you""",mine\n8,WIN,\n', encoding="utf-8"
    )
    said = tamis("predict", head(), "--file", tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    assert (said.code, said.out) == (0, "") and "wrote 2 verdicts" in said.err
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "text", "label", "predicted_label", "verdict", "p_ham", "p_spam"]
    assert [(row["id"], row["text"], row["label"]) for row in rows] == [
        ("7", 'hi, "you"', "mine"),
        ("8", "WIN", ""),
    ]
    expected = TextClassifier.load(head()).predict_proba(['hi, "you"', "WIN"])
    assert [float(row["p_spam"]) for row in rows] == pytest.approx(
        expected[:, 1].tolist(), abs=1e-9
    )


def test_json_lines_keep_their_values_and_types(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(
        '{"n": 1, "tags": ["a"], "text": "hi"}\n{"n": null, "text": "WIN"}\n', encoding="utf-8"
    )
    assert (
        tamis(
            "predict", head(), "--file", tmp_path / "in.jsonl", "--out", tmp_path / "out.jsonl"
        ).code
        == 0
    )
    rows = [
        json.loads(line)
        for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert rows[0]["n"] == 1 and rows[0]["tags"] == ["a"] and rows[1]["n"] is None
    assert {"label", "verdict", "p_ham", "p_spam"} <= set(rows[0])


def test_texts_given_as_arguments_can_be_written_too(tmp_path: Path) -> None:
    assert tamis("predict", head(), "hi", "WIN", "--out", tmp_path / "out.tsv").code == 0
    assert (tmp_path / "out.tsv").read_text(encoding="utf-8").splitlines()[
        0
    ] == "text\tlabel\tverdict\tp_ham\tp_spam"


def mail(subject: str, body: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", subject
    message.set_content(body)
    return message


def test_a_mail_and_a_mailbox_are_read(tmp_path: Path) -> None:
    (tmp_path / "one.eml").write_bytes(mail("Prize é", "You have won").as_bytes())
    (answer,) = answers(tamis("predict", head(), "--json", "--file", tmp_path / "one.eml"))
    assert "Prize é" in answer["text"] and "You have won" in answer["text"]
    box = mailbox.mbox(tmp_path / "box")
    for number in range(3):
        box.add(mail(f"number {number}", "body"))
    box.close()
    found = answers(tamis("predict", head(), "--json", "--file", tmp_path / "box"))
    assert [
        number for number, answer in enumerate(found) if f"number {number}" in answer["text"]
    ] == [0, 1, 2]


def test_mails_have_the_same_columns_whatever_they_lack(tmp_path: Path) -> None:
    (tmp_path / "in.mbox").write_text(
        "From a@b Mon Jan  1 10:00:00 2024\nDate: today\n\nfirst\n\n"
        "From a@b Mon Jan  1 10:00:00 2024\nSubject: two\nFrom: a@b\n\nsecond\n"
    )
    said = tamis("predict", head(), "--file", tmp_path / "in.mbox", "--out", tmp_path / "out.csv")
    assert said.code == 0, said.err
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[:4] for row in rows] == [
        ["from", "date", "subject", "text"],
        ["", "today", "", "first"],
        ["a@b", "", "two", "two\nsecond"],
    ]


def test_a_mailbox_without_a_mail_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in.mbox").write_text("no mail\n")
    said = tamis("predict", head(), "--file", tmp_path / "in.mbox")
    assert (said.code, said.out) == (1, "")
    assert "expected a mailbox (mbox)" in said.err and "found no mail" in said.err
    (tmp_path / "in.mbox").write_text("")
    assert tamis("predict", head(), "--file", tmp_path / "in.mbox").code == 0


def test_a_maildir_folder_is_read(tmp_path: Path) -> None:
    box = mailbox.Maildir(tmp_path / "box")
    for number in range(3):
        box.add(mail(f"number {number}", "body"))
    box.close()
    found = answers(tamis("predict", head(), "--json", "--file", tmp_path / "box"))
    assert sorted(answer["text"] for answer in found) == [f"number {n}\nbody" for n in range(3)]


# mtime=0: the identifiers of the cases hold the bytes, and all test processes must agree on them.
@pytest.mark.parametrize("content", [b"WIN\nsee you\n", gzip.compress(b"WIN\nsee you\n", mtime=0)])
def test_a_dash_is_standard_input(content: bytes) -> None:
    found = answers(tamis("predict", head(), "--json", "--file", "-", stdin=content))
    assert [answer["text"] for answer in found] == ["WIN", "see you"]
    found = answers(
        tamis("predict", head(), "--json", "--file", "-", stdin=b'id,text\n1,"WIN, now"\n2,hi\n')
    )
    assert [answer["text"] for answer in found] == ["WIN, now", "hi"]


def test_binary_input_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"%PDF-1.4\nabc\n")
    for said in (
        tamis("predict", head(), "--file", tmp_path / "a.txt"),
        tamis("predict", head(), stdin=b"%PDF-1.4\nabc\n"),
        tamis("data", tmp_path / "a.txt"),
        tamis("evaluate", head(), tmp_path / "a.txt"),
        tamis("learn", head(), tmp_path / "a.txt", "--store", tmp_path / "store.sqlite"),
        tamis("train", tmp_path / "a.txt", "-o", tmp_path / "run"),
    ):
        assert (said.code, said.out) == (1, "")
        assert "found a PDF document" in said.err and len(said.err.splitlines()) == 1
    assert tamis("predict", head(), "--exit-code", stdin=b"%PDF-1.4\nabc\n").code == 3


def test_a_column_is_named_with_text_and_a_wrong_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("subject,body\nhello,WIN\n", encoding="utf-8")
    found = answers(
        tamis("predict", head(), "--json", "--file", tmp_path / "in.csv", "--text", "subject")
    )
    assert [answer["text"] for answer in found] == ["hello"]
    error = tamis("predict", head(), "--file", tmp_path / "in.csv", "--text", "bodi").error
    assert "there is no column 'bodi'" in error and "did you mean --text 'body'" in error


def test_a_broken_row_leaves_no_output_file(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\n1,hi\n2,a,b,c\n", encoding="utf-8")
    error = tamis(
        "predict", head(), "--file", tmp_path / "in.csv", "--out", tmp_path / "out.csv"
    ).error
    assert "line 3: expected 2 fields" in error
    assert [file.name for file in tmp_path.iterdir()] == ["in.csv"]


def test_an_output_of_unknown_kind_is_refused(tmp_path: Path) -> None:
    assert (
        "expected a name that ends in .csv"
        in tamis("predict", head(), "hi", "--out", tmp_path / "out.xlsx").error
    )


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"threshold": 0.0}, 0),
        ({"threshold": 1.0}, 1),
        ({"threshold": 0.5, "low": 0.0, "high": 1.0}, 2),
    ],
)
def test_exit_codes_are_0_positive_1_negative_2_unsure(
    rule: dict[str, float], code: int, tmp_path: Path
) -> None:
    model = with_rule(tmp_path / "model", **rule)
    said = tamis("predict", model, "WIN", "--exit-code", "--json")
    assert said.code == code
    assert json.loads(said.out)["verdict"] == ("spam", "ham", "unsure")[code]
    assert (
        tamis("predict", model, "WIN", "--exit-code", "--out", tmp_path / "out.jsonl").code == code
    )
    assert tamis("predict", model, "WIN").code == 0


def test_exit_codes_need_a_positive_label(tmp_path: Path) -> None:
    classifier = TextClassifier("scratch:tiny", "head", threads=1).fit(
        ["one", "two", "three"] * 4, ["a", "b", "c"] * 4
    )
    classifier.save(tmp_path / "model")
    said = tamis("predict", tmp_path / "model", "one", "--exit-code")
    assert (
        said.code == 3
        and "but this model has none (labels: a, b, c)" in said.err
        and len(said.err.splitlines()) == 1
    )


def test_exit_code_3_is_an_error_and_2_wrong_usage(tmp_path: Path) -> None:
    said = tamis("predict", tmp_path / "nowhere", "WIN", "--exit-code")
    assert (
        said.code == 3
        and said.out == ""
        and "does not exist" in said.err
        and len(said.err.splitlines()) == 1
    )
    assert tamis("predict", head(), "half \ud83d", "--exit-code").code == 3
    said = tamis("predict", head(), "one", "two", "--exit-code")
    assert said.code == 2 and "--exit-code: expected exactly one text" in said.err
    said = tamis("predict", head(), "--exit-code")
    assert said.code == 3 and "found nothing" in said.err


@pytest.mark.parametrize(
    ("piped", "text"),
    [
        (b"WIN a prize\n", "WIN a prize"),
        (b"two lines\nof one text\n", "two lines\nof one text"),
        (b"Subject: WIN\nFrom: a@b.example\n\nCall now\n", "WIN\nCall now"),
        (
            b"From a@b.example Mon Jan  5 10:00:00 2026\nSubject: WIN\nFrom: "
            b"a@b.example\n\nCall now\n",
            "WIN\nCall now",
        ),
        (b"\xef\xbb\xbfSubject: WIN\nFrom: a@b.example\n\nCall now\n", "WIN\nCall now"),
        ("Subject: WIN\nFrom: a@b.example\n\nCall now\n".encode("utf-16"), "WIN\nCall now"),
        (gzip.compress(b"WIN a prize\n", mtime=0), "WIN a prize"),
    ],
)
def test_what_a_mail_filter_pipes_in_is_one_text(piped: bytes, text: str, tmp_path: Path) -> None:
    model = with_rule(tmp_path / "model", threshold=0.0)
    said = tamis("predict", model, "--exit-code", "--json", stdin=piped)
    assert said.code == 0 and [json.loads(line)["text"] for line in said.out.splitlines()] == [text]


def test_texts_and_a_file_together_are_wrong_usage(tmp_path: Path) -> None:
    said = tamis("predict", head(), "hi", "--file", tmp_path / "in.txt")
    assert said.code == 2 and "expected texts or --file, got both" in said.err


def test_more_texts_than_a_batch_come_in_order_and_score_as_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tamis.workflows.predict.BATCH", 7)
    lines = [f"text number {number} {'x' * (number % 50)}" for number in range(60)]
    found = answers(tamis("predict", head(), "--json", stdin="\n".join(lines).encode()))
    assert [answer["text"] for answer in found] == lines
    alone = TextClassifier.load(head()).predict_proba([lines[33]])[0]
    assert found[33]["probabilities"]["spam"] == pytest.approx(alone[1], abs=1e-6)


def test_explain_says_what_the_library_finds_as_text_json_and_page(tmp_path: Path) -> None:
    from tamis.classifier.explain import explain
    from tamis.classifier.explain.render_html import page

    text = "Claim your free prize now, call 0900"
    wanted = explain(TextClassifier.load(head(), threads=1), text)
    as_json = tamis("explain", head(), text, "--json", "--threads", "1")
    assert json.loads(as_json.out) == json.loads(json.dumps(wanted.to_dict()))
    shown = tamis("explain", head(), text, "--threads", "1", "--out", tmp_path / "why.html")
    assert shown.code == 0 and shown.out == wanted.to_text() + "\n" and "why.html" in shown.err
    assert (tmp_path / "why.html").read_text(encoding="utf-8") == page(wanted)
    assert "label must be one of" in tamis("explain", head(), text, "--label", "eggs").error


def test_a_line_of_an_unsure_verdict_names_the_label_of_the_probability() -> None:
    shares = {"ham": 0.4321, "spam": 0.5679}
    assert line(Verdict("hello", "spam", "unsure", shares)) == "unsure\tspam 0.5679\thello"
    assert line(Verdict("hello", "ham", "unsure", shares)) == "unsure\tham 0.4321\thello"
    assert line(Verdict("hello", "spam", "spam", shares)) == "spam\t0.5679\thello"
