"""Where the number of blocks of a training of everything is chosen (depth_selection.py), and how
many blocks to expect of the choice.
"""

from __future__ import annotations

from tamis.config import Recipe
from tamis.gpt2.locate import EMBEDDED

_EXPECTED = 2 / 3
"""Share of the blocks in a forecast: of six, three to five are chosen as a rule."""


def chooses_depth(recipe: Recipe) -> bool:
    """Return whether a training of everything chooses its number of blocks: an embedded backbone
    and a head that starts as a linear probe, where neither the number of blocks nor a next-token
    loss, which needs the last block, is asked for.

    Args:
        recipe: resolved.
    """
    return (
        recipe.tune == "full"
        and recipe.backbone in EMBEDDED
        and recipe.text.layers == "auto"
        and recipe.text.pooling in ("mean", "attention")
        and recipe.train.head_init == "linear_probe"
        and not recipe.train.lm_loss_weight
    )


def expected_depth(recipe: Recipe, depth: int) -> int:
    """Return the number of blocks, of `depth`, that a training by a resolved recipe will have as
    far as one can say before it.
    """
    if recipe.text.layers != "auto":
        return min(recipe.text.layers, depth)
    return round(_EXPECTED * depth) if chooses_depth(recipe) else depth
