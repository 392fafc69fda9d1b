"""Write docs/settings.md from the recipe's fields. Run: python docs/make_settings.py (a test holds
the two together).
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
        "Every setting of a recipe. On the command line: `--set section.key=value` (or "
        "`key=value` where the key is the only one of",
        "its name); in a TOML file given with `--recipe`: `key = value` under `[section]`. "
        "Precedence: defaults, then the recipe, then",
        "options, then `--set`.",
        "A run's `recipe.toml` holds all of them, resolved.",
        "",
        "| setting | default | what it is |",
        "|---|---|---|",
    ]
    for section, key, field in fields():
        name = f"{section}.{key}" if section else key
        lines.append(_row(name, field))
    lines += [
        "",
        "## Settings that depend on what is trained",
        "",
        "Left open, these become:",
        "",
        "| setting | `full`, from scratch | `full`, pretrained | `blocks:K` | `lora:R` | `head` "
        "by epochs |",
        "|---|---|---|---|---|---|",
    ]
    for name in Defaults.__dataclass_fields__:
        found = (getattr(d, name) for d in (SCRATCH_FULL, PRETRAINED_FULL, BLOCKS, LORA, HEAD))
        values = " | ".join(value if isinstance(value, str) else f"{value:g}" for value in found)
        lines.append(f"| `train.{name}` | {values} |")
    lines += [
        "",
        "With everything of a pretrained backbone trained, `train.epochs` also grows as the "
        "rows get fewer:",
        f"{epochs_for(128, 1)} at 128 rows a class, {epochs_for(32, 1)} at 32, "
        f"{epochs_for(8, 1)} at 8;",
        f"with more than two classes it is {epochs_for(10**6, 3)} at least. Where the head "
        "begins solved,",
        f"`train.wise_ft` is {default_wise_ft(99, 1):g} below 100 rows a class, from there on "
        f"`{default_wise_ft(100, 1)}`.",
    ]
    lines += [
        "",
        "## Settings of a pretraining",
        "",
        "For `tamis pretrain`, with `--set section.key=value` or in a TOML file given with "
        "`--recipe` (`nano` ships; it names each",
        "file of its corpus in a table `[corpus.sources.NAME]`).",
        "",
        "| setting | default | what it is |",
        "|---|---|---|",
    ]
    lines += [_row(name, field) for name, field in pretraining_fields()]
    return "\n".join(lines) + "\n"


def pretraining_fields() -> Iterator[tuple[str, Any]]:
    """Every setting of a pretraining by its full name, those of a source last; where and how it is
    computed stands above.
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
