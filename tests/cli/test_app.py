"""The command line itself: help, exit codes, one line for an error, JSON for machines, and what it
must not import.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import tamis
from tamis.cli import app, options
from tamis.errors import MissingExtraError, install_command
from tests import runs
from tests.runs import tamis as run

COMMANDS = [name for panel in app.PANELS.values() for name in panel]


def plain(text: str) -> str:
    """A help text without terminal codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_every_command_of_the_design_that_is_built_is_registered() -> None:
    assert {
        "inspect",
        "data",
        "train",
        "evaluate",
        "predict",
        "explain",
        "pretrain",
        "reproduce",
    } <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_default_of_every_setting(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    said = run(command, "--help")
    assert said.code == 0 and said.err == ""
    text = plain(said.out)
    example = next(line for line in text.splitlines() if line.strip().startswith("Example: "))
    assert f"tamis {command} " in example
    assert "--json" in text and said.out == run(command, "-h").out
    for option in re.split(r"\n│ (?=-)", text)[1:]:
        name = option.split()[0].rstrip(",")
        if name in ("--seed", "--dtype", "--device", "--split", "--tune", "--backbone"):
            assert "[default: " in " ".join(option.split()), option


def test_the_help_lists_the_commands_in_order_and_in_panels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = run("--help")
    assert said.code == 0 and said.err == ""
    listed: dict[str, list[str]] = {}
    for line in plain(said.out).splitlines():
        if title := re.match(r"╭─ (.*?) ─+╮", line):
            panel = listed.setdefault(title[1], [])
        elif (entry := re.match(r"│ ([a-z]\w*) ", line)) is not None:
            panel.append(entry[1])
    assert {title: names for title, names in listed.items() if title != "Options"} == {
        title: list(commands) for title, commands in app.PANELS.items()
    }
    assert COMMANDS[0] == "train" and COMMANDS[-1] == "bench"


def test_no_summary_of_a_command_is_cut_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = plain(run("--help").out)
    for commands in app.PANELS.values():
        for name, summary in commands.items():
            assert summary.endswith(".") and summary in text, name


def test_the_list_of_commands_is_that_of_the_modules() -> None:
    for name in COMMANDS:
        app.import_command(name)
    registered: dict[Any, dict[str, str]] = {title: {} for title in app.PANELS}
    for command in app.app.registered_commands:
        assert command.help is not None and command.name is not None
        own = registered[command.rich_help_panel]
        own[command.name] = command.help.split("\n\n")[0]
    assert registered == app.PANELS


def test_usage_errors_are_plain_text() -> None:
    assert run("train").err.splitlines()[-1] == "Error: Missing argument 'DATA'."


def test_the_version_is_the_packages() -> None:
    assert run("--version").out == f"{tamis.__version__}\n"


def test_help_and_version_import_nothing_heavy() -> None:
    before = (
        "import atexit, sys; atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))"
    )
    for arguments in (["--help"], ["train", "--help"], ["--version"]):
        process = runs.process(*arguments, before=before)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and out
        heavy = {
            "torch",
            "sklearn",
            "scipy",
            "matplotlib",
            "pandas",
            "polars",
            "transformers",
            "tokenizers",
            "numpy",
        }
        modules = set(err.decode().split())
        assert not heavy & modules
        own = {name for name in modules if name.startswith("tamis.cli.")}
        commands = {"tamis.cli.train"} if "train" in arguments else set()
        assert own & {f"tamis.cli.{name}" for name in COMMANDS} == commands
        # Settings and their checks are a command's.
        assert ("tamis.config" in modules) == bool(commands)


def test_a_command_looks_for_garbage_rarely_and_a_library_as_ever() -> None:
    before = "import atexit, gc; atexit.register(lambda: print(gc.get_threshold()[0]))"
    out, _ = runs.process("--version", before=before).communicate(timeout=60)
    assert out.decode().splitlines()[-1] == str(app.NEW_OBJECTS)
    code = "import gc, tamis.cli.app; print(*gc.get_threshold())"
    usual = subprocess.check_output([sys.executable, "-c", "import gc; print(*gc.get_threshold())"])
    assert subprocess.check_output([sys.executable, "-c", code]) == usual


PREDICT = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
"""
LATE = {"sklearn", "scipy", "matplotlib", "pandas", "polars", "transformers", "onnx", "fastapi"}
"""Packages that a prediction does not need."""
ELSEWHERE = (
    "tamis.training.fit",
    "tamis.training.loop",
    "tamis.training.distributed",
    "tamis.serving",
)


def test_a_prediction_imports_the_model_and_little_else() -> None:
    process = runs.process("predict", runs.finished_run(), "free prize", before=PREDICT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and out
    modules = set(json.loads(err.decode().splitlines()[-1]))
    assert "torch" in modules and not LATE & modules
    assert not [name for name in modules if name.startswith(ELSEWHERE)]
    # Nor the compiler of torch, which takes longer than the prediction.
    assert not {"torch._dynamo", "torch._inductor"} & modules


def test_a_training_says_what_it_has_read_before_anything_heavy_is_imported() -> None:
    before = """
import sys
class Heavy:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "sklearn", "scipy", "pandas", "matplotlib", "tokenizers"):
            print("imports", name, file=sys.stderr, flush=True)
            sys.exit(3)
