"""Write docs/settings.md from the recipe's fields. Run: python docs/make_settings.py (a test holds the two together)."""

from __future__ import annotations

from pathlib import Path

from tamis.config import fields
from tamis.tuning.procedures import BLOCKS, HEAD, PRETRAINED_FULL, SCRATCH_FULL, Defaults

TARGET = Path(__file__).parent / "settings.md"


def page() -> str:
    """The whole page."""
    lines = [
        "# Settings",
        "",
        "Every setting of a recipe. On the command line: `--set section.key=value` (or `key=value` where the key is the only one of",
        "its name); in a TOML file given with `--recipe`: `key = value` under `[section]`. Precedence: defaults, then the recipe, then",
        "options, then `--set`.",
        "A run's `recipe.toml` holds all of them, resolved.",
        "",
        "| setting | default | what it is |",
        "|---|---|---|",
    ]
    for section, key, field in fields():
        name = f"{section}.{key}" if section else key
        default = field.get_default(call_default_factory=True)
        shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        lines.append(f"| `{name}` | {shown} | {field.description.replace('|', chr(92) + '|')} |")
    lines += [
        "",
        "## Settings that depend on what is trained",
        "",
        "Left open, these become:",
        "",
        "| setting | `full`, from scratch | `full`, pretrained | `blocks:K` | `head` by epochs |",
        "|---|---|---|---|---|",
    ]
    for name in Defaults.__dataclass_fields__:
        values = " | ".join(f"{getattr(d, name):g}" for d in (SCRATCH_FULL, PRETRAINED_FULL, BLOCKS, HEAD))
        lines.append(f"| `train.{name}` | {values} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
