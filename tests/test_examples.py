"""The examples of README, pages and help texts: each text that they ask about is asked and
answered as the reader is told.

One model answers them: that of `tamis train sms-spam --tune head`, trained once for all tests.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from benchmarks.obvious.texts import texts as obvious_texts
from tamis.data.catalog import resolve
from tamis.errors import DataError
from tests import runs
from tests.test_docs import load_script, present_documents

ROOT = Path(__file__).parents[1]
EXAMPLES = load_script(ROOT / "docs" / "make_examples.py")
ANOTHER_MODEL = {"Visit <url> now", "some text", "a text", "another text"}
"""Texts for a model of somebody else, and texts that only say that a text goes there."""
ASKING = {"predict", "predict_proba", "verdicts", "explain", "embed", "encode"}
"""Methods that are asked about texts."""
TOLERANCE = 0.005
"""Of a probability on another machine."""


@cache
def collection() -> str:
    """The SMS Spam Collection beside the checkout, else the part of it that a package holds."""
    beside = ROOT.parent / "shared" / "data" / "sms-spam" / "SMSSpamCollection"
    if beside.is_file():
        return str(beside)
    try:
        return str(resolve("sms-spam").path)
    except DataError as error:
        pytest.skip(f"the SMS Spam Collection is not here: {error}")


@pytest.fixture(scope="session")
def spam_run() -> Path:
    """The run that the examples are about; tests only read it."""

    def train(path: Path) -> None:
        command, _, *options = EXAMPLES.COMMAND
        said = runs.tamis(command, data, *options, "-o", path)
        assert said.code == 0, said.err

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAMIS_OFFLINE", "1")
        data = collection()
        return runs.made_once("spam-run", train)


def whole() -> bool:
    """Whether the numbers on the pages are those of the rows that are here."""
    return collection().endswith("SMSSpamCollection")


def console_lines() -> Iterator[tuple[str, str]]:
    """Where and what: indented command lines of the pages, and the examples of the help texts."""
    for path in present_documents():
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^    ((?:tamis|curl) .*)$", text, flags=re.MULTILINE):
            yield str(path.relative_to(ROOT)), line
    helped = load_script(ROOT / "docs" / "make_cli.py")
    for name in helped.commands():
        words = " ".join(helped.help_text(name).split())
        for line in re.findall(r'Example: (tamis \w+ (?:"[^"]*"|[^"╭])*)', words):
            yield f"tamis {name} --help", line
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"\$\(BIN\)/(tamis predict .*)$", makefile, flags=re.MULTILINE):
        yield "Makefile", line


def asked_on_the_console() -> Iterator[tuple[str, str]]:
    """Where and text, of every text in a command."""
    for where, line in console_lines():
        if line.startswith("curl"):
            for body in re.findall(r"-d '([^']*)'", line):
                content = json.loads(body)
                texts = content.get("texts") or [item["text"] for item in content["items"]]
                yield from ((where, text) for text in texts)
        elif re.match(r"tamis (predict|explain) ", line) and "$(cat" not in line:
            words = shlex.split(line, comments=True) if "<(" not in line else []
            yield from ((where, word) for word in words[3:] if " " in word)


def python_blocks() -> Iterator[tuple[str, str]]:
    """Page and code of every Python block of README and the pages, and of the notebooks."""
    for path in present_documents():
        for code in re.findall(
            r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        ):
            yield str(path.relative_to(ROOT)), code
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                yield str(path.relative_to(ROOT)), "".join(cell["source"])


def asked_in_python() -> Iterator[tuple[str, str]]:
    """Where and text, of every text that a method is asked about, or a list called TEXTS has."""
    for where, code in python_blocks():
        for node in ast.walk(ast.parse(code)):
            lists: list[ast.expr] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                lists = node.args[:1] if node.func.attr in ASKING else []
                lists += [k.value for k in node.keywords if k.arg == "examples"]
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TEXTS":
                lists = [node.value]
            for each in lists:
                found = each.elts if isinstance(each, ast.List) else [each]
                for one in found:
                    if isinstance(one, ast.Constant) and isinstance(one.value, str):
                        yield where, one.value


def test_every_text_of_an_example_has_an_expected_verdict() -> None:
    asked = [*asked_on_the_console(), *asked_in_python()]
    known = {*EXAMPLES.EXAMPLES, *EXAMPLES.FOREIGN} | ANOTHER_MODEL
    unknown = [f"{where}: {text!r}" for where, text in asked if text not in known]
    assert not unknown, "add these to docs/make_examples.py, and run it:\n" + "\n".join(unknown)
    places = {where for where, _ in asked}
    assert {
        "README.md",
        "Makefile",
        "tamis predict --help",
        "tamis explain --help",
        "docs/serving.md",
        "docs/how-to/notebooks.md",
        "docs/notebooks/classify.ipynb",
    } <= places, "the examples there are no longer found"
    idle = {*EXAMPLES.EXAMPLES, *EXAMPLES.FOREIGN} - {text for _, text in asked}
    assert not idle, f"in docs/make_examples.py, but in no example: {idle}"


def test_every_verdict_that_a_page_shows_is_the_expected_one() -> None:
    """Also that of another training, such as the demo's."""
    shown = [
        (str(path.relative_to(ROOT)), *row)
        for path in present_documents()
        for row in re.findall(
            r"^ +(ham|spam|unsure) +[01]\.\d+[ \t]+(.+)$", path.read_text("utf-8"), re.MULTILINE
        )
    ]
    assert {where for where, _, _ in shown} >= {"docs/results.md"}
    wrong = [row for row in shown if EXAMPLES.EXAMPLES.get(row[2]) != row[1]]
    assert not wrong


