"""`tamis pretrain`: pretrain a backbone on plain text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.app import app, command, print_json
from tamis.cli.console import say
from tamis.cli.option_groups import compute_settings, option_groups
from tamis.cli.options import Json, Seed, parse_setting
from tamis.cli.progress import Bars
from tamis.compute import torchrun
from tamis.errors import ConfigError
from tamis.evaluation.report.text_table import table
from tamis.training.pretraining.recipe import SHIPPED

if TYPE_CHECKING:
    from tamis.training.pretraining.encoder_conversion import EncoderStart

__all__ = ["app"]


@command
@option_groups(compute=compute_settings)
def pretrain(
    corpus: Annotated[
        list[Path],
        typer.Argument(
            help="Text files (.txt, also .gz, .bz2 or .xz) or folders. A file has one text per "
            "line, or documents separated by blank lines.",
            metavar="CORPUS",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="Folder for the backbone. An unfinished pretraining in it is resumed.",
        ),
    ],
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Backbone to continue from. Example: --from gpt2.",
            show_default="random initialization",
        ),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            "--from-encoder",
            help="Folder of a BERT sentence encoder (such as all-MiniLM-L6-v2). Its weights are "
            "converted to a GPT-2 as initialization. It is also the teacher, unless --teacher is "
            "given.",
        ),
    ] = None,
    blocks: Annotated[
        str | None,
        typer.Option(
            "--blocks",
            help="With --from-encoder: blocks to keep. Example: --blocks 0,1,2,4.",
            show_default="all",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            help="Folder of a sentence-transformers model for distillation: the backbone also "
            "learns to predict its embeddings. Needs the extra `teacher`.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            help="Test data whose texts are removed from the corpus: a table, a folder of tables, "
            "or the name of a known data set (sms-spam); may be repeated.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help=f"Included recipe ({', '.join(SHIPPED)}) or TOML file with settings.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any setting of the recipe; may be repeated. Example: --set "
            "schedule.tokens=2000000.",
        ),
    ] = None,
    *,
    compute: dict[str, Any],
    seed: Seed = None,
    json_: Json = False,
) -> None:
    """Pretrain a backbone on plain text.

    Starts from random weights, or continues from an existing backbone with --from.

    Example: tamis pretrain messages.txt --from gpt2 -o adapted

    Example: tamis pretrain corpus/ --from-encoder all-MiniLM-L6-v2 -o backbone
    """
    from tamis.training.pretraining.recipe import PretrainRecipe, read_pretrain_recipe

    options = {"seed": seed, **compute}
    wanted = read_pretrain_recipe(recipe) if recipe else PretrainRecipe(name=out.name)
    try:
        by_hand = dict(parse_setting(setting) for setting in settings or [])
        shape = [name for name in by_hand if name.startswith("shape.")]
        if start is not None and shape:
            raise ConfigError(
                f"{', '.join(shape)}: cannot be set together with --from, because the backbone "
                "determines the shape; remove the setting, or remove --from"
            )
        begin = _start(start, encoder, blocks)
        wanted = wanted.changed(
            {name: value for name, value in options.items() if value is not None}
        )
        wanted = wanted.changed(by_hand)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    if torchrun.follows():
        from tamis.training.following import follow

        return follow()
    from tamis.training.distributed.team import team
    from tamis.training.pretraining.decontamination import messages_by_set
    from tamis.training.pretraining.run import Inputs
    from tamis.training.pretraining.stages import pretrain_in_stages

    with team():
        sets = messages_by_set(exclude or [])
        inputs = Inputs(
            corpus,
            begin,
            teacher or encoder,
            excluded=[text for texts in sets.values() for text in texts],
            excluded_sets={name: len(texts) for name, texts in sets.items()},
        )
        result = pretrain_in_stages(inputs, out, wanted, progress=Bars(), say=say)
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
    print(f"backbone: {result.folder} (to use it: tamis train DATA --backbone {result.folder})")


def _start(
    backbone: str | None, encoder: Path | None, blocks: str | None
) -> str | EncoderStart | None:
    """The backbone or the encoder to begin from, None for random weights.

    Raises:
        ConfigError: both --from and --from-encoder are given, --blocks is given without an encoder,
            or the blocks are not numbers.
    """
    if encoder is None:
        if blocks is not None:
            raise ConfigError(
                "--blocks chooses blocks of a sentence encoder; name it with --from-encoder FOLDER"
            )
        return backbone
    if backbone is not None:
        raise ConfigError("--from and --from-encoder exclude each other; give one of them")
    from tamis.training.pretraining.encoder_conversion import EncoderStart

    try:
        return EncoderStart(
            encoder, None if blocks is None else tuple(int(number) for number in blocks.split(","))
        )
    except ValueError:
        raise ConfigError(
            f"--blocks {blocks}: expected numbers with commas between them, such as 0,1,2,4"
        ) from None
