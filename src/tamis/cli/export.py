"""`tamis export`: write a trained model for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import say
from tamis.cli.option_groups import computing, feedback_choice, option_groups
from tamis.cli.options import Json, RunArgument, Threads
from tamis.cli.progress import Bars

if TYPE_CHECKING:
    from tamis.export.description import ModelDescription


class Target(StrEnum):
    """What can be written."""

    ONNX = "onnx"
    WEB = "web"
    PEFT = "peft"


@command
@option_groups(feedback=feedback_choice)
def export(
    run: RunArgument,
    to: Annotated[
        Target,
        typer.Option(
            "--to",
            help="Format. onnx: a folder that `tamis predict` and `tamis serve` run without torch, "
            "and other programs with ONNX Runtime. web: a page that classifies in the browser, "
            "without a server. peft: the adapter of a model tuned with lora:R.",
        ),
    ] = Target.ONNX,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder to write.",
            show_default="RUN-onnx, RUN-onnx-int8, RUN-web or RUN-peft, beside the RUN",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Store matrices in 8 bits: a smaller and faster model. Matrices that would change "
            "labels stay in fp32. Always on for web.",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="With --int8 or web: table or text file with texts on which labels are compared.",
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
    node_modules: Annotated[
        Path | None,
        typer.Option(
            "--node-modules",
            help="With web: folder into which npm installed onnxruntime-web and vscode-oniguruma.",
            show_default="downloads, kept in the cache",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an exported folder.")
    ] = False,
    *,
    feedback: Any,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Export a trained model: ONNX, web page or PEFT adapter.

    The head that is written has learned the corrections in effect, as in `tamis predict`. onnx
    writes model.onnx, tokenizer.json, tamis.json (labels, threshold, windows) and predict.py.

    Example: tamis export runs/demo --to onnx --int8 -o demo-onnx
    """
    compute = computing(None, threads, None)
    if data is not None and not (int8 or to is Target.WEB):
        raise typer.BadParameter("--data: only --int8 and --to web compare labels on texts")
    if node_modules is not None and to is not Target.WEB:
        raise typer.BadParameter("--node-modules: only --to web runs these packages")
    from tamis.workflows.export import ExportRequest, export_command

    if to is Target.PEFT:
        if int8 or opset is not None:
            raise typer.BadParameter("--int8 and --opset: an adapter of PEFT has neither")
        from tamis.workflows.export_targets import export_peft_command

        request = ExportRequest(out, overwrite=overwrite, feedback=feedback)
        folder, _ = export_peft_command(run, request, compute=compute, say=say)
        return _print_files(folder, None, as_json=json_)
    request = ExportRequest(out, int8, data, text, opset, overwrite, feedback)
    if to is Target.WEB:
        from tamis.export.web.runtime import Runtime
        from tamis.workflows.export_targets import export_web_command

        folder, description = export_web_command(
            run, request, Runtime(node_modules), compute=compute, say=say, progress=Bars()
        )
        say(f"open {folder / 'index.html'} in a browser, or copy the folder to any web server")
    else:
        folder, description = export_command(
            run, request, compute=compute, say=say, progress=Bars()
        )
    _print_files(folder, description, as_json=json_)


def _print_files(folder: Path, description: ModelDescription | None, *, as_json: bool) -> None:
    """Print the files that were written, and how int8 compares with fp32."""
    precision = None if description is None else description.precision
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
    if as_json:
        return print_json({"folder": str(folder), "files": sizes, "precision": precision})
    for name, size in sizes.items():
        print(f"{folder / name}\t{size / 1e6:.1f} MB")
    if precision is not None and precision.get("agreement") is not None:
        agreement, kept = precision["agreement"], len(precision["fp32_matrices"])
        total = kept + len(precision["int8_matrices"])
        same = f"{agreement['label_agreement']:.2%} of {agreement['texts']:,} labels as in fp32"
        print(f"int8: {total - kept} of {total} matrices in 8 bits; {same}")
