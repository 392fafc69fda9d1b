"""Shell completion: what the shells ask of the command, and what it answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = "import sys; sys.argv[0] = 'tamis'; from tamis.cli import main; main()"


def ask(**environment: str) -> str:
    """What `tamis` prints when a shell calls it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout


def bash(words: str) -> list[str]:
    return ask(
        _TAMIS_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1)
    ).split()


def test_commands_and_options_are_completed() -> None:
    assert bash("tamis com") == ["compare"]
    assert {"train", "predict", "cache"} <= set(bash("tamis "))
    assert bash("tamis train data.csv --max") == ["--max-fpr"]


def test_values_are_completed() -> None:
    assert bash("tamis train data.csv --log ") == ["tensorboard", "mlflow", "wandb"]
    assert bash("tamis cache st") == ["states"]


@pytest.mark.parametrize(
    ("shell", "part"), [("bash", "complete -o"), ("zsh", "#compdef tamis"), ("fish", "complete")]
)
def test_the_script_of_a_shell(shell: str, part: str) -> None:
    script = ask(_TAMIS_COMPLETE=f"source_{shell}")
    assert part in script and "_TAMIS_COMPLETE" in script


def test_bash_itself_completes(tmp_path: Path) -> None:
    """The script in a real bash, whose completion function is called as for the tab key."""
    command = tmp_path / "tamis"
    command.write_text(f"#!{sys.executable}\n{PROGRAM}\n", encoding="utf-8")
    command.chmod(0o755)
    calls = (
        f"{ask(_TAMIS_COMPLETE='source_bash')}\n"
        "COMP_WORDS=(tamis exp) COMP_CWORD=1; _tamis_completion tamis exp tamis\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", calls], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert sorted(done.stdout.split()) == ["explain", "export"], done.stderr
