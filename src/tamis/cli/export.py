"""`tamis export`: write a trained model for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import say
from tamis.cli.options import Json, RunArgument, Threads, computing
from tamis.cli.progress import Bars


class Target(StrEnum):
    """What can be written."""

    ONNX = "onnx"


@command
def export(
    run: RunArgument,
    to: Annotated[
        Target,
        typer.Option(
            "--to",
            help="Format. onnx: a folder that `tamis predict` and `tamis serve` run without torch, "
            "and other programs with ONNX Runtime.",
        ),
    ] = Target.ONNX,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder to write.",
            show_default="RUN-onnx, or RUN-onnx-int8, beside the RUN",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Store matrices in 8 bits: a smaller and faster model. Matrices that would change "
            "labels stay in fp32.",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="With --int8: table or text file with texts on which labels are compared.",
            show_default="the validation texts of the run, else its test texts",
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", help="Text column of --data. Detected by default."),
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(
            "--opset",
            help="Version of the ONNX operators, from 17 on. A lower one is for old programs.",
            show_default="20",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an exported folder.")
    ] = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Export a trained model for ONNX Runtime.

    Writes model.onnx, tokenizer.json, tamis.json (labels, threshold, windows) and predict.py.

    Example: tamis export runs/demo --to onnx --int8 -o demo-onnx
    """
    compute = computing(None, threads, None)
    if data is not None and not int8:
        raise typer.BadParameter("--data: only --int8 compares labels on texts; leave it out")
    from tamis.workflows.export import ExportRequest, export_command

    request = ExportRequest(out, int8, data, text, opset, overwrite)
    folder, description = export_command(run, request, compute=compute, say=say, progress=Bars())
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    if json_:
        return print_json(
            {"folder": str(folder), "files": sizes, "precision": description.precision}
        )
    for name, size in sizes.items():
        print(f"{folder / name}\t{size / 1e6:.1f} MB")
    agreement = description.precision.get("agreement")
    if agreement is not None:
        kept = len(description.precision["fp32_matrices"])
        total = kept + len(description.precision["int8_matrices"])
        same = f"{agreement['label_agreement']:.2%} of {agreement['texts']:,} labels as in fp32"
        print(f"int8: {total - kept} of {total} matrices in 8 bits; {same}")
