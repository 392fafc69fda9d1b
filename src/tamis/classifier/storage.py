"""Save and load the parts of a classifier: the model folder, and what `tamis.json` adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.predictor import Predictor
from tamis.classifier.saved_model import SavedModel, load_model, save_model
from tamis.compute import device as devices
from tamis.compute.memory import release_memory
from tamis.config import Recipe
from tamis.decision.fit_rule import HeldOutScores
from tamis.decision.out_of_distribution import Limit, read_ood_limit
from tamis.decision.verdict import DecisionRule
from tamis.errors import CheckpointError
from tamis.gpt2.inference import SmallBatches, onnx_runtime_is_here, prepacking_pays
from tamis.text.encoder import TextEncoder
from tamis.text.windows import WindowAggregation

_LABEL_TYPES = {"b": "bool", "i": "int", "u": "int", "f": "float"}


@dataclass(frozen=True)
class StoredClassifier:
    """The persistent parts of a fitted classifier."""

    predictor: Predictor
    rule: DecisionRule
    classes: NDArray[Any]
    """(K,) sorted labels, in the type that `fit` was given"""
    recipe: Recipe
    """resolved"""
    temperature: float
    limit: Limit | None = None
    """of out-of-distribution texts; None where it was not fitted"""
    held_out: HeldOutScores | None = None
    """what the decision rule can be chosen on again; None where no rows were held out"""


def write_classifier(
    folder: Path | str,
    stored: StoredClassifier,
    *,
    card: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder that transformers loads as it is and scores equally.

    Args:
        folder: made, or replaced whole.
        stored: the classifier.
        card: text of its README.md.
        about: further facts for `tamis.json`.
    """
    predictor, rule = stored.predictor, stored.rule
    facts = {
        "temperature": stored.temperature,
        "recipe": stored.recipe.model_dump(),
        **(about or {}),
    }
    if stored.limit is not None:
        facts["ood"] = stored.limit.to_dict()
    if stored.held_out is not None:
        facts["held_out"] = stored.held_out.to_dict()
    labels = [str(label) for label in stored.classes]
    kind = _LABEL_TYPES.get(stored.classes.dtype.kind, "str")
    model, tokenizer = predictor.exact_model(), predictor.tokenizer
    save_model(folder, SavedModel(model, tokenizer, labels, rule, kind, facts), card=card)


def read_classifier(
    run: Path | str, *, device: str, threads: int | None, dtype: str
) -> StoredClassifier:
    """Read a run folder, a model folder, or a folder that transformers wrote for GPT-2
    classification.

    Args:
        run: the folder.
        device: as `tamis.compute.device.resolve`'s, as `threads` and `dtype`.
        threads: processor threads.
        dtype: number type to compute in.

    Raises:
        ConfigError: device, threads or dtype cannot be had.
        RunError: there is no such folder, or its training has not ended.
        CheckpointError: its files are missing, altered or do not fit each other.
    """
    compute = devices.resolve(device, threads, dtype)
    saved = load_model(run)
    try:
        recipe = Recipe.model_validate(saved.about.get("recipe", {}))
        classes = np.array(saved.classes())
        temperature = float(saved.about.get("temperature", 1.0))
        kept = saved.about.get("held_out")
        held_out = None if kept is None else HeldOutScores.from_dict(kept)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{run}: tamis.json cannot be used ({' '.join(str(error).split())}); save the "
            "model again"
        ) from error
    chosen = ("device", "threads", "dtype")
    recipe = recipe.changed({f"compute.{name}": getattr(compute, name) for name in chosen})
    model = saved.model.requires_grad_(False).to(compute.device)
    positive, penalty = saved.rule.positive, recipe.text.window_penalty
    place = None if positive is None else saved.labels.index(positive)
    aggregation = WindowAggregation(place, 1.0 if penalty is None else penalty)
    context = model.transformer.config.n_positions
    encoder = TextEncoder(saved.tokenizer, context, recipe.text.window, aggregation)
    quick = (compute.device, compute.dtype) == ("cpu", "fp32") and onnx_runtime_is_here()
    predictor = Predictor(model, encoder, compute, small=SmallBatches() if quick else None)
    if compute.dtype != "fp32" or prepacking_pays(model.transformer):
        # The plain matrices would take one to four times the memory of those in use.
        predictor = predictor.without_fp32(Path(run))
    limit = read_ood_limit(saved.about.get("ood"))
    parts = (predictor, saved.rule, classes, recipe, temperature, limit, held_out)
    stored = StoredClassifier(*parts)
    del saved, model
    release_memory(*Path(run).rglob("*.safetensors"))
    return stored