sys.meta_path.insert(0, Heavy())
"""
    process = runs.process("train", runs.table(), before=before)
    _, err = process.communicate(timeout=60)
    first, second = err.decode().splitlines()
    assert first.startswith("Read 124 rows of ") and first.endswith("'spam'.")
    assert process.returncode == 3 and second.startswith("imports ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["train"], "Missing argument"),
        (["train", "x.csv", "--nonsense"], "No such option"),
        (["train", "x.csv", "--seed", "many"], "Invalid value for '--seed'"),
        (
            ["train", "x.csv", "--seed", "-1"],
            "seed: input should be greater than or equal to 0, got -1",
        ),
        (["train", "x.csv", "--tune", "hed"], "tune"),
        (["train", "x.csv", "--dtype", "fp7"], "dtype"),
        (["train", "x.csv", "--max-fpr", "2"], "max_fpr"),
        (["train", "x.csv", "--max-fpr", "few%"], "max_fpr"),
        (["train", "x.csv", "--set", "train.epoch=3"], "did you mean 'train.epochs'"),
        (["train", "x.csv", "--set", "epochs"], "setting: expected name=value, got 'epochs'"),
        (["evaluate", "run", "x.csv", "--dtype", "fp7"], "dtype"),
        (["evaluate", "run", "x.csv", "--split", "leekfree"], "leekfree"),
        (["predict", "run", "hi", "--threads", "0"], "threads"),
        (["data", "x.csv", "--split", "leekfree"], "leekfree"),
        (["reproduce", "tp3"], "experiment: expected tp2, got 'tp3'"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(arguments: list[str], words: str) -> None:
    said = run(*arguments)
    assert said.code == 2 and said.out == ""
    assert words in " ".join(said.err.replace("\u2502", " ").split()), said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "no.csv"], "no.csv: found no such file"),
        (["train", "sms_spam"], "did you mean 'sms-spam'"),
        (["data", "."], "found a directory"),
        (["evaluate", "no-run", "no.csv"], "no-run does not exist"),
        (
            ["predict", "no-run", "hi"],
            "no-run does not exist; expected a run folder or a model folder",
        ),
        (["inspect", "gpt3"], "neither a folder nor a known name"),
        (["train", "TABLE", "--backbone", "scratch:tinny"], "did you mean 'scratch:tiny'"),
        (["train", "TABLE", "--recipe", "no.toml"], "recipe no.toml does not exist"),
        (["train", "TABLE", "--device", "cuda:99"], "cuda:99"),
        (["train", "TABLE", "--positive", "spma"], "did you mean 'spam'"),
    ],
)
def test_a_known_error_is_one_line_on_stderr_and_nothing_on_stdout(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = str(runs.table())
    monkeypatch.chdir(tmp_path)
    error = run(*[table if word == "TABLE" else word for word in arguments], "--json").error
    assert error.startswith("tamis: ") and words in error
    assert not [file for file in runs.contents(tmp_path) if "report" in file]


def test_debug_shows_the_traceback_wherever_it_stands() -> None:
    for arguments in (["--debug", "train", "no.csv"], ["train", "no.csv", "--debug"]):
        with pytest.raises(tamis.DataError, match="found no such file"):
            run(*arguments)
    assert run("train", "no.csv").code == 1  # and only for that call


def test_debug_in_a_process_prints_the_traceback() -> None:
    process = runs.process("predict", "no-run", "hi", "--debug")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and out == b"" and b"Traceback (most recent call last)" in err
    assert err.decode().splitlines()[-1].startswith("tamis.errors.RunError: no-run does not exist")


def command_raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> runs.Said:
    def failing(*positional: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr("tamis.workflows.inspect_backbone.inspect_backbone", failing)
    return run("inspect", "gpt2")


def test_a_missing_extra_says_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    error = command_raising(
        monkeypatch, MissingExtraError("polars", "tables", "reading Parquet")
    ).error
    assert (
        error
        == "tamis: reading Parquet needs the package 'polars', which is not installed; run: "
        + install_command("tables")
    )


def test_parquet_without_polars_says_the_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + bytes(20) + b"PAR1")
    monkeypatch.setitem(sys.modules, "polars", None)
    assert install_command("tables") in run("train", tmp_path / "x.parquet").error


def test_an_error_of_the_system_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_raising(monkeypatch, OSError(28, "No space left on device")).error.endswith(
        "No space left on device"
    )


def test_a_message_of_several_lines_is_made_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        command_raising(monkeypatch, tamis.DataError("first\n  second")).error
        == "tamis: first second"
    )


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    said = command_raising(monkeypatch, KeyboardInterrupt())
    assert said.code == 130 and said.out == "" and said.err.startswith("interrupted;")


def test_a_closed_pipe_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said = command_raising(monkeypatch, BrokenPipeError())
    assert (said.code, said.out, said.err) == (0, "", "")


def test_an_unknown_error_is_a_bug_and_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        command_raising(monkeypatch, ZeroDivisionError())


def test_results_are_utf_8_whatever_the_terminal_says() -> None:
    before = "import sys; sys.stdout.reconfigure(encoding='ascii', errors='strict')"
    process = runs.process("predict", runs.finished_run(), "--json", "dîner 🎂", before=before)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    assert json.loads(out.decode("utf-8"))["text"] == "dîner 🎂"


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "scratch:tiny"],
        ["data", "TABLE", "--backbone", "scratch:tiny"],
        ["evaluate", "RUN", "TABLE"],
        ["predict", "RUN", "one text"],
    ],
)
def test_json_is_all_there_is_on_stdout(arguments: list[str]) -> None:
    places = {"TABLE": str(runs.table()), "RUN": str(runs.finished_run())}
    said = run(*[places.get(word, word) for word in arguments], "--json")
    assert said.code == 0 and isinstance(json.loads(said.out), dict)


def test_train_prints_figures_warnings_and_where_the_run_is(tmp_path: Path) -> None:
    said = run("train", runs.table(), *runs.TINY, "--tune", "head", "-o", tmp_path / "run")
    assert said.code == 0, said.err
    for words in (
        "this model, test",
        "majority",
        "tfidf",
        "ham blocked",
        "McNemar",
        f"run folder: {tmp_path / 'run'}",
    ):
        assert words in said.out
    for words in (
        "device: cpu (",
        "threads: 1 (requested)",
        "dtype: fp32 (default, full precision)",
    ):
        assert words in said.err


def test_options_win_over_the_recipe_and_set_wins_over_options(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'backbone = "gpt2"\nseed = 5\n[train]\nepochs = 9\npatience = 4\n', encoding="utf-8"
    )
    recipe = options.recipe_from(
        str(tmp_path / "mine.toml"),
        {"backbone": "scratch:tiny", "seed": None, "data.split": "none"},
        ["epochs=2"],
    )
    assert (recipe.backbone, recipe.seed, recipe.data.split) == ("scratch:tiny", 5, "none")
    assert (recipe.train.epochs, recipe.train.patience) == (2, 4)


def test_the_last_command_never_leaves_stdout_closed() -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "argv", ["tamis", "--version"])
        with pytest.raises((SystemExit, typer.Exit)):
            app.main()
        assert sys.stdout is out and not out.closed
