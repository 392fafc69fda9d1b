"""`tamis cache`: show what lies in the cache folder, and remove it."""

from __future__ import annotations

from typing import Annotated

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import say
from tamis.cli.options import Json

_KINDS = ("states", "data", "backbones", "teachers", "npm", "speed", "verified")


@command
def cache(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"Kinds of content: {', '.join(_KINDS)}. All by default.",
            metavar="[KIND...]",
            show_default=False,
            autocompletion=lambda: list(_KINDS),
        ),
    ] = None,
    clear: Annotated[
        bool,
        typer.Option(
            "--clear",
            help="Remove it. Files that another process uses, and files that tamis did not write, "
            "stay.",
        ),
    ] = False,
    json_: Json = False,
) -> None:
    """Show what lies in the cache folder, or remove it.

    The folder is TAMIS_CACHE, or the cache folder of the user. Nothing in it is lost: it is
    computed or downloaded again when it is needed. Backbones from the Hugging Face hub are in the
    cache of huggingface-hub.

    Example: tamis cache states --clear
    """
    for kind in kinds or []:
        if kind not in _KINDS:
            raise typer.BadParameter(f"KIND: expected one of {', '.join(_KINDS)}, got {kind!r}")
    from tamis.cache import cache_directory
    from tamis.evaluation.report.text_table import table
    from tamis.workflows.cache_contents import cache_entries, clear_cache

    folder = cache_directory()
    if clear:
        found = clear_cache(kinds or [])
        entries = list(found.removed)
        for path in found.in_use:
            say(f"{path} is in use or cannot be removed; it stays")
    else:
        entries = cache_entries(kinds or [])
    total = sum(entry.bytes for entry in entries)
    if json_:
        key = "removed" if clear else "content"
        listed = {key: [entry.to_dict() for entry in entries], "bytes": total}
        return print_json({"folder": str(folder), **listed})
    rows = [
        [entry.kind, f"{entry.files:,}", size(entry.bytes), entry.description]
        for entry in entries
        if entry.files or not clear
    ]
    if rows:
        print(table(rows, header=("kind", "files", "size", "content")))
    print(f"{'removed from' if clear else 'in'} {folder}: {size(total)}")


def size(count: int) -> str:
    """A number of bytes in a readable unit."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
