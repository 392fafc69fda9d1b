"""The command line: one function a command. Parses, calls, prints; the only place that exits.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 a known error (one line on stderr), 2 wrong usage.
"""

from __future__ import annotations

import functools
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.config import Recipe, fields, named_recipe, parse_setting, recipe_names
from tamis.console import Bars, report_lines, say, table
from tamis.errors import ConfigError, TamisError

app = typer.Typer(
    name="tamis",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turn GPT-2 into a text classifier on this machine. Start with: tamis train sms-spam",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_debug = False


def main() -> None:
    """Entry point of the `tamis` command. `--debug`, anywhere before a lone `--`, shows the traceback of an error."""
    global _debug
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # results are UTF-8, and paths are printed as they are
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = arguments[:end]
    _debug = "--debug" in options
    app(args=[*(option for option in options if option != "--debug"), *arguments[end:]], prog_name="tamis")


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command whose known errors become one line and exit code 1."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt:
            say("interrupted; nothing that was finished is lost (an unfinished run goes on with the same command)")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            sys.stdout = None  # whoever read the output is gone; nothing more to flush
            raise typer.Exit(0) from None
        except (TamisError, OSError) as error:
            if _debug:
                raise
            where = "" if isinstance(error, TamisError) else f"{type(error).__name__}: "
            say(f"tamis: {where}{_one_line(error)}")
            raise typer.Exit(1) from None

    return app.command(name=function.__name__.strip("_"))(guarded)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _help(name: str, example: str = "") -> str:
    """A setting's help, from the recipe: its text, its default, an example."""
    section, key = name.split(".") if "." in name else (None, name)
    field = next(f for s, k, f in fields() if (s, k) == (section, key))
    default = field.get_default(call_default_factory=True)
    shown = f" [default: {default}]" if default is not None else ""
    return f"{field.description}{shown}{f'; e.g. {example}' if example else ''} ({name})"


DataArgument = Annotated[
    str, typer.Argument(help="a table (CSV, TSV, JSONL, Parquet; told by content) or a name: sms-spam", show_default=False)
]
RunArgument = Annotated[Path, typer.Argument(help="a run folder, a model folder, or a folder that transformers wrote", show_default=False)]
TextColumn = Annotated[str | None, typer.Option("--text", help=_help("data.text", "--text message"))]
LabelColumn = Annotated[str | None, typer.Option("--label", help=_help("data.label", "--label 1"))]
Positive = Annotated[str | None, typer.Option("--positive", help=_help("data.positive", "--positive spam"))]
Split = Annotated[str | None, typer.Option("--split", help=_help("data.split", "--split tp2"))]
Device = Annotated[str | None, typer.Option("--device", help=_help("compute.device"))]
Threads = Annotated[int | None, typer.Option("--threads", help=_help("compute.threads", "--threads 2"))]
Dtype = Annotated[str | None, typer.Option("--dtype", help=_help("compute.dtype", "--dtype auto"))]
Seed = Annotated[int | None, typer.Option("--seed", help=_help("seed"))]
BackboneOption = Annotated[str | None, typer.Option("--backbone", help=_help("backbone", "--backbone gpt2"))]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for machines")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="any setting of the recipe, e.g. --set train.epochs=3; repeatable")]
RecipeOption = Annotated[
    str | None, typer.Option("--recipe", help=f"a recipe by name ({', '.join(recipe_names()) or 'none ship yet'}) or a TOML file")
]


def _recipe(base: str | None, options: dict[str, Any], settings: list[str] | None = None) -> Recipe:
    """Defaults < recipe < options < --set."""
    recipe = named_recipe(base) if base else Recipe()
    try:
        recipe = recipe.changed({name: value for name, value in options.items() if value is not None})
        return recipe.changed(dict(parse_setting(setting) for setting in settings or []))
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def _computing(device: str | None, threads: int | None, dtype: str | None) -> dict[str, Any]:
    """Where and how a trained model is computed, checked as the recipe's own settings are."""
    given = {"compute.device": device, "compute.threads": threads, "compute.dtype": dtype}
    return _recipe(None, given).compute.model_dump()


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


@app.callback(invoke_without_command=True)
def _top(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False) -> None:
    if version:
        from tamis import __version__

        print(__version__)
        raise typer.Exit


@_command
def inspect(backbone: Annotated[str, typer.Argument(help="a name, a folder, or an OpenAI checkpoint folder")], json_: Json = False) -> None:
    """Show a checkpoint's settings, its params with shapes, and how they map to the model's configuration.

    Example: tamis inspect gpt2
    """
    from tamis.inspection import inspect_backbone

    found = inspect_backbone(backbone)
    if json_:
        return _print_json(found.to_dict())
    print(found.text())


@_command
def data(
    data: DataArgument,
    split: Split = None,
    test: Annotated[Path | None, typer.Option("--test", help=_help("data.test"))] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    positive: Positive = None,
    backbone: BackboneOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder for train.csv (without the validation rows), validation.csv, test.csv")
    ] = None,
    seed: Seed = None,
    json_: Json = False,
) -> None:
    """Show what is in a table: classes, lengths in tokens, batches, repeats, leaks and doubtful labels, for each part.

    Example: tamis data sms-spam --split tp2 --out parts
    """
    from tamis.inspection import audit_data

    options = {"data.split": split, "data.test": test and str(test), "data.text": text, "data.label": label, "data.positive": positive}
    recipe = _recipe(None, options | {"backbone": backbone, "seed": seed})
    prepared, found = audit_data(data, recipe)
    if out is not None:
        from tamis.data.audit import write_parts

        for path in write_parts(prepared.parts, out):
            say(f"wrote {path}")
    if json_:
        return _print_json(found.to_dict())
    print("\n".join(found.lines()))


