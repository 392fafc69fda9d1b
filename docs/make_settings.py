"""Write docs/settings.md from the fields of the recipe. Run: python docs/make_settings.py (a test
checks that the page is up to date).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tamis.config import fields
from tamis.training.defaults import (
    BLOCKS,
    HEAD,
    LORA,
    PRETRAINED_FULL,
    SCRATCH_FULL,
    Defaults,
    default_wise_ft,
    epochs_for,
)
from tamis.training.pretraining.recipe import PretrainRecipe, SourceSettings

TARGET = Path(__file__).parent / "settings.md"


def page() -> str:
    """The whole page."""
    lines = [
        "# Settings",
        "",
        "A recipe is the set of all settings of a training. There are three ways to change one:",
        "",
        "- on the command line: `--set section.key=value`, or `--set key=value` if only one "
        "section has that key;",
        "- on the command line: the option of the same meaning, such as `--seed 7`;",
        "- in a TOML file given with `--recipe FILE`: `key = value` under `[section]`.",
        "",
        "`--set` overrides options, options override the recipe file, and the recipe file "
        "overrides the defaults.",
        "The file `recipe.toml` in a run folder contains all settings with their resolved values.",
        "",
        "| setting | default | description |",
        "|---|---|---|",
    ]
    for section, key, field in fields():
        name = f"{section}.{key}" if section else key
        lines.append(_row(name, field))
    lines += [
        "",
        "## Defaults that depend on `tune`",
        "",
        "If these settings are not given, they get the following values:",
        "",
        "| setting | `full`, from scratch | `full`, pretrained | `blocks:K` | `lora:R` | `head` "
        "with `adamw` |",
        "|---|---|---|---|---|---|",
    ]
    for name in Defaults.__dataclass_fields__:
        found = (getattr(d, name) for d in (SCRATCH_FULL, PRETRAINED_FULL, BLOCKS, LORA, HEAD))
        values = " | ".join(value if isinstance(value, str) else f"{value:g}" for value in found)
        lines.append(f"| `train.{name}` | {values} |")
    lines += [
        "",
        "With `full` and a pretrained backbone, the default of `train.epochs` is higher for "
        "small tables:",
        f"{epochs_for(128, 1)} at 128 rows per class, {epochs_for(32, 1)} at 32, "
        f"{epochs_for(8, 1)} at 8.",
        f"With more than two classes, it is at least {epochs_for(10**6, 3)}. If `train.head_init` "
        "is `linear_probe`,",
        f"the default of `train.wise_ft` is {default_wise_ft(99, 1):g} below 100 rows per class "
        f"and `{default_wise_ft(100, 1)}` from 100.",
    ]
    lines += [
        "",
        "## Settings of `tamis pretrain`",
        "",
        "Set them with `--set section.key=value` or in a TOML file given with `--recipe`. The "
        "recipes `nano` and `nano_from_scratch` are",
        "included; they describe each file of the corpus in a table `[corpus.sources.NAME]`.",
        "",
        "| setting | default | description |",
        "|---|---|---|",
    ]
    lines += [_row(name, field) for name, field in pretraining_fields()]
    return "\n".join(lines) + "\n"


def pretraining_fields() -> Iterator[tuple[str, Any]]:
    """All settings of a pretraining by full name, those of a source last. The section `compute` is
    left out: it is the same as that of a training.
    """
    for section, field in PretrainRecipe.model_fields.items():
        if section == "compute":
            continue
        inner = getattr(field.annotation, "model_fields", None)
        if inner is None:
            yield section, field
            continue
        yield from (
            (f"{section}.{key}", setting) for key, setting in inner.items() if key != "sources"
        )
    yield from (
        (f"corpus.sources.NAME.{key}", setting)
        for key, setting in SourceSettings.model_fields.items()
    )


def _row(name: str, field: Any) -> str:
    default = "" if field.is_required() else field.get_default(call_default_factory=True)
    shown = (
        ""
        if default in (None, "")
        else f"`{str(default).lower() if isinstance(default, bool) else default}`"
    )
    return f"| `{name}` | {shown} | {field.description.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
