"""What the commands share: the application, its errors and exit codes, the options that several commands have.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 a known error (one line on stderr), 2 wrong usage.
"""

from __future__ import annotations

import functools
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.console import say
from tamis.config import Recipe, fields, named_recipe, recipe_names
from tamis.errors import ConfigError, TamisError
from tamis.setting_text import HARDENED, parse_setting

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
    """Entry point of the `tamis` command. `--debug`, anywhere before a lone `--`, shows the traceback of an error."""
    global _debug
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # results are UTF-8, and paths are printed as they are
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = arguments[:end]
    _debug = "--debug" in options
    app(args=[*(option for option in options if option != "--debug"), *arguments[end:]], prog_name="tamis")


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
            say("interrupted; nothing that was finished is lost (an unfinished run goes on with the same command)")
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


def setting_help(name: str, example: str = "") -> str:
    """A setting's help, from the recipe: its text, its default, an example."""
    section, key = name.split(".") if "." in name else (None, name)
    field = next(f for s, k, f in fields() if (s, k) == (section, key))
    default = field.get_default(call_default_factory=True)
    shown = f" [default: {default}]" if default is not None else ""
    return f"{field.description}{shown}{f'; e.g. {example}' if example else ''} ({name})"


DataArgument = Annotated[
    str, typer.Argument(help="a table (CSV, TSV, JSONL, Parquet; told by content) or a name: sms-spam", show_default=False)
]
RunArgument = Annotated[Path, typer.Argument(help="a run folder, a model folder, or a folder that transformers wrote", show_default=False)]
TextColumn = Annotated[str | None, typer.Option("--text", help=setting_help("data.text", "--text message"))]
LabelColumn = Annotated[str | None, typer.Option("--label", help=setting_help("data.label", "--label 1"))]
Positive = Annotated[str | None, typer.Option("--positive", help=setting_help("data.positive", "--positive spam"))]
TestFile = Annotated[Path | None, typer.Option("--test", help=setting_help("data.test"))]
Split = Annotated[str | None, typer.Option("--split", help=setting_help("data.split", "--split tp2"))]
Device = Annotated[str | None, typer.Option("--device", help=setting_help("compute.device"))]
Threads = Annotated[int | None, typer.Option("--threads", help=setting_help("compute.threads", "--threads 2"))]
Dtype = Annotated[str | None, typer.Option("--dtype", help=setting_help("compute.dtype", "--dtype auto"))]
Seed = Annotated[int | None, typer.Option("--seed", help=setting_help("seed"))]
BackboneOption = Annotated[str | None, typer.Option("--backbone", help=setting_help("backbone", "--backbone gpt2"))]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for machines")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="any setting of the recipe, e.g. --set train.epochs=3; repeatable")]
RecipeOption = Annotated[
    str | None, typer.Option("--recipe", help=f"a recipe by name ({', '.join(recipe_names()) or 'none ship yet'}) or a TOML file")
]


def hardened_help() -> str:
    """What --harden does, with the settings that it stands for."""
    return f"withstand disguised texts: {', '.join(f'{name}={value}' for name, value in HARDENED.items())}; --set wins"


def recipe_from(base: str | None, options: dict[str, Any], settings: list[str] | None = None, *, harden: bool = False) -> Recipe:
    """Defaults < recipe < --harden < options < --set."""
    recipe = named_recipe(base) if base else Recipe()
    try:
        recipe = recipe.changed(HARDENED if harden else {})
        recipe = recipe.changed({name: value for name, value in options.items() if value is not None})
        return recipe.changed(dict(parse_setting(setting) for setting in settings or []))
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def computing(device: str | None, threads: int | None, dtype: str | None) -> dict[str, Any]:
    """Where and how a trained model is computed, checked as the recipe's own settings are."""
    return recipe_from(None, compute_settings(device, threads, dtype)).compute.model_dump()


def compute_settings(device: str | None, threads: int | None, dtype: str | None) -> dict[str, Any]:
    """Options that say where and how, as settings of a recipe."""
    return {"compute.device": device, "compute.threads": threads, "compute.dtype": dtype}


def data_settings(split: str | None, test: Path | None, text: str | None, label: str | None, positive: str | None) -> dict[str, Any]:
    """Options that say which rows are read and how, as settings of a recipe."""
    return {"data.split": split, "data.test": test and str(test), "data.text": text, "data.label": label, "data.positive": positive}


def print_json(value: Any) -> None:
    """A result for machines."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
