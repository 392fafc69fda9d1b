"""Write docs/reference/cli.md from the help texts. A test holds them together.

python docs/make_cli.py
"""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner

from tamis.cli import app as home

TARGET = Path(__file__).parent / "reference" / "cli.md"
INTRODUCTION = """# Command line

Generated from the help texts by `python docs/make_cli.py`. `tamis COMMAND --help` prints the same.

Results go to stdout, progress and notes to stderr. Every command has `--json` for programs. Exit
codes: 0 success, 1 a known error (one line on stderr), 2 wrong usage. `--debug` shows the traceback
of an error. Shares can be written as a number or in percent: `--max-fpr 0.002`, `--max-fpr 0.2%`.
"""
WIDTH = 88
"""Columns of the help texts on the page."""


def commands() -> list[str]:
    """The names of the commands, in the order of `tamis --help`."""
    group = typer.main.get_command(home.app)
    return list(group.list_commands(typer.Context(group)))  # type: ignore[attr-defined]


def help_text(*arguments: str) -> str:
    """What `tamis ARGUMENTS --help` prints, without colours, whatever the terminal is."""
    surroundings = {
        "COLUMNS": str(WIDTH),
        "TERMINAL_WIDTH": str(WIDTH),
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    found = CliRunner().invoke(
        home.app, [*arguments, "--help"], prog_name="tamis", env=surroundings
    )
    if found.exit_code:
        raise RuntimeError(f"tamis {' '.join(arguments)} --help: {found.output}")
    return "\n".join(line.rstrip() for line in found.stdout.strip().splitlines())


def page() -> str:
    """The whole page."""
    sections = [INTRODUCTION, _block(help_text())]
    for name in commands():
        sections += [f"## tamis {name}", "", _block(help_text(name))]
    return "\n".join(sections)


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