def test_the_pages_show_what_was_recorded_of_this_backbone() -> None:
    found = EXAMPLES.results()
    again = "run: PYTHONPATH=src python docs/make_examples.py"
    assert found["backbone"] == EXAMPLES.fingerprint(), again
    assert EXAMPLES.pages(), "no page shows an answer"
    for path in EXAMPLES.pages():
        assert path.read_text(encoding="utf-8") == EXAMPLES.page(path, found["answers"]), again


@pytest.mark.parametrize("model", ["verdicts", "default"])
def test_the_recorded_verdicts_are_those_that_a_reader_expects(model: str) -> None:
    found = EXAMPLES.results()[model]
    if found is None:
        pytest.skip(f"not measured with this backbone: docs/make_examples.py --{model} RUN")
    assert not EXAMPLES.wrong(found)
    assert [found[text]["ood"] for text in EXAMPLES.FOREIGN] == [True] * len(EXAMPLES.FOREIGN)


def test_a_verdict_that_a_reader_does_not_expect_is_named() -> None:
    found = {
        text: {"verdict": label, "spam": 0.5, "ood": False}
        for text, label in EXAMPLES.EXAMPLES.items()
    }
    assert EXAMPLES.wrong(found) == []
    found["See you at six?"]["verdict"] = "unsure"
    assert EXAMPLES.wrong(found) == ["'See you at six?': expected ham, got unsure (0.5)"]


def test_the_model_answers_the_examples_as_they_are_told(spam_run: Path) -> None:
    recorded = EXAMPLES.results()["verdicts"]
    found = EXAMPLES.verdicts(spam_run, recorded)
    assert not EXAMPLES.wrong(found)
    for text, one in found.items():
        assert one["ood"] == (text in EXAMPLES.FOREIGN), text
        if whole():
            assert one["spam"] == pytest.approx(recorded[text]["spam"], abs=TOLERANCE), text


def test_the_answers_on_the_pages_are_those_of_the_commands(spam_run: Path) -> None:
    for command, shown in EXAMPLES.results()["answers"].items():
        now = EXAMPLES.answer(command, spam_run)
        number = re.compile(r"\d\.\d+")
        assert number.sub("#", now) == number.sub("#", shown), command
        if whole():
            values = [[float(n) for n in number.findall(text)] for text in (now, shown)]
            assert values[0] == pytest.approx(values[1], abs=TOLERANCE), command


def test_the_explanation_in_the_picture_is_that_of_the_model(spam_run: Path) -> None:
    shown, now = EXAMPLES.results()["explanation"], EXAMPLES.explained(spam_run)
    assert [word["word"] for word in now["words"]] == [word["word"] for word in shown["words"]]
    assert now["verdict"] == shown["verdict"] == "spam"
    if whole():
        for part, figure in (("words", "attribution"), ("tokens", "probability")):
            assert [each[figure] for each in now[part]] == pytest.approx(
                [each[figure] for each in shown[part]], abs=0.02
            )


def test_every_command_that_predicts_or_explains_a_text_runs(
    spam_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands, with the run in the place of the run that it names."""
    monkeypatch.chdir(tmp_path)
    commands = {
        line
        for _, line in console_lines()
        if re.match(r'tamis (predict|explain) \S+ ["\']', line)
        and not any(text in line for text in (*ANOTHER_MODEL, "$("))
    }
    assert len(commands) >= 6
    expected = EXAMPLES.EXAMPLES | dict.fromkeys(EXAMPLES.FOREIGN, "ham")
    for line in sorted(commands):
        _, name, _, *rest = shlex.split(line, comments=True)
        said = runs.tamis(name, spam_run, *rest)
        assert said.code == 0, f"{line}\n{said.err}"
        texts = [word for word in rest if word in expected]
        if name == "explain":
            assert said.out.startswith(f"{expected[texts[0]]}:"), line
        elif "--json" not in rest:
            rows = [row.split("\t") for row in said.out.splitlines()]
            assert [(row[0], row[2]) for row in rows] == [(expected[t], t) for t in texts], line
            marked = [len(row) == 4 for row in rows]
            assert marked == [text in EXAMPLES.FOREIGN for text in texts], line


def test_corrections_mend_what_the_collection_cannot_teach(spam_run: Path, tmp_path: Path) -> None:
    """The claim of docs/how-to/other-texts.md, by the command that it names."""
    run = runs.copy_of(spam_run, tmp_path / "run")
    judged = obvious_texts("judged")

    def found(*options: str) -> int:
        said = runs.tamis("predict", run, *(text.text for text in judged), "--json", *options)
        answers = [json.loads(line)["label"] == "spam" for line in said.out.splitlines()]
        return sum(answer and t.unwanted for answer, t in zip(answers, judged, strict=True))

    corrections = tmp_path / "corrections.csv"
    rows = [f'{"spam" if t.unwanted else "ham"},"{t.text}"' for t in obvious_texts("correction")]
    corrections.write_text("\n".join(["label,text", *rows]), encoding="utf-8")
    before = found()
    said = runs.tamis("learn", run, corrections)
    assert said.code == 0, said.err
    assert found() >= before + 3
