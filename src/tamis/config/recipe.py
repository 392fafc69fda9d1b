"""The recipe: the sections of settings together; reading and writing TOML, finding a setting."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from tamis.config.faults import fault_sentences, one_of, setting_name
from tamis.config.settings import (
    ComputeSettings,
    DataSettings,
    DecisionSettings,
    Section,
    TextSettings,
    TrainSettings,
)
from tamis.errors import ConfigError

RECIPES = Path(__file__).parents[1] / "recipes"


class Recipe(Section):
    """All settings of one experiment."""

    backbone: str = "nano"
    """Backbone: a name (`nano`, `gpt2`, `scratch:small`, ...), a folder in the Hugging Face layout,
    or an OpenAI checkpoint folder."""
    tune: Annotated[str, AfterValidator(one_of("auto", "head", "full", "blocks:K", "lora:R"))] = (
        "auto"
    )
    """What is trained: `head`, `blocks:K` (the last K blocks), `lora:R` (adapters of rank R) or
    `full` (everything). `auto` chooses by backbone, number of rows and speed."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of all random generators."""
    data: DataSettings = Field(default_factory=lambda: DataSettings())
    text: TextSettings = Field(default_factory=lambda: TextSettings())
    train: TrainSettings = Field(default_factory=lambda: TrainSettings())
    decision: DecisionSettings = Field(default_factory=lambda: DecisionSettings())
    compute: ComputeSettings = Field(default_factory=lambda: ComputeSettings())

    @property
    def blocks(self) -> int | None:
        """K of `tune = "blocks:K"`."""
        return int(self.tune.removeprefix("blocks:")) if self.tune.startswith("blocks:") else None

    @property
    def rank(self) -> int | None:
        """R of `tune = "lora:R"`."""
        return int(self.tune.removeprefix("lora:")) if self.tune.startswith("lora:") else None

    def changed(self, settings: Mapping[str, Any]) -> Recipe:
        """Return a copy of the recipe with the given settings, named `section.key` or, if only one
        section has that key, `key`.

        Raises:
            ConfigError: a name is unknown (the message suggests the most similar one), or a value
                is out of range.
        """
        tree = self.model_dump()
        for name, value in settings.items():
            section, key = find_setting(name)
            (tree[section] if section else tree)[key] = value
        return _validated(tree, "settings")

    def to_toml(self) -> str:
        """Format the recipe as TOML with descriptions; settings that are None become comments."""
        lines = ["# Recipe of this run: all settings with their resolved values.", ""]
        for section, name, field in fields():
            if section and f"[{section}]" not in lines:
                lines += ["", f"[{section}]"]
            value = getattr(getattr(self, section) if section else self, name)
            lines.append(f"# {field.description}")
            lines.append(f"# {name} = (none)" if value is None else _toml_line(name, value))
        return "\n".join(lines) + "\n"


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe from a TOML file.

    Raises:
        ConfigError: the file is missing, is not TOML, or contains an unknown setting or an invalid
            value.
    """
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"recipe {path} does not exist; give a TOML file or one of: {', '.join(recipe_names())}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"recipe {path} cannot be read as TOML: {error}") from error
    return _validated(tree, str(path))


def named_recipe(name: str) -> Recipe:
    """Read an included recipe by name, or a recipe file by path.

    Raises:
        ConfigError: there is no such recipe and no such file.
    """
    shipped = RECIPES / f"{name}.toml"
    return read_recipe(shipped if shipped.is_file() else name)


def recipe_names() -> list[str]:
    """Names of the included training recipes, without those of pretraining, which have a corpus."""
    files = RECIPES.glob("*.toml")
    return sorted(file.stem for file in files if "[corpus" not in file.read_text(encoding="utf-8"))


@cache
def fields() -> tuple[tuple[str | None, str, Any], ...]:
    """All settings: section (None: top level), name, pydantic field (description, default)."""
    known = Recipe.model_fields.items()
    top = [(None, name, field) for name, field in known if not _is_section(field)]
    inner = [
        (section, key, field)
        for section, whole in known
        if _is_section(whole)
        for key, field in whole.annotation.model_fields.items()  # type: ignore[union-attr]
    ]
    return (*top, *inner)


def _is_section(field: Any) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def find_setting(name: str) -> tuple[str | None, str]:
    """Return section (None for top-level settings) and key of a setting.

    Raises:
        ConfigError: there is no setting of this name.
    """
    known = [(section, key) for section, key, _ in fields()]
    full = {f"{section}.{key}" if section else key: (section, key) for section, key in known}
    if name in full:
        return full[name]
    same = [place for place in known if place[1] == name]
    if len(same) == 1:
        return same[0]
    near = difflib.get_close_matches(name, [*full, *(key for _, key in known)], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known settings: {', '.join(full)}"
    raise ConfigError(f"unknown setting {name!r}{hint}")


def _toml_line(name: str, value: Any) -> str:
    """A setting as TOML; a dictionary becomes an inline table, so that it stays in its section."""
    if isinstance(value, dict):
        items = ", ".join(_toml_line(key, item) for key, item in value.items())
        return f"{name} = {{ {items} }}"
    return tomli_w.dumps({name: value}).rstrip("\n")


def _validated(tree: Mapping[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        wrong = error.errors()
        misplaced = [one for one in wrong if one["type"] == "extra_forbidden"]
        problems = [_misplaced(setting_name(one), one.get("input")) for one in misplaced]
        problems += fault_sentences(one for one in wrong if one not in misplaced)
        raise ConfigError(f"{where}: " + "; ".join(dict.fromkeys(problems))) from None


def _misplaced(name: str, value: Any) -> str:
    """Explain why a name is not valid at its place in a recipe file."""
    if isinstance(value, dict):
        sections = [section for section, field in Recipe.model_fields.items() if _is_section(field)]
        return f"unknown section [{name}]; known sections: {', '.join(sections)}"
    try:
        section, key = find_setting(name)
    except ConfigError as unknown:
        return str(unknown)
    place = f"under [{section}]" if section else "at the top of the file"
    return f"{name} is in the wrong section; write {key} {place}"
