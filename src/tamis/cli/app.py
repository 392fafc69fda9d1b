"""The typer application: its commands in order, error messages and exit codes.

Results go to stdout, everything else to stderr. Exit codes: 0 success, 1 a known error (one line
on stderr), 2 wrong usage.
"""

from __future__ import annotations

import functools
import inspect
import io
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tamis.cli.console import say, terminal_width
from tamis.errors import TamisError
from tamis.evaluation.report.text_table import TABLE_WIDTH

PANELS = {
    "Train and use a model": (
        "train",
        "predict",
        "evaluate",
        "compare",
        "explain",
        "serve",
        "learn",
        "export",
    ),
    "Data and settings": ("data", "suggest", "search"),
    "Experiments and backbones": ("reproduce", "inspect", "pretrain", "cache", "bench"),
}
"""The commands in the order of `tamis --help`, by the title of their panel."""


class CommandGroup(TyperGroup):
    """The commands in the order of `PANELS`. Help has panels; usage errors are plain text."""

    def list_commands(self, context: Any) -> list[str]:
        """The names of the commands; a command that `PANELS` lacks comes last."""
        order = [name for names in PANELS.values() for name in names]
        names = super().list_commands(context)
        return sorted(names, key=lambda name: order.index(name) if name in order else len(order))

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command."""
        self.rich_markup_mode = None  # typer would draw a box around usage errors
        return super().main(*args, **options)

    def format_help(self, context: Any, formatter: Any) -> None:
        """Print the help of all commands."""
        self.rich_markup_mode = "rich"
        super().format_help(context, formatter)


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
_debug = False


def main() -> None:
    """Entry point of the `tamis` command. The option `--debug`, anywhere before `--`, shows the
    traceback of an error.
    """
    global _debug
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            encoding="utf-8", errors="surrogateescape"
        )  # results are UTF-8; paths may contain undecodable bytes
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = arguments[:end]
    _debug = "--debug" in options
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
        width = TABLE_WIDTH.set(terminal_width())
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt:
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
