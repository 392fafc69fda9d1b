"""`tamis bench`: how fast a model runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tamis.cli.app import app, command, print_json
from tamis.cli.console import say
from tamis.cli.options import Json, Threads
from tamis.evaluation.report.text_table import table

if TYPE_CHECKING:
    from tamis.workflows.benchmark import Bench

__all__ = ["app"]


@command
def bench(
    model: Annotated[
        str, typer.Argument(help="a run folder, a model folder, or a backbone by name or folder")
    ] = "nano",
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", min=1, help="about how long to measure; imports and loading come on top"
        ),
    ] = 60.0,
    rivals: Annotated[
        bool,
        typer.Option(
            "--rivals/--no-rivals", help="also time TF-IDF and, where it is installed, transformers"
        ),
    ] = True,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Time a model on this machine, beside what one would pick instead: bulk scoring, single
    messages, start, memory.

    Example: tamis bench runs/demo
    """
    from tamis.workflows.benchmark import bench as measure

    found = measure(model, threads=threads, seconds=seconds, rivals=rivals, say=say)
    if json_:
        return print_json(found.to_dict())
    print("\n".join(lines(found)))


def lines(found: Bench) -> list[str]:
    """The figures as tables."""
    limits = ", ".join(f"{dtype} {rate:.0f}" for dtype, rate in found.ceiling_gflops.items())
    single = {row.name: row for row in found.single}
    bulk = [
        [
            row.name,
            f"{row.messages_per_s:,.0f}",
            "" if row.tokens_per_s is None else f"{row.tokens_per_s:,.0f}",
            "" if row.share_of_ceiling is None else f"{100 * row.share_of_ceiling:.0f} %",
            f"{row.times_first:.2f}",
            f"{row.texts:,}",
            f"{single[row.name].p50_ms:.1f}",
            f"{single[row.name].p99_ms:.1f}",
            f"{single[row.name].calls:,}",
        ]
        for row in found.bulk
    ]
    start = [
        [
            s.dtype,
            f"{s.import_s:.1f}",
            f"{s.load_s:.1f}",
            f"{s.first_text_s:.2f}",
            "" if s.memory_mb is None else f"{s.memory_mb:.0f}",
        ]
        for s in found.start
    ]
    same = ", ".join(
        f"{dtype} {100 * share:.2f} %"
        for dtype, share in found.same_labels.items()
        if dtype != "fp32"
    )
    header = (
        "",
        "messages/s",
        "tokens/s",
        "of the ceiling",
        f"times {found.bulk[0].name}",
        "texts a round",
        "one: p50 ms",
        "p99 ms",
        "calls",
    )
    return [
        f"{found.subject}, {found.threads} threads, torch {found.torch}; bare matrix products: "
        f"{limits} GFLOP/s",
        "",
        table(bulk, header=header),
        "",
        table(start, header=("fresh process", "import s", "load s", "first text s", "memory MB")),
        "",
        *([f"same label as in fp32: {same}"] if same else []),
        *(f"note: {note}" for note in found.notes),
    ]
