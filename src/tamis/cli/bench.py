"""`tamis bench`: measure speed and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tamis.cli.app import app, command, print_json
from tamis.cli.console import say
from tamis.cli.options import Json, Threads
from tamis.evaluation.report.text_table import table

if TYPE_CHECKING:
    from tamis.workflows.benchmark_results import Bench

__all__ = ["app"]


@command
def bench(
    model: Annotated[
        str,
        typer.Argument(
            help="Run folder, model folder, or backbone by name or folder.", metavar="MODEL"
        ),
    ] = "nano",
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            min=1,
            help="Approximate duration of the measurement in seconds, without imports and loading.",
        ),
    ] = 60.0,
    rivals: Annotated[
        bool,
        typer.Option(
            "--rivals/--no-rivals", help="Also measure TF-IDF and, if installed, transformers."
        ),
    ] = True,
    neighbour: Annotated[
        bool,
        typer.Option(
            "--neighbour",
            help="Also measure while another process keeps one core busy, in the same time.",
        ),
    ] = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Measure speed and memory of a model on this machine.

    Measures batches, single texts, start-up time and memory, for the model and for alternatives.

    Example: tamis bench runs/demo
    """
    from tamis.workflows.benchmark import bench as measure

    found = measure(
        model, threads=threads, seconds=seconds, rivals=rivals, neighbour=neighbour, say=say
    )
    if json_:
        return print_json(found.to_dict())
    print("\n".join(lines(found)))


def lines(found: Bench) -> list[str]:
    """Format the results as tables."""
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
        "of peak",
        f"speed / {found.bulk[0].name}",
        "texts per round",
        "single p50 ms",
        "single p99 ms",
        "calls",
    )
    return [
        f"{found.subject}, {found.threads} threads, torch {found.torch}; peak rate of matrix "
        f"products in GFLOP/s: {limits}",
        "",
        table(bulk, header=header),
        "",
        *_beside(found),
        table(start, header=("new process", "import s", "load s", "first text s", "memory MB")),
        "",
        *([f"texts with the same label as in fp32: {same}"] if same else []),
        *(f"note: {note}" for note in found.notes),
    ]


def _beside(found: Bench) -> list[str]:
    """Format the results beside a busy process; nothing without any."""
    if not found.beside:
        return []
    rows = [
        [
            row.name,
            f"{row.messages_per_s:,.0f}",
            f"{100 * row.share_of_idle:.0f} %",
            f"{row.p50_ms:.1f}",
            f"{row.p99_ms:.1f}",
        ]
        for row in found.beside
    ]
    header = ("one core taken", "messages/s", "of idle", "single p50 ms", "single p99 ms")
    return [table(rows, header=header), ""]