@_command
def train(
    data: DataArgument,
    backbone: BackboneOption = None,
    tune: Annotated[str | None, typer.Option("--tune", help=_help("tune", "--tune blocks:2"))] = None,
    split: Split = None,
    test: Annotated[Path | None, typer.Option("--test", help=_help("data.test"))] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    positive: Positive = None,
    class_weight: Annotated[str | None, typer.Option("--class-weight", help=_help("train.class_weight", "spam=5,ham=1"))] = None,
    max_blocked: Annotated[float | None, typer.Option("--max-blocked", help=_help("verdict.max_blocked", "--max-blocked 0.002"))] = None,
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

    Example: tamis train messages.csv --max-blocked 0.002 -o runs/mine
    """
    options = {
        "backbone": backbone,
        "tune": tune,
        "seed": seed,
        "data.split": split,
        "data.test": test and str(test),
        "data.text": text,
        "data.label": label,
        "data.positive": positive,
        "train.class_weight": class_weight,
        "verdict.max_blocked": max_blocked,
        "compute.device": device,
        "compute.threads": threads,
        "compute.dtype": dtype,
    }
    wanted = _recipe(recipe, options, settings)
    from tamis import experiment

    path, report = experiment.train(data, wanted, out, overwrite=overwrite, say=say, progress=Bars())
    if json_:
        return _print_json(report)
    print("\n".join(report_lines(report)))
    print(f"run folder: {path} (open {path / 'report.html'})")


@_command
def evaluate(
    run: RunArgument,
    data: DataArgument,
    split: Annotated[str | None, typer.Option("--split", help="judge this split's test rows only [default: all rows]")] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    positive: Positive = None,
    out: Annotated[Path | None, typer.Option("--out", help="also write a self-contained page here, e.g. --out report.html")] = None,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    json_: Json = False,
) -> None:
    """Judge a trained model on labelled rows, every figure with its 95 % interval.

    Example: tamis evaluate runs/mine newer.csv --json
    """
    compute = _computing(device, threads, dtype)
    _recipe(None, {"data.split": split})  # wrong usage is told before anything is loaded
    from tamis import experiment

    settings = {"split": split, "text": text, "label": label, "positive": positive}
    report = experiment.evaluate(run, data, settings=settings, page=out, say=say, progress=Bars(), **compute)
    if json_:
        return _print_json(report)
    print("\n".join(report_lines(report)))


@_command
def predict(
    run: RunArgument,
    texts: Annotated[
        list[str] | None, typer.Argument(help="texts; without any (and without --file) lines from stdin", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help=".txt (a text a line), a table, .eml or mbox")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="write here (.csv, .tsv, .jsonl, .parquet), own columns kept")] = None,
    text: Annotated[str | None, typer.Option("--text", help="column of the texts in --file")] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="one text: exit 0 positive, 1 negative, 2 unsure, 3 error")] = False,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    json_: Json = False,
) -> None:
    """Verdicts on texts: verdict, probability and text, tab-separated, or one JSON object a line with --json.

    Example: tamis predict runs/demo "You have won a prize, call now"
    """
    compute = _computing(device, threads, dtype)
    if texts and file:
        raise typer.BadParameter("give texts or --file, not both")
    if exit_code and (file or len(texts or []) != 1):
        raise typer.BadParameter("--exit-code judges exactly one text; give one")
    from tamis.prediction import predict_command

    try:
        code = predict_command(run, texts, file=file, out=out, column=text, as_json=json_, compute=compute, say=say)
    except (TamisError, OSError) as error:
        if not exit_code or _debug:
            raise
        say(f"tamis: {_one_line(error)}")
        raise typer.Exit(3) from None
    if exit_code:
        raise typer.Exit(code)


@_command
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
    compute = {"compute.device": device, "compute.threads": threads, "compute.dtype": dtype}
    recipe = _recipe("tp2", {"backbone": backbone, **compute}, settings)
    from tamis.reproduction import reproduce_tp2

    rows = reproduce_tp2(recipe, data, remedies=not quick, plots=out, say=say, progress=Bars())
    if json_:
        return _print_json([row.to_dict() for row in rows])
    print(
        table(
            [[row.question, row.item, row.reported, row.obtained, row.mark] for row in rows],
            header=("", "item", "reported", "obtained", ""),
        )
    )
