"""What the commands share: the application, its errors and exit codes.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 a known error (one line on
stderr), 2 wrong usage.
"""

from __future__ import annotations

import functools
import io
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from tamis.cli.console import say
from tamis.errors import TamisError

app = typer.Typer(
    name="tamis",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turn GPT-2 into a text classifier on this machine. Start with: tamis train sms-spam",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_debug = False


def main() -> None:
    """Entry point of the `tamis` command. `--debug`, anywhere before a lone `--`, shows the
    traceback of an error.
    """
    global _debug
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            encoding="utf-8", errors="surrogateescape"
        )  # results are UTF-8, and paths are printed as they are
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
    """Register a command whose known errors become one line and exit code 1."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt:
            say(
                "interrupted; nothing that was finished is lost (an unfinished run goes on with "
                "the same command)"
            )
            raise typer.Exit(130) from None
        except BrokenPipeError:
            sys.stdout = None  # whoever read the output is gone; nothing more to flush
            raise typer.Exit(0) from None
        except (TamisError, OSError) as error:
            if _debug:
                raise
            where = "" if isinstance(error, TamisError) else f"{type(error).__name__}: "
            say(f"tamis: {where}{one_line(error)}")
            raise typer.Exit(1) from None

    return app.command(name=function.__name__.strip("_"))(guarded)


def one_line(error: Exception) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())


def print_json(value: Any) -> None:
    """A result for machines."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    if version:
        from tamis import __version__

        print(__version__)
        raise typer.Exit
