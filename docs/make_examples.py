"""Record what the examples of README, pages and help texts answer, and write it into the pages.

    PYTHONPATH=src python docs/make_examples.py [--run RUN] [--default RUN]

The examples are those of a model that anyone can train in a minute:
`tamis train sms-spam --tune head`. Without --run it is trained first. --default records the
verdicts of a run of the default model, `tamis train sms-spam`, as well; make it anew whenever the
backbone changes. Tests train the model again and compare (tests/test_examples.py).

A page shows answers between `<!-- verdicts -->` and `<!-- /verdicts -->`. There, the lines that
begin with `tamis` stay; what the model answers is written below each of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "examples.json"
COMMAND = ("train", "sms-spam", "--tune", "head", "--threads", "1")
EXPLAINED = "Your free prize is waiting. Call 0900 555 0123 now"
"""The text that the picture of `tamis explain` shows."""
EXAMPLES = {
    EXPLAINED: "spam",
    "WINNER! Claim your free 1,000 prize now, call 0900 555 0199 before midnight": "spam",
    "You have won a prize! Call 0900 555 0123 now to claim it": "spam",
    "Hey, running ten minutes late, save me a seat x": "ham",
    "Running ten minutes late, sorry. Start without me": "ham",
    "See you at six?": "ham",
    "see you at six": "ham",
    "Lunch at one?": "ham",
}
"""Every text that an example asks about a model of SMS spam, and the verdict that a reader expects.
An example that a model does not answer so must be replaced: in the pages, not here alone.
"""
FOREIGN = ("Мы хотели бы узнать",)
"""Texts of examples that are out-of-distribution; nobody expects a verdict on them."""
_REGION = re.compile(r"(<!-- verdicts -->\n)(.*?)(<!-- /verdicts -->)", flags=re.DOTALL)


def tamis(*arguments: str | Path) -> str:
    """What a command writes to stdout.

    Raises:
        RuntimeError: the command fails.
    """
    from tamis.cli import main

    out, argv = io.StringIO(), sys.argv
    try:
        sys.argv = ["tamis", *map(str, arguments)]
        with contextlib.redirect_stdout(out):
            main()
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"tamis {' '.join(map(str, arguments))}: exit {end.code}") from end
    finally:
        sys.argv = argv
    return out.getvalue()


def verdicts(run: Path, texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Verdict, probability of spam and the mark of foreign texts, of each text."""
    answers = tamis("predict", run, *texts, "--json", "--ood", "--threads", "1")
    found = map(json.loads, answers.splitlines())
    return {
        one["text"]: {
            "verdict": one["verdict"],
            "spam": round(one["probabilities"]["spam"], 4),
            "ood": one["ood"],
        }
        for one in found
    }


def pages() -> list[Path]:
    """The pages that show answers."""
    every = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in every if _REGION.search(page.read_text(encoding="utf-8"))]


def commands(page: Path) -> list[str]:
    """The commands whose answers a page shows."""
    regions = _REGION.findall(page.read_text(encoding="utf-8"))
    return [
        line.strip()
        for _, region, _ in regions
        for line in region.splitlines()
        if line.startswith("    tamis ")
    ]


def answer(command: str, run: Path) -> str:
    """What a command of a page answers with a run in the place of the run that it names."""
    _, name, _, *rest = shlex.split(command)
    return tamis(name, run, *rest)


def page(path: Path, answers: dict[str, str]) -> str:
    """The page with the answers below its commands. Tabs become columns."""

    def filled(match: re.Match[str]) -> str:
        lines = []
        for command in [c for c in map(str.strip, match[2].splitlines()) if c.startswith("tamis ")]:
            lines.append(f"    {command}")
            for line in answers[command].splitlines():
                lines.append(f"    {_columns(line)}".rstrip())
        return "\n".join([match[1].rstrip(), *lines, match[3]])

    return _REGION.sub(filled, path.read_text(encoding="utf-8"))


def _columns(line: str) -> str:
    verdict, *rest = line.split("\t")
    return "  ".join([f"{verdict:6}", *rest]) if rest else verdict


def fingerprint() -> str:
    """Of the backbone `nano` inside the package."""
    from tamis.gpt2.backbones import local_folder

    folder = local_folder("nano")
    assert folder is not None
    facts = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    return str(facts["fingerprint"])


def wrong(found: dict[str, dict[str, Any]]) -> list[str]:
    """The examples that a model does not answer as a reader expects."""
    return [
        f"{text!r}: expected {label}, got {found[text]['verdict']} ({found[text]['spam']})"
        for text, label in EXAMPLES.items()
        if found[text]["verdict"] != label
    ]


def explained(run: Path) -> dict[str, Any]:
    """The explanation of the text in the picture, as `tamis explain --json` gives it."""
    found: dict[str, Any] = json.loads(
        tamis("explain", run, EXPLAINED, "--json", "--threads", "1"),
        parse_float=lambda number: round(float(number), 5),
    )
    return found


def measured(run: Path, default: Path | None, before: dict[str, Any]) -> dict[str, Any]:
    """Everything that the pages and the picture show of a run.

    What the default model answered is kept from `before` as long as the backbone is the same.
    """
    texts = [*EXAMPLES, *FOREIGN]
    same = before.get("backbone") == fingerprint()
    return {
        "backbone": fingerprint(),
        "command": f"tamis {' '.join(COMMAND)}",
        "verdicts": verdicts(run, texts),
        "default": verdicts(default, texts) if default else before["default"] if same else None,
        "answers": {c: answer(c, run) for path in pages() for c in commands(path)},
        "explanation": explained(run),
    }


def results() -> dict[str, Any]:
    """What was recorded last."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Record, write the pages, and name the examples that no longer hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help=f"a run of tamis {' '.join(COMMAND)}")
    parser.add_argument("--default", type=Path, help="a run of tamis train sms-spam")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        run = options.run or Path(folder) / "run"
        if options.run is None:
            tamis(*COMMAND, "-o", run)
        found = measured(run, options.default, results() if RESULTS.is_file() else {})
    text = json.dumps(found, indent=1, ensure_ascii=False)
    RESULTS.write_text(f"{text}\n", encoding="utf-8")
    for path in pages():
        path.write_text(page(path, found["answers"]), encoding="utf-8")
    for model in ("verdicts", "default"):
        if found[model] and (missed := wrong(found[model])):
            sys.exit(f"{model}: replace these examples\n" + "\n".join(missed))


if __name__ == "__main__":
    main()
