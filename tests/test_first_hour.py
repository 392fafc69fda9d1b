"""The first hour of a new user: thirty commands from a table of one's own to a served and corrected
model. Every command ends as the documentation says and prints the line that a user looks for.

The table has the columns of a help desk: an id, a channel, the message, and the agent's verdict,
which is empty for some rows.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests import runs
from tests.rows import messages

pytestmark = pytest.mark.slow

TINY = ("--backbone", "scratch:tiny", "--tune", "head", "--threads", "1")
HEADER = ["ticket", "channel", "customer message", "verdict of agent"]


class Hour:
    """A user at a terminal in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.commands = folder, 0

    def tamis(self, *arguments: str | Path, code: int = 0, stdin: bytes = b"") -> runs.Said:
        self.commands += 1
        said = runs.tamis(*arguments, stdin=stdin)
        told = f"tamis {' '.join(map(str, arguments))}\n{said.out}\n{said.err}"
        assert said.code == code, told
        assert "Traceback" not in told
        return said

    def json(self, *arguments: str | Path) -> Any:
        return json.loads(self.tamis(*arguments, "--json").out)


@pytest.fixture
def hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hour:
    monkeypatch.chdir(tmp_path)
    channels = ("web", "mail", "app")
    rows = [
        [
            f"T-{1000 + number}",
            channels[number % 3],
            f"{text} (ticket {number})" if again else text,
            "" if number % 25 == 7 else {"ham": "keep", "spam": "junk"}[label],
        ]
        for again in range(2)
        for number, (label, text) in enumerate(messages(), again * len(messages()))
    ]
    write("tickets.csv", rows)
    write("newer.csv", [[row[0], "web", f"fwd: {row[2]}", row[3]] for row in rows[5:65]])
    Path("inbox.txt").write_text(
        "URGENT! You won a prize of £900, call 0900 NOW\nare you home yet?\nsee you at eight\n"
        "free ringtones, txt TONE to 80085\nthe train is late again\n",
        encoding="utf-8",
    )
    return Hour(tmp_path)


def write(name: str, rows: list[list[str]]) -> None:
    with open(name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])


def read_cells(name: str) -> list[list[str]]:
    return [list(row.values()) for row in read(name)]


