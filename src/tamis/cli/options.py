"""Options that several commands share, and the recipe made from them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.console import say_what_is_read
from tamis.config import Recipe, fields, named_recipe, recipe_names
from tamis.errors import ConfigError
from tamis.workflows.training_options import ROBUST


def parse_setting(text: str) -> tuple[str, Any]:
    """Parse `name=value`. The value is parsed as TOML if possible, otherwise it is a string; `none`
    removes the setting.

    Raises:
        ConfigError: there is no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"setting: expected name=value, got {text!r}")
    if value.strip().lower() == "none" and name.strip().rpartition(".")[2] not in (
        "class_weight",
        "split",
        "padding",
        "normalize",
    ):
        return name.strip(), None
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


DATA, COMPUTE, DECISION, MODEL = "Data", "Compute", "Decision", "Model"
FEEDBACK = "Feedback"
"""Titles of the panels of options in help texts."""


def setting_option(flag: str, name: str, example: str = "", *, panel: str | None = None) -> Any:
    """An option for a setting of the recipe. Its help has the description and the default of the
    setting, and an example.
    """
    section, key = name.split(".") if "." in name else (None, name)
    field = next(f for s, k, f in fields() if (s, k) == (section, key))
    default = field.get_default(call_default_factory=True)
    text = field.description if field.description.endswith(".") else f"{field.description}."
    text += f" Example: {flag} {example}." if example else ""
    text += f" Setting: {name}."
    text += f" \\[default: {default}]" if default is not None else ""  # \\[ is a literal [ for rich
    return typer.Option(flag, help=text, rich_help_panel=panel)


def _announced(data: str) -> str:
    if data == "-":
        say_what_is_read("a table")
    return data


DataArgument = Annotated[
    str,
    typer.Argument(
        help="Labelled table (CSV, TSV, Excel, JSONL or Parquet, detected by content; - for "
        "stdin), or the name of a known data set: sms-spam.",
        metavar="DATA",
        show_default=False,
        callback=_announced,
    ),
]

RunArgument = Annotated[
    Path,
    typer.Argument(
        help="Run folder, model folder, GPT-2 classifier saved by transformers or PEFT, or "
        "ORGANIZATION/NAME of the Hugging Face hub.",
        metavar="RUN",
        show_default=False,
    ),
]

TextColumn = Annotated[str | None, setting_option("--text", "data.text", "message", panel=DATA)]

LabelColumn = Annotated[str | None, setting_option("--label", "data.label", "category", panel=DATA)]

Header = Annotated[bool | None, setting_option("--header/--no-header", "data.header", panel=DATA)]

SkipUnlabelled = Annotated[
    bool | None,
    setting_option("--skip-unlabelled", "data.skip_unlabelled", panel=DATA),
]

Positive = Annotated[str | None, setting_option("--positive", "data.positive", "spam", panel=DATA)]

TestFile = Annotated[Path | None, setting_option("--test", "data.test", "test.csv", panel=DATA)]

Split = Annotated[str | None, setting_option("--split", "data.split", "stratified", panel=DATA)]

Device = Annotated[
    str | None, setting_option("--device", "compute.device", "cuda:0", panel=COMPUTE)
]

Threads = Annotated[int | None, setting_option("--threads", "compute.threads", "2", panel=COMPUTE)]

Dtype = Annotated[str | None, setting_option("--dtype", "compute.dtype", "auto", panel=COMPUTE)]

Seed = Annotated[int | None, setting_option("--seed", "seed", "7", panel=COMPUTE)]

BackboneOption = Annotated[
    str | None, setting_option("--backbone", "backbone", "gpt2", panel=MODEL)
]

NoFeedback = Annotated[
    bool,
    typer.Option(
        "--no-feedback",
        help="Use the model as trained, without what it has learned from corrections.",
        rich_help_panel=FEEDBACK,
    ),
]

FeedbackStore = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="SQLite file with the corrections.",
        show_default="RUN.feedback.sqlite beside RUN, if it exists",
        rich_help_panel=FEEDBACK,
    ),
]

FeedbackUser = Annotated[
    str,
    typer.Option(
        "--user",
        help="Also use the corrections of this user.",
        show_default="shared corrections only",
        rich_help_panel=FEEDBACK,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any setting of the recipe; may be repeated. Example: --set train.epochs=3.",
        rich_help_panel=MODEL,
    ),
]

RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help=f"Included recipe ({', '.join(recipe_names())}) or TOML file with settings. "
        "Example: --recipe mine.toml.",
        rich_help_panel=MODEL,
    ),
]


def robust_help() -> str:
    """The help of `--robust`, with the settings that it changes."""
    return (
        "Train for obfuscated texts. Sets "
        f"{', '.join(f'{name}={value}' for name, value in ROBUST.items())}; --set overrides them."
    )


def recipe_from(
    base: str | None,
    options: dict[str, Any],
    settings: list[str] | None = None,
    *,
    robust: bool = False,
) -> Recipe:
    """Combine settings. Each source overrides those before it: defaults, recipe, `--robust`,
    options, `--set`.
    """
    recipe = named_recipe(base) if base else Recipe()
    try:
        recipe = recipe.changed(ROBUST if robust else {})
        recipe = recipe.changed(
            {name: value for name, value in options.items() if value is not None}
        )
        return recipe.changed(dict(parse_setting(setting) for setting in settings or []))
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
