"""`tamis pretrain`: a backbone from plain text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.app import app, command, print_json
from tamis.cli.console import say
from tamis.cli.options import Device, Dtype, Json, Seed, Threads, compute_settings, parse_setting
from tamis.cli.progress import Bars
from tamis.errors import ConfigError
from tamis.evaluation.report.text_table import table

__all__ = ["app"]


@command
def pretrain(
    corpus: Annotated[
        list[Path],
        typer.Argument(
            help="text files (.txt, also .gz, .bz2, .xz; a text a line, or documents between "
            "blank lines), or folders"
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="folder for the backbone; an unfinished pretraining in it goes on"
        ),
    ],
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="a backbone to go on from, e.g. --from gpt2 [default: begin from nothing]",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            help="folder of a sentence-transformers model whose embeddings are learnt beside "
            "(extra teacher)",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            help="a table, a folder of tables or a name (sms-spam) whose messages must not be "
            "learnt; repeatable",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="a pretraining's recipe by name (nano) or a TOML file"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="any setting of the recipe, e.g. --set schedule.tokens=2000000; repeatable",
        ),
    ] = None,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    seed: Seed = None,
    json_: Json = False,
) -> None:
    """Pretrain a GPT-2 on plain text, from nothing or from a backbone, and write it as a backbone.

    Example: tamis pretrain messages.txt --from gpt2 -o adapted
    """
    from tamis.training.pretraining.recipe import PretrainRecipe, read_pretrain_recipe

    options = {"seed": seed, **compute_settings(device, threads, dtype)}
    wanted = read_pretrain_recipe(recipe) if recipe else PretrainRecipe(name=out.name)
    try:
        by_hand = dict(parse_setting(setting) for setting in settings or [])
        shape = [name for name in by_hand if name.startswith("shape.")]
        if start is not None and shape:
            raise ConfigError(
                f"{', '.join(shape)}: a network has the shape of its backbone; leave it out, or "
                "begin from nothing without --from"
            )
        wanted = wanted.changed(
            {name: value for name, value in options.items() if value is not None}
        )
        wanted = wanted.changed(by_hand)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    from tamis.training.pretraining.decontamination import messages_by_set
    from tamis.training.pretraining.stages import pretrain_in_stages

    sets = messages_by_set(exclude or [])
    excluded, sizes = (
        (text for texts in sets.values() for text in texts),
        {name: len(texts) for name, texts in sets.items()},
    )
    result = pretrain_in_stages(
        corpus,
        out,
        wanted,
        start=start,
        teacher=teacher,
        excluded=excluded,
        excluded_sets=sizes,
        progress=Bars(),
        say=say,
    )
    if json_:
        return print_json(
            {"folder": str(result.folder), "held_out": result.figures, "samples": result.samples}
        )
    print(
        table(
            [[name, f"{value:.3f}"] for name, value in result.rows()], header=("held-out texts", "")
        )
    )
    for text in result.samples:
        print(f"> {' '.join(text.split())}")
    print(f"backbone: {result.folder} (use it with: tamis train DATA --backbone {result.folder})")
