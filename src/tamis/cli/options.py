"""Options that several commands have, and the recipe that they amount to."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.config import Recipe, fields, named_recipe, recipe_names
from tamis.errors import ConfigError

ROBUST: dict[str, Any] = {
    "text.normalize": "robust",
    "text.pooling": "attention",
    "train.augment_positives": 3.0,
    "train.augment_negatives": 1.0,
}
"""What `--robust` sets; a setting given beside it wins."""


def parse_setting(text: str) -> tuple[str, Any]:
    """`name=value` from a command line; the value is TOML where it parses as TOML, else a plain
    string; `none` unsets.

    Raises:
        ConfigError: there is no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"a setting is written name=value; got {text!r}")
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


def setting_help(name: str, example: str = "") -> str:
    """A setting's help, from the recipe: its text, its default, an example."""
    section, key = name.split(".") if "." in name else (None, name)
    field = next(f for s, k, f in fields() if (s, k) == (section, key))
    default = field.get_default(call_default_factory=True)
    shown = f" [default: {default}]" if default is not None else ""
    return f"{field.description}{shown}{f'; e.g. {example}' if example else ''} ({name})"


DataArgument = Annotated[
    str,
    typer.Argument(
        help="a table (CSV, TSV, JSONL, Parquet; told by content) or a name: sms-spam",
        show_default=False,
    ),
]

RunArgument = Annotated[
    Path,
    typer.Argument(
        help="a run folder, a model folder, or a folder that transformers wrote", show_default=False
    ),
]

TextColumn = Annotated[
    str | None, typer.Option("--text", help=setting_help("data.text", "--text message"))
]

LabelColumn = Annotated[
    str | None, typer.Option("--label", help=setting_help("data.label", "--label 1"))
]

Positive = Annotated[
    str | None, typer.Option("--positive", help=setting_help("data.positive", "--positive spam"))
]

TestFile = Annotated[Path | None, typer.Option("--test", help=setting_help("data.test"))]

Split = Annotated[
    str | None, typer.Option("--split", help=setting_help("data.split", "--split tp2"))
]

Device = Annotated[str | None, typer.Option("--device", help=setting_help("compute.device"))]

Threads = Annotated[
    int | None, typer.Option("--threads", help=setting_help("compute.threads", "--threads 2"))
]

Dtype = Annotated[
    str | None, typer.Option("--dtype", help=setting_help("compute.dtype", "--dtype auto"))
]

Seed = Annotated[int | None, typer.Option("--seed", help=setting_help("seed"))]

BackboneOption = Annotated[
    str | None, typer.Option("--backbone", help=setting_help("backbone", "--backbone gpt2"))
]

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for machines")]

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="any setting of the recipe, e.g. --set train.epochs=3; repeatable"),
]

RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help=f"a recipe by name ({', '.join(recipe_names()) or 'none ship yet'}) or a TOML file",
    ),
]


def robust_help() -> str:
    """What --robust does, with the settings that it stands for."""
    return (
        "withstand disguised texts: "
        f"{', '.join(f'{name}={value}' for name, value in ROBUST.items())}; --set wins"
    )


def recipe_from(
    base: str | None,
    options: dict[str, Any],
    settings: list[str] | None = None,
    *,
    robust: bool = False,
) -> Recipe:
    """Defaults < recipe < --robust < options < --set."""
    recipe = named_recipe(base) if base else Recipe()
    try:
        recipe = recipe.changed(ROBUST if robust else {})
        recipe = recipe.changed(
            {name: value for name, value in options.items() if value is not None}
        )
        return recipe.changed(dict(parse_setting(setting) for setting in settings or []))
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def computing(device: str | None, threads: int | None, dtype: str | None) -> dict[str, Any]:
    """Where and how a trained model is computed, checked as the recipe's own settings are."""
    return recipe_from(None, compute_settings(device, threads, dtype)).compute.model_dump()


def compute_settings(device: str | None, threads: int | None, dtype: str | None) -> dict[str, Any]:
    """Options that say where and how, as settings of a recipe."""
    return {"compute.device": device, "compute.threads": threads, "compute.dtype": dtype}


def data_settings(
    split: str | None, test: Path | None, text: str | None, label: str | None, positive: str | None
) -> dict[str, Any]:
    """Options that say which rows are read and how, as settings of a recipe."""
    return {
        "data.split": split,
        "data.test": test and str(test),
        "data.text": text,
        "data.label": label,
        "data.positive": positive,
    }
