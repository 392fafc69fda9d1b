"""Questions 1 to 4 and 8: versions, the checkpoint, and the head."""

from __future__ import annotations

from dataclasses import dataclass

from tamis.compute.versions import versions
from tamis.config import Recipe
from tamis.gpt2.backbones import Backbone
from tamis.gpt2.classification_head import head_shape, replace_head
from tamis.workflows.inspect_backbone import Inspected, inspected
from tamis.workflows.reproduce_tp2 import reported
from tamis.workflows.reproduce_tp2.table_rows import Table
from tamis.workflows.reproduce_tp2.wording import arrow


@dataclass(frozen=True)
class BackboneFacts:
    """What the answers to questions 1 to 4 and 8 need."""

    name: str
    found: Inspected
    head_before: tuple[int, int]
    head_after: tuple[int, int]
    same_twice: bool
    """Whether a second call of `replace_head` gave the same head."""
    trainable: int
    """Number of parameters that stay trainable."""


def environment_rows(table: Table, recipe: Recipe) -> dict[str, str]:
    """Add the rows of question 1 and return the versions."""
    table.add("all", "seed of Python, NumPy and PyTorch", recipe.seed, 42)
    found = versions()
    for name, version in found.items():
        table.add(
            "1", f"version of {name}", version, reported.VERSIONS.get(name, ""), compare=False
        )
    table.add("1", "version of tensorflow (not needed here)", "none", "2.20.0", compare=False)
    return found


def checkpoint_rows(table: Table, backbone: Backbone) -> Inspected:
    """Add the rows of questions 2 to 4 and return the description of the checkpoint."""
    found = inspected(backbone)
    table.add("2", "backbone", backbone.name, "GPT-2 124M (OpenAI)", compare=False)
    table.add("2", "keys of settings", sorted(found.settings), sorted(reported.SETTINGS))
    for key, value in reported.SETTINGS.items():
        table.add("2", f"settings[{key!r}]", found.settings[key], value)
    params = found.params
    table.add("3", "keys of params", sorted(params), reported.PARAMS)
    for key, shape in reported.SHAPES.items():
        table.add("3", f"shape of params[{key!r}]", tuple(params[key]), shape)
    table.add("3", "blocks", f"list of {len(params['blocks'])}", "list of 12")
    table.add("3", "keys of a block", sorted(params["blocks"][0]), reported.BLOCK)
    keys = reported.CONFIG
    table.add("4", "keys of the configuration", sorted(found.config), sorted(keys))
    table.add("4", "configuration", ", ".join(f"{key} {found.config[key]}" for key in keys))
    return found


def head_rows(table: Table, backbone: Backbone, found: Inspected, classes: int) -> BackboneFacts:
    """Add the rows of question 8."""
    before = head_shape(backbone)
    table.add(
        "8", "head before", arrow(before), "768 -> 2 (the cell had been run twice)", compare=False
    )
    once = replace_head(backbone, classes)
    table.add("8", "head after", arrow(head_shape(once)), "768 -> 2")
    twice = replace_head(once, classes)
    same = bool((once.score.weight == twice.score.weight).all())
    table.add("8", "original head after a second run", arrow(head_shape(backbone)))
    table.add(
        "8",
        "head after a second run",
        f"{arrow(head_shape(twice))}, {'the same weights' if same else 'other weights'}",
    )
    trainable = {name: p.numel() for name, p in twice.named_parameters() if p.requires_grad}
    table.add(
        "8",
        "trainable",
        sorted(trainable),
        ["score.weight", "transformer.ln_f.bias", "transformer.ln_f.weight"],
        compare=False,
    )
    total = sum(trainable.values())
    table.add("8", "trainable parameters", total)
    return BackboneFacts(backbone.name, found, before, head_shape(twice), same, total)
