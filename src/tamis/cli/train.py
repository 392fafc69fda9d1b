"""The command line: one function a command. Parses, calls, prints; the only place that exits.

What the commands share stands in `app`, a command with many options of its own in a module of its own (`bench`, `data`, `pretrain`,
`search`, `serve`, `suggest`, `learn`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tamis.cli import bench, learn, pretrain, search, serve, suggest
from tamis.cli import data as cli_data
from tamis.cli.app import (
    BackboneOption,
    DataArgument,
    Device,
    Dtype,
    Json,
    LabelColumn,
    Positive,
    RecipeOption,
    RunArgument,
    Seed,
    Settings,
    Split,
    TestFile,
    TextColumn,
    Threads,
    app,
    command,
    compute_settings,
    computing,
    data_settings,
    debugging,
    hardened_help,
    main,
    one_line,
    print_json,
    recipe_from,
    setting_help,
)
from tamis.cli.console import Bars, online_lines, report_lines, say, table
from tamis.errors import TamisError
from tamis.setting_text import parse_setting

__all__ = ["app", "bench", "cli_data", "learn", "main", "pretrain", "search", "serve", "suggest"]


@app.callback(invoke_without_command=True)
def _top(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False) -> None:
    if version:
        from tamis import __version__

        print(__version__)
        raise typer.Exit


@command
def inspect(backbone: Annotated[str, typer.Argument(help="a name, a folder, or an OpenAI checkpoint folder")], json_: Json = False) -> None:
    """Show a checkpoint's settings, its params with shapes, and how they map to the model's configuration.

    Example: tamis inspect gpt2
    """
    from tamis.workflows.inspect_backbone import inspect_backbone

    found = inspect_backbone(backbone)
    if json_:
        return print_json(found.to_dict())
    print(found.text())


@command
def train(
    data: DataArgument,
    backbone: BackboneOption = None,
    tune: Annotated[str | None, typer.Option("--tune", help=setting_help("tune", "--tune blocks:2"))] = None,
    split: Split = None,
    test: TestFile = None,
    without: Annotated[Path | None, typer.Option("--without", help=setting_help("data.without", "--without review.csv"))] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    positive: Positive = None,
    class_weight: Annotated[str | None, typer.Option("--class-weight", help=setting_help("train.class_weight", "spam=5,ham=1"))] = None,
    max_blocked: Annotated[
        str | None, typer.Option("--max-blocked", help=setting_help("verdict.max_blocked", "--max-blocked 0.2%"))
    ] = None,
    cost: Annotated[str | None, typer.Option("--cost", help=setting_help("verdict.costs", "--cost blocked=10,missed=1"))] = None,
    prior: Annotated[str | None, typer.Option("--prior", help=setting_help("verdict.prior", "--prior 2%"))] = None,
    harden: Annotated[bool, typer.Option("--harden", help=hardened_help())] = False,
    recipe: RecipeOption = None,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="run folder [default: runs/<data>-<backbone>-<tune>]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the run that is there")] = False,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    seed: Seed = None,
    json_: Json = False,
) -> None:
    """Train a classifier, judge it beside TF-IDF, and write a run folder. An unfinished run goes on where it was.

    Example: tamis train messages.csv --max-blocked 0.2% -o runs/mine
    """
    options = {
        "backbone": backbone,
        "tune": tune,
        "seed": seed,
        **data_settings(split, test, text, label, positive),
        "data.without": without and str(without),
        "train.class_weight": class_weight,
        "verdict.max_blocked": max_blocked,
        "verdict.costs": cost,
        "verdict.prior": prior and parse_setting(f"prior={prior}")[1],
        **compute_settings(device, threads, dtype),
    }
    wanted = recipe_from(recipe, options, settings, harden=harden)
    from tamis.workflows import train as experiment

    path, report = experiment.train(data, wanted, out, overwrite=overwrite, say=say, progress=Bars())
    if json_:
        return print_json(report)
    print("\n".join(report_lines(report)))
    print(f"run folder: {path} (open {path / 'report.html'})")


@command
def evaluate(
    run: RunArgument,
    data: DataArgument,
    split: Annotated[str | None, typer.Option("--split", help="judge this split's test rows only [default: all rows]")] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    positive: Positive = None,
    out: Annotated[Path | None, typer.Option("--out", help="also write a self-contained page here, e.g. --out report.html")] = None,
    attacks: Annotated[bool, typer.Option("--attacks", help="also judge texts disguised in every way of the suite")] = False,
    online: Annotated[
        bool, typer.Option("--online", help="also replay the rows in order, learning from each label once it is known, beside TF-IDF")
    ] = False,
    delay: Annotated[int, typer.Option("--delay", min=0, help="with --online: messages until a label is known, where it is late")] = 100,
    share: Annotated[
        float, typer.Option("--share", min=0.001, max=1, help="with --online: share of labels ever known, where they are few")
    ] = 0.1,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    json_: Json = False,
) -> None:
    """Judge a trained model on labelled rows, every figure with its 95 % interval.

    Example: tamis evaluate runs/mine newer.csv --json
    """
    compute = computing(device, threads, dtype)
    recipe_from(None, {"data.split": split})  # wrong usage is told before anything is loaded
    from tamis.workflows.evaluate import evaluate as judge

    settings = {"split": split, "text": text, "label": label, "positive": positive}
    late = (delay, share) if online else None
    report = judge(run, data, settings=settings, page=out, attacks=attacks, online=late, say=say, progress=Bars(), **compute)
    if json_:
        return print_json(report)
    print("\n".join([*report_lines(report), *online_lines(report)]))


@command
def predict(
    run: RunArgument,
    texts: Annotated[
        list[str] | None, typer.Argument(help="texts; without any (and without --file) lines from stdin", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help=".txt (a text a line), a table, .eml or mbox")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="write here (.csv, .tsv, .jsonl, .parquet), own columns kept")] = None,
    text: Annotated[str | None, typer.Option("--text", help="column of the texts in --file")] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="one text, or a mail on stdin: exit 0 positive, 1 negative, 2 unsure, 3 error")
    ] = False,
    familiarity: Annotated[
        bool, typer.Option("--familiarity", help="also tell whether each text is like what was learnt, and its bits per byte (slower)")
    ] = False,
    windows: Annotated[
        bool, typer.Option("--windows", help="with --json: also the window that decided, for texts longer than the model's context")
    ] = False,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    json_: Json = False,
) -> None:
    """Verdicts on texts: verdict, probability and text, tab-separated, or one JSON object a line with --json.

    Example: tamis predict runs/demo "You have won a prize, call now"
    """
    compute = computing(device, threads, dtype)
    if texts and file:
        raise typer.BadParameter("give texts or --file, not both")
    if exit_code and (file or len(texts or []) > 1 or (not texts and sys.stdin.isatty())):
        raise typer.BadParameter("--exit-code judges exactly one text; give one, or pipe a mail in")
    from tamis.workflows.predict import predict_command

    try:
        code = predict_command(
            run,
            texts,
            file=file,
            out=out,
            column=text,
            as_json=json_,
            compute=compute,
            one=exit_code,
            windows=windows,
            familiarity=familiarity,
            say=say,
        )
    except (TamisError, OSError) as error:
        if not exit_code or debugging():
            raise
        say(f"tamis: {one_line(error)}")
        raise typer.Exit(3) from None
    if exit_code:
        raise typer.Exit(code)


@command
def explain(
    run: RunArgument,
    text: Annotated[str, typer.Argument(help="the text", show_default=False)],
    label: Annotated[str | None, typer.Option("--label", help="label that words speak for or against [default: the positive one]")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="also write a self-contained page here, e.g. --out why.html")] = None,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    json_: Json = False,
) -> None:
    """Show why a text got its verdict: P(label) after every token, and each word's share.

    Example: tamis explain runs/demo "You have won a prize, call now" --out why.html
    """
    compute = computing(device, threads, dtype)
    from tamis.classifier.explain import explain as explain_text
    from tamis.classifier.text_classifier import TextClassifier
    from tamis.files import write_text

    found = explain_text(TextClassifier.load(run, **compute), text, label=label)
    if out is not None:
        write_text(out, found.to_html())
        say(f"wrote {out}")
    if json_:
        return print_json(found.to_dict())
    print(found.to_text())


@command
def reproduce(
    experiment: Annotated[str, typer.Argument(help="the only one so far: tp2")],
    backbone: BackboneOption = None,
    data: Annotated[str, typer.Option("--data", help="file or name of the catalog")] = "sms-spam",
    quick: Annotated[bool, typer.Option("--quick", help="questions 1-10 only, without the remedies")] = False,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder for the plots of question 9")] = None,
    json_: Json = False,
) -> None:
    """Run the reference experiment: its questions 1-10, reported beside obtained, then each remedy alone and all together.

    Example: tamis reproduce tp2 --backbone gpt2
    """
    if experiment != "tp2":
        raise typer.BadParameter(f"known experiments: tp2; got {experiment!r}")
    compute = compute_settings(device, threads, dtype)
    recipe = recipe_from("tp2", {"backbone": backbone, **compute}, settings)
    from tamis.workflows.reproduce_tp2 import reproduce_tp2

    rows = reproduce_tp2(recipe, data, remedies=not quick, plots=out, say=say, progress=Bars())
    if json_:
        return print_json([row.to_dict() for row in rows])
    print(
        table(
            [[row.question, row.item, row.reported, row.obtained, row.mark] for row in rows],
            header=("", "item", "reported", "obtained", ""),
        )
    )