def read(name: str) -> list[dict[str, str]]:
    with open(name, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_thirty_commands_lead_from_a_table_to_a_served_and_corrected_model(hour: Hour) -> None:
    look_around(hour)
    train(hour)
    ask(hour)
    judge(hour)
    correct(hour)
    pass_on(hour)
    assert hour.commands >= 30


def look_around(hour: Hour) -> None:
    assert "Start with: tamis train" in hour.tamis("--help").out
    assert "--skip-unlabelled" in " ".join(hour.tamis("train", "--help").out.split())
    assert "did you mean 'tickets.csv'?" in hour.tamis("train", "tickets.cvs", code=1).error
    faulty = hour.tamis("data", "tickets.csv", "--backbone", "scratch:tiny", code=1).error
    assert "in column 'verdict of agent', found none" in faulty and "--skip-unlabelled" in faulty
    found = hour.tamis("data", "tickets.csv", "--skip-unlabelled", "--backbone", "scratch:tiny")
    assert "10 rows without a label were skipped" in found.out and "leakfree" in found.out


def train(hour: Hour) -> None:
    wrong = hour.tamis("train", "tickets.csv", "--tune", "blocks", code=2).err
    assert "expected auto, head, full, blocks:K or lora:R" in wrong and "^" not in wrong
    asked = hour.tamis("train", "tickets.csv", "--max-fpr", "2", code=2).err
    assert "did you mean 0.02, that is 2%?" in asked
    Path("header.csv").write_text("message,label\n", encoding="utf-8")
    assert "has no rows" in hour.tamis("train", "header.csv", code=1).error
    options = ("--skip-unlabelled", "--max-fpr", "2%", *TINY)
    first = hour.tamis("train", "tickets.csv", *options, "-o", "runs/first")
    assert "run folder: runs/first" in first.out and "this model, test" in first.out
    assert "tfidf" in first.out
    assert (
        "contains a finished run"
        in hour.tamis("train", "tickets.csv", *options, "-o", "runs/first", code=1).err
    )
    second = hour.tamis("train", "tickets.csv", *options, "--seed", "7", "-o", "runs/second")
    assert "run folder: runs/second" in second.out


def ask(hour: Hour) -> None:
    two = hour.tamis("predict", "runs/first", "You won a prize, call now", "see you at six").out
    assert len(two.splitlines()) == 2 and all(line.count("\t") >= 2 for line in two.splitlines())
    (piped,) = hour.tamis("predict", "runs/first", stdin=b"see you at six\n").out.splitlines()
    assert piped.split("\t")[2] == "see you at six"
    assert len(hour.tamis("predict", "runs/first", "--file", "inbox.txt").out.splitlines()) == 5
    # The text column of the training is remembered: the file has four columns.
    table = hour.tamis("predict", "runs/first", "--file", "newer.csv", "--out", "verdicts.csv")
    assert "wrote 60 verdicts to verdicts.csv" in table.err
    kept = read("verdicts.csv")[0]
    assert list(kept)[:4] == HEADER and kept["verdict"] in ("keep", "junk", "unsure")
    assert hour.json("predict", "runs/first", "hello you")["label"] in ("keep", "junk")
    assert "did you mean 'runs/first'?" in hour.tamis("predict", "runs/frist", "hi", code=1).error
    mail = b"From: a@b.example\nSubject: prize\nTo: c@d.example\n\nYou won, call now\n"
    code = runs.tamis("predict", "runs/first", "--exit-code", stdin=mail).code
    hour.tamis("predict", "runs/first", "--exit-code", code=code, stdin=mail)
    assert code in (0, 1, 2)
    hour.tamis("predict", "tickets.csv", "hello", code=1).error.index("exists but is no run")
    why = hour.tamis("explain", "runs/first", "You won a prize, call now", "--out", "why.html")
    assert "what each word gives to junk" in why.out and Path("why.html").stat().st_size > 1000


def judge(hour: Hour) -> None:
    # The columns of the training are remembered: nothing says which of four is the label.
    report = hour.json("evaluate", "runs/first", "newer.csv", "--skip-unlabelled")
    assert report["rows"]["test"] == report["test"]["n"] == 57
    assert "McNemar" in hour.tamis("compare", "runs/first", "runs/second").out
    found = hour.tamis("suggest", "runs/first", "inbox.txt", "-n", "2", "--out", "to-label.csv")
    assert "wrote 2 texts to to-label.csv; fill in the column label" in found.err


def correct(hour: Hour) -> None:
    rows = read("to-label.csv")
    with open("to-label.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "label": "keep" if n else ""} for n, row in enumerate(rows))
    assert "expected a label" in hour.tamis("learn", "runs/first", "to-label.csv", code=1).err
    learned = hour.tamis("learn", "runs/first", "to-label.csv", "--skip-unlabelled")
    assert "Stored 1 correction" in learned.out and "--undo 1" in learned.out
    assert rows[1]["text"][:20] in hour.tamis("learn", "runs/first").out
    with_correction = serve(hour, rows[1]["text"])
    assert with_correction in ("keep", "junk", "unsure")
    assert "Removed 2 corrections" in hour.tamis("learn", "runs/first", "--undo", "all").out


def serve(hour: Hour, text: str) -> str:
    """Ask and correct the model over HTTP; return the verdict."""
    hour.commands += 1
    server = runs.process("serve", "runs/first", "--port", "0", "--threads", "1")
    assert server.stdout is not None
    try:
        address = server.stdout.readline().decode().strip()
        assert address.startswith("http://127.0.0.1:")
        answer = post(f"{address}/v1/predict", {"texts": [text]})
        items = [{"text": "the parcel is at the office", "label": "keep"}]
        assert len(post(f"{address}/v1/feedback", {"items": items})["ids"]) == 1
        with urllib.request.urlopen(f"{address}/", timeout=30) as page:
            assert b"<title>" in page.read()
        return str(answer["results"][0]["verdict"])
    finally:
        server.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)
        server.communicate(timeout=60)


def post(address: str, body: Any) -> Any:
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def pass_on(hour: Hour) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    assert "model.onnx" in hour.tamis("export", "runs/first", "--to", "onnx", "-o", "onnx").out
    exported = hour.tamis("predict", "onnx", "You won a prize, call now", "--json").out
    assert json.loads(exported)["verdict"] in ("keep", "junk", "unsure")
    options = ("--skip-unlabelled", "--backbone", "scratch:tiny", "--threads", "1")
    found = hour.tamis("search", "tickets.csv", *options, "--trials", "2", "-o", "runs/search")
    assert "best recipe: runs/search/" in found.out and "--recipe" in found.out
    few = hour.tamis("search", "newer.csv", *options, "-o", "runs/few", code=1).err
    assert "too few for a search; each class needs at least" in few
    assert "features of frozen backbones" in hour.tamis("cache").out
    assert "removed from" in hour.tamis("cache", "states", "--clear").out
    assert "n_vocab" in hour.tamis("inspect", "scratch:tiny").out
    write("labelled.csv", [row for row in read_cells("tickets.csv") if row[3]])
    lesson = hour.tamis(
        *("reproduce", "tp2", "--quick", "--backbone", "scratch:tiny", "--threads", "1"),
        *("--set", "text.padding=fixed:48", "--data", "labelled.csv", "--out", "runs/tp2"),
    )
    assert "reported" in lesson.out and Path("runs/tp2/tp2.html").is_file()
    wrong = hour.tamis("reproduce", "tp3", code=2).err
    assert "expected tp2, got 'tp3'" in wrong
