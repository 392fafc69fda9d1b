"""`tamis data`: describe a table, and list the rows to review."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tamis.cache import cache_directory
from tamis.config import Recipe
from tamis.data.audit import Audit, audit
from tamis.data.review_table import review_summary, write_review
from tamis.evaluation.baselines import out_of_fold
from tamis.gpt2.backbones import is_scratch, load_backbone, scratch_backbone
from tamis.gpt2.feature_cache import FeatureCache
from tamis.progress import Progress
from tamis.workflows.dataset import Dataset, load_dataset
from tamis.workflows.label_issues import examine


def review_data(
    data: str, dataset: Dataset, recipe: Recipe, file: Path, *, progress: Progress | None = None
) -> str:
    """Write the rows to review to a file; returns a summary. `data` is what the user calls the
    table.

    If the recipe has a backbone from scratch, `nano` is used instead: an untrained backbone cannot
    find issues.

    Raises:
        TamisError: the backbone cannot be loaded, or the file cannot be written.
    """
    backbone = load_backbone("nano" if is_scratch(recipe.backbone) else recipe.backbone)
    store = FeatureCache(cache_directory() / "states")
    findings = examine(
        dataset.split.table, backbone, seed=recipe.seed, cache=store, progress=progress
    )
    write_review(file, findings)
    return review_summary(data, file, findings)


def audit_data(data: str, recipe: Recipe) -> tuple[Dataset, Audit]:
    """Read, split and describe a table. Lengths are in tokens of the recipe's backbone, without the
    leading `<|endoftext|>`.

    Raises:
        TamisError: the table or the backbone cannot be loaded.
    """
    prepared = load_dataset(data, recipe)
    name = recipe.backbone
    parts = prepared.split
    scratch = is_scratch(name)
    backbone = (
        scratch_backbone(name, parts.texts("fit"), seed=recipe.seed)
        if scratch
        else load_backbone(Path(name) if Path(name).is_dir() else name)
    )
    tokenizer = backbone.tokenizer.prepared(
        add_bos=False
    )  # without `<|endoftext|>`, as the reference experiment counts

    def lengths(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in tokenizer.encode(list(texts))]

    return prepared, audit(
        parts,
        token_lengths=lengths,
        out_of_fold=lambda t, y, g: out_of_fold(t, y, g.tolist(), seed=recipe.seed),
    )
