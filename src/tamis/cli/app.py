"""The typer application: its commands in order, error messages and exit codes.

Results go to stdout, everything else to stderr. Exit codes: 0 success, 1 a known error (one line
on stderr), 2 wrong usage.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import inspect
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info

from tamis.cli.console import say, terminal_width
from tamis.compute import torchrun
from tamis.compute.wait_policy import wait_asleep
from tamis.errors import TamisError
from tamis.evaluation.report.text_table import TABLE_WIDTH

PANELS = {
    "Train and use a model": {
        "train": "Train a classifier on a labelled table.",
        "predict": "Classify texts.",
        "score": "Classify the rows of a table of any size, in bounded memory.",
        "evaluate": "Evaluate a trained model on labelled rows.",
        "compare": "Compare runs on the test rows that all of them judged.",
        "explain": "Show which words led to a verdict.",
        "serve": "Serve models over HTTP, with a web page at /.",
        "learn": "Learn from corrected labels, or undo corrections.",
        "export": "Export a trained model: ONNX, web page or PEFT adapter.",
    },
    "Data and settings": {
        "data": "Show classes, lengths, duplicates and leaks of a table.",
        "suggest": "Suggest which texts to label next.",
        "search": "Search for the best training settings.",
    },
    "Experiments and backbones": {
        "reproduce": "Repeat the reference experiment and compare the results.",
        "inspect": "Show settings and tensor shapes of a checkpoint.",
        "pretrain": "Pretrain a backbone on plain text.",
        "cache": "Show what lies in the cache folder, or remove it.",
        "bench": "Measure speed and memory of a model on this machine.",
    },
}
"""The commands in the order of `tamis --help`, by the title of their panel, with the first
paragraph of their help: the list is shown without an import of their modules. A test compares them.
"""
_MODULES = {"inspect": "inspect_backbone"}
"""Modules with another name than their command."""


class CommandGroup(TyperGroup):
    """The commands in the order of `PANELS`; the module of a command is imported when it is called.
    Help has panels; usage errors are plain text.
    """

    def __init__(self, **options: Any) -> None:
        """List the commands."""
        super().__init__(**options)
        imported = dict(self.commands)
        self.commands.clear()
        for panel, commands in PANELS.items():
            for name, summary in commands.items():
                listed = TyperCommand(name, help=summary, rich_help_panel=panel)
                self.commands[name] = imported.pop(name, listed)
        self.commands.update(imported)

    def resolve_command(self, context: Any, args: list[str]) -> Any:
        """Import the module of the command that is called."""
        name = args[0]
        if name in self.commands and self.commands[name].callback is None:
            import_command(name)
            info = next(one for one in app.registered_commands if one.name == name)
            self.commands[name] = get_command_from_info(
                info,
                pretty_exceptions_short=app.pretty_exceptions_short,
                rich_markup_mode=app.rich_markup_mode,
            )
        return super().resolve_command(context, args)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command."""
        self.rich_markup_mode = None  # typer would draw a box around usage errors
        return super().main(*args, **options)

    def format_help(self, context: Any, formatter: Any) -> None:
        """Print the help of all commands."""
        self.rich_markup_mode = "rich"
        super().format_help(context, formatter)


def import_command(name: str) -> None:
    """Import the module of a command, which registers it."""
    importlib.import_module(f"tamis.cli.{_MODULES.get(name, name)}")


app = typer.Typer(
    name="tamis",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Turn GPT-2 into a text classifier on your own machine.\n\n"
    "Start with: tamis train sms-spam",
    context_settings={"help_option_names": ["-h", "--help"]},
)
SHARED = ("train", "pretrain")
"""Commands whose work is shared by the processes that torchrun starts."""
NEW_OBJECTS = 50_000
"""New objects after which Python looks for garbage in a command; its own default is 700."""
_debug = False


def main() -> None:
    """Entry point of the `tamis` command. The option `--debug`, anywhere before `--`, shows the
    traceback of an error.
    """
    global _debug
    # Imports make a million objects that stay, and Python would look through them again and again
    # for garbage: a tenth of the time until torch and scikit-learn are there.
    gc.set_threshold(NEW_OBJECTS)
    wait_asleep()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            encoding="utf-8", errors="surrogateescape"
        )  # results are UTF-8; paths may contain undecodable bytes
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = arguments[:end]
    _debug = "--debug" in options
    with contextlib.ExitStack() as silenced:
        if torchrun.follows() and not _debug:
            # Of several processes that do the same, the first one speaks.
            nowhere = silenced.enter_context(open(os.devnull, "w", encoding="utf-8"))
            silenced.enter_context(contextlib.redirect_stdout(nowhere))
            silenced.enter_context(contextlib.redirect_stderr(nowhere))
        app(
            args=[*(option for option in options if option != "--debug"), *arguments[end:]],
            prog_name="tamis",
        )


def debugging() -> bool:
    """Whether `--debug` was given."""
    return _debug


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command. A known error is printed as one line and gives exit code 1."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        if torchrun.follows() and function.__name__ not in SHARED:
            return  # the first process does it alone
        width = TABLE_WIDTH.set(terminal_width())
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt:
            if torchrun.world_size() > 1:  # torchrun hands on the signal that all have got
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            say(
                "interrupted; finished results are kept. To resume an unfinished run, repeat the "
                "same command"
            )
            raise typer.Exit(130) from None
        except BrokenPipeError:
            sys.stdout = None  # the reader closed the pipe; Python must not flush at exit
            raise typer.Exit(0) from None
        except (TamisError, OSError) as error:
            if _debug:
                raise
            where = "" if isinstance(error, TamisError) else f"{type(error).__name__}: "
            say(f"tamis: {where}{one_line(error)}")
            raise typer.Exit(1) from None
        finally:
            TABLE_WIDTH.reset(width)

    name = function.__name__.strip("_")
    panel = next((title for title, names in PANELS.items() if name in names), None)
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return app.command(name=name, help=text, rich_help_panel=panel)(guarded)


def one_line(error: Exception) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split())


def print_json(value: Any) -> None:
    """Print a result as JSON."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from tamis import __version__

        print(__version__)
        raise typer.Exit
