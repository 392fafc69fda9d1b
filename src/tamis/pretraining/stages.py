"""A pretraining in stages: each goes on from what the one before it wrote, with some settings of its own.

A backbone is rarely made in one go: weights of losses and lengths change once figures of a first stage are there. A recipe that names its
stages rebuilds it with one command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tamis.pretraining.recipe import PretrainRecipe
from tamis.pretraining.result import FACTS, Pretrained
from tamis.pretraining.run import WORK, pretrain
from tamis.progress import Progress


def stage_recipes(recipe: PretrainRecipe) -> list[PretrainRecipe]:
    """The recipe of each stage, in order; a recipe without stages is its own only one.

    Raises:
        ConfigError: a stage names an unknown setting, or a value is out of range.
    """
    whole = recipe.model_copy(update={"stages": ()})
    return [whole.changed(settings) for settings in recipe.stages] or [whole]


def pretrain_in_stages(
    corpus: Sequence[Path],
    out: Path,
    recipe: PretrainRecipe,
    *,
    start: str | Path | None = None,
    teacher: Path | None = None,
    excluded: Iterable[str] = (),
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Pretrained:
    """Pretrain a GPT-2 through every stage of a recipe; arguments and errors as in `pretrain`.

    All but the last stage lie in `out/pretraining/stage-1` and so on; one that is finished is not done again.
    """
    stages = stage_recipes(recipe)
    excluded = list(excluded)
    folders = [out / WORK / f"stage-{number}" for number in range(1, len(stages))]
    for number, (stage, folder) in enumerate(zip(stages, folders, strict=False), start=1):
        if not (folder / FACTS).is_file():
            say(f"stage {number} of {len(stages)}")
            pretrain(corpus, folder, stage, start=start, teacher=teacher, excluded=excluded, progress=progress, say=say)
        start = folder
    return pretrain(corpus, out, stages[-1], start=start, teacher=teacher, excluded=excluded, progress=progress, say=say)
