"""A pretraining in stages: each goes on from what the one before it wrote, with some settings of
its own.

A backbone is rarely made in one go: weights of losses and lengths change once figures of a first
stage are there. A recipe that names its stages rebuilds it with one command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tamis.errors import ConfigError
from tamis.progress import Progress
from tamis.training.pretraining.corpus import Corpus, read_corpus
from tamis.training.pretraining.decontamination import Excluded
from tamis.training.pretraining.output_folder import WORK, check_folder
from tamis.training.pretraining.recipe import CorpusSettings, PretrainRecipe
from tamis.training.pretraining.result import FACTS, Pretrained
from tamis.training.pretraining.run import Inputs, pretrain


def stage_recipes(recipe: PretrainRecipe) -> list[PretrainRecipe]:
    """The recipe of each stage, in order; a recipe without stages is its own only one.

    Raises:
        ConfigError: a stage names an unknown setting, or a value is out of range, or one after the
            first sets a shape.
    """
    whole = recipe.model_copy(update={"stages": ()})
    for number, settings in enumerate(recipe.stages[1:], start=2):
        for name in settings:
            if name.startswith("shape."):
                raise ConfigError(
                    f"stage {number} sets {name}, but goes on from the network of the stage "
                    "before; set it for all, under [shape]"
                )
    return [whole.changed(settings) for settings in recipe.stages] or [whole]


def pretrain_in_stages(
    inputs: Inputs,
    out: Path,
    recipe: PretrainRecipe,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Pretrained:
    """Pretrain a GPT-2 through every stage of a recipe; arguments and errors as in `pretrain`.

    All stages but the last are written to `out/pretraining/stage-1` and so on. A finished stage is
    not repeated; a stage of other texts, settings, teacher or seed is refused like any other
    pretraining in its folder.
    """
    stages = stage_recipes(recipe)
    check_folder(out, inputs.start)
    excluded = Excluded(inputs.excluded)
    last: tuple[CorpusSettings, int, Corpus] | None = None

    def read(stage: PretrainRecipe) -> Corpus:
        """The corpus, read once for all stages with the same settings of it."""
        nonlocal last
        if last is None or last[:2] != (stage.corpus, stage.seed):
            texts = read_corpus(
                inputs.corpus,
                stage.corpus,
                excluded=excluded,
                seed=stage.seed,
                progress=progress,
            )
            last = stage.corpus, stage.seed, texts
        return last[2]

    for number, stage in enumerate(stages, start=1):
        folder = out if number == len(stages) else out / WORK / f"stage-{number}"
        if len(stages) > 1 and not (folder / FACTS).is_file():
            say(f"stage {number} of {len(stages)}")
        result = pretrain(inputs, folder, stage, read=read, progress=progress, say=say)
        inputs = replace(inputs, start=folder)
    return result
