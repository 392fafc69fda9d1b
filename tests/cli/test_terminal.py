"""What a command does at a terminal: tables of its width, and a word before it waits."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests import runs

pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")


def shown(*arguments: str | Path, columns: int) -> list[str]:
    """What a terminal shows; a pipe of stderr stays a pipe."""
    master, terminal = pty.openpty()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        process = runs.process(*arguments, stdout=terminal)
    os.close(terminal)
    out = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the last writer has closed the terminal
            break
        if not piece:
            break
        out += piece
    os.close(master)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    return out.decode().replace("\r\n", "\n").splitlines()


def test_a_table_is_as_narrow_as_the_terminal_and_whole_in_a_pipe() -> None:
    piped = runs.tamis("cache").out.splitlines()
    assert max(map(len, piped[:-1])) > 70
    narrow, wide = shown("cache", columns=50), shown("cache", columns=200)
    assert max(map(len, narrow[:-1])) <= 50 < max(map(len, wide))
    assert wide[:-1] == piped[:-1]
    assert " ".join(" ".join(narrow[:-1]).split()).count("downloaded") == " ".join(piped).count(
        "downloaded"
    )


def test_columns_of_the_environment_do_not_change_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    piped = runs.tamis("cache").out
    monkeypatch.setenv("COLUMNS", "40")
    assert runs.tamis("cache").out == piped


class TypedIn(runs.Stdin):
    """A terminal into which some lines are typed."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "RUN"], "Reading texts, one per line, from the terminal; finish with Ctrl-D"),
        (["predict", "RUN", "--file", "-"], "Reading a table or a mail from the terminal"),
        (["suggest", "RUN", "-n", "1"], "Reading texts, one per line, from the terminal"),
        (["evaluate", "RUN", "-"], "Reading a table from the terminal"),
    ],
)
def test_a_command_says_that_it_waits_for_input_at_a_terminal_only(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = b"label,text\nham,see you there\nspam,win now\nham,good night\n"
    given = [str(runs.head_model()) if word == "RUN" else word for word in arguments]
    assert "terminal" not in runs.tamis(*given, stdin=typed).err
    monkeypatch.setattr(runs, "Stdin", TypedIn)
    said = runs.tamis(*given, stdin=typed)
    assert said.err.startswith(words) and "terminal" not in said.out
    assert said.out or said.code == 1


def test_texts_of_the_command_line_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "Stdin", TypedIn)
    assert "terminal" not in runs.tamis("predict", runs.head_model(), "hello").err
    assert sys.stdin is not None
