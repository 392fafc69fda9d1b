"""The quick model of a training: the exact head on the frozen features of the backbone. It is
written and shown first, and stays if held-out rows say that it is better than the tuned one.

The comparison uses training rows only: those that neither model was fitted on when it scored them.
Test rows decide nothing. Both sides of it favour the tuned model (its epoch was chosen on these
rows, and the quick model is scored out of fold, with fewer rows), so a quick model that is better
all the same is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.evaluation.model_selection import Scores, selection_of, validate
from tamis.files import replaced
from tamis.gpt2.backbones import load_backbone
from tamis.training.time_estimate import backbone_shape
from tamis.workflows.run_folder import REPORT, RunFolder

HeldOut = tuple[NDArray[np.int64], NDArray[np.float64]]
"""(H,) training rows, and their (H, K) probabilities from models that were not fitted on them."""
_FILE = "quick.npz"
_SMALLEST = 1e-300
"""The logarithm of a probability of 0 is not finite."""


def shape_of(backbone: str) -> tuple[int, int]:
    """Return the number of blocks and the width of a backbone; it is loaded only if its files do
    not tell.

    Raises:
        ConfigError, CheckpointError, DownloadError: it cannot be loaded.
    """
    found = backbone_shape(backbone)
    if found is None:
        config = load_backbone(backbone).model.config
        found = config.n_layer, config.n_embd
    return found


def quick_recipe(asked: Recipe) -> Recipe:
    """Return the recipe of the quick model: the exact head on the mean of a layer, which is chosen
    where none was asked for. The other pooling is not tried, so that the choice takes half as long.
    """
    changes: dict[str, Any] = {
        "tune": "head",
        "train.head_solver": "lbfgs",
        "train.adapt_passes": 0,
        "train.adapt_teacher": None,
        "train.lm_loss_weight": None,
    }
    if asked.text.pooling in ("auto", "attention"):
        changes["text.pooling"] = "mean"
    return asked.changed(changes)


def figure_line(report: Mapping[str, Any]) -> str:
    """Describe a report in a few words: F1 of the model and of TF-IDF on the same rows."""
    shown = report["test"] or report["validation"]
    if not shown:
        return "no rows were held out to evaluate it"
    name = "F1" if report["positive"] is not None else "macro F1"
    where = f"{shown['n']:,} test rows" if report["test"] else f"{shown['n']:,} held-out rows"
    baseline = report["baselines"].get("tfidf") or {}
    beside = f" (TF-IDF {_figure(baseline['f1'])})" if "f1" in baseline else ""
    return f"{name} {_figure(shown['f1'])} on {where}{beside}"


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def keep_held_out(folder: RunFolder, held_out: HeldOut) -> None:
    """Keep the held-out scores of the quick model for the comparison, in the checkpoint folder."""
    with replaced(folder.checkpoint / _FILE) as beside, beside.open("wb") as file:
        np.savez(file, rows=held_out[0], probabilities=held_out[1])


def kept_quick(folder: RunFolder) -> tuple[HeldOut, dict[str, Any]] | None:
    """Return the held-out scores and the report of the quick model of an interrupted run; None if
    it has none, or they are damaged: it is then made again.
    """
    path: Path = folder.checkpoint / _FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as kept:
            held_out = np.asarray(kept["rows"], np.int64), np.asarray(kept["probabilities"])
        return held_out, json.loads((folder.path / REPORT).read_text(encoding="utf-8"))
    except Exception:  # a damaged archive fails in many ways
        return None


@dataclass(frozen=True)
class Comparison:
    """The quick and the tuned model on held-out training rows."""

    rows: int
    metric: str
    quick: float
    tuned: float
    better: str
    """`quick`, or `tuned` also where the rows cannot tell them apart"""

    def sentence(self) -> str:
        """Return the two figures in words."""
        return (
            f"on {self.rows:,} held-out training rows the {self.metric} of the quick model is "
            f"{self.quick:.3f}, that of the tuned model {self.tuned:.3f}"
        )


def compare_held_out(
    quick: HeldOut, tuned: HeldOut, labels: Sequence[str], recipe: Recipe
) -> Comparison | None:
    """Compare both models on the training rows that both were held out of.

    Args:
        quick: rows and probabilities of the quick model.
        tuned: the same of the tuned model.
        labels: (R,) labels of the training rows.
        recipe: resolved; says by what models are compared.

    Returns:
        None if there are no such rows, or a class has none among them.
    """
    classes = sorted(set(labels))
    rows, first, second = np.intersect1d(quick[0], tuned[0], return_indices=True)
    targets = np.array([classes.index(labels[row]) for row in rows.tolist()], dtype=np.int64)
    counts = np.bincount(targets, minlength=len(classes))
    if not len(rows) or (counts == 0).any():
        return None
    selection = selection_of(recipe, classes)

    def scores(probabilities: NDArray[np.float64]) -> Scores:
        logits = torch.from_numpy(np.log(np.maximum(probabilities, _SMALLEST)))
        return validate(logits, torch.from_numpy(targets), selection)

    one, other = scores(quick[1][first]), scores(tuned[1][second])
    better = "quick" if one.merit > other.merit + selection.level(counts) else "tuned"
    values = [(s.macro_f1 if s.by_macro_f1 else s.average_precision) or 0.0 for s in (one, other)]
    metric = "macro F1" if one.by_macro_f1 else "average precision"
    return Comparison(len(rows), metric, values[0], values[1], better)
