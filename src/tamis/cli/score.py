"""`tamis score`: classify the rows of a table of any size."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import say, say_what_is_read
from tamis.cli.option_groups import computing, feedback_choice, option_groups
from tamis.cli.options import COMPUTE, DATA, Json, RunArgument
from tamis.cli.progress import Bars


class EngineName(StrEnum):
    """What scores."""

    local = "local"
    ray = "ray"


@command
@option_groups(compute=computing, feedback=feedback_choice)
def score(
    run: RunArgument,
    table: Annotated[
        str,
        typer.Argument(
            help="Table with a text in each row: CSV, TSV, JSONL, Parquet, or lines of text, "
            "detected by content; also compressed with gzip, bzip2, xz or Zstandard; a path, a URI "
            "such as s3://BUCKET/FILE, or - for stdin.",
            metavar="IN",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(
            help="Folder for the results, a path or a URI; it is created.",
            metavar="OUT",
            show_default=False,
        ),
    ],
    text: Annotated[
        str | None,
        typer.Option("--text", help="Text column. Detected by default.", rich_help_panel=DATA),
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether the first row of CSV or TSV names the columns. Detected by default.",
            rich_help_panel=DATA,
        ),
    ] = None,
    part_rows: Annotated[
        int, typer.Option("--part-rows", min=1, help="Rows of a part.", rich_help_panel=DATA)
    ] = 20_000,
    max_bad: Annotated[
        int | None,
        typer.Option(
            "--max-bad",
            min=0,
            help="Stop with exit code 1 when more rows than this cannot be scored. By default all "
            "other rows are scored, and the bad ones are listed in bad-rows.jsonl.",
            rich_help_panel=DATA,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results in OUT.")
    ] = False,
    engine: Annotated[
        EngineName,
        typer.Option(
            "--engine",
            help="local: processes of this machine; ray: a Ray cluster. The results are the same.",
            rich_help_panel=COMPUTE,
        ),
    ] = EngineName.local,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            help="Existing Ray cluster (HOST:PORT or auto). By default, --engine ray starts one on "
            "this machine.",
            rich_help_panel=COMPUTE,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            help="Processes that share the CPU threads. Measured on the first rows by default.",
            rich_help_panel=COMPUTE,
        ),
    ] = None,
    *,
    feedback: Any,
    compute: dict[str, Any],
    json_: Json = False,
) -> None:
    """Classify the rows of a table of any size, in bounded memory.

    OUT gets part-00000.csv (or .jsonl, .parquet) and so on, in the order of the rows: the columns
    of the table, then label, verdict and p_<label> for each label; bad-rows.jsonl; and, last of
    all, summary.json. If it is interrupted, repeat the same command: it goes on, and the results
    are the same.

    Example: tamis score runs/demo messages.csv scored/
    """
    if ray_address is not None and engine is not EngineName.ray:
        raise typer.BadParameter("--ray-address: expected --engine ray beside it")
    if table == "-":
        say_what_is_read("a table")
    from tamis.workflows.score_table.engine import Engine, ScoringJob
    from tamis.workflows.score_table.object_store import output_folder, table_source
    from tamis.workflows.score_table.options import ScoreOptions
    from tamis.workflows.score_table.run import score_table

    job = ScoringJob(str(run), compute["device"], compute["dtype"], feedback)
    scoring: Engine
    if engine is EngineName.ray:
        from tamis.workflows.score_table.ray_engine import RayEngine

        scoring = RayEngine(ray_address, workers=processes, say=say)
    else:
        from tamis.workflows.score_table.local_engine import LocalEngine

        scoring = LocalEngine(processes, compute["threads"], say=say)
    outcome = score_table(
        job,
        table_source(table),
        output_folder(out),
        scoring,
        ScoreOptions(text, header, part_rows, max_bad, overwrite),
        progress=Bars(),
        say=say,
    )
    summary = outcome.summary
    if json_:
        print_json({**summary, "timing": outcome.timing})
        return
    verdicts = ", ".join(f"{count:,} {name}" for name, count in summary["verdicts"].items())
    print(f"scored {summary['scored']:,} of {summary['rows']:,} rows: {verdicts or 'none'}")
    if summary["bad_rows"]:
        say(
            f"{summary['bad_rows']:,} rows could not be scored; rows and reasons are in "
            f"{out.rstrip('/')}/bad-rows.jsonl"
        )
    print(f"results in {out}: {summary['parts']:,} parts")
