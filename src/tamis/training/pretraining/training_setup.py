"""What a pretraining needs before its first step: network, map to the teacher, encoded texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tamis.compute import device
from tamis.errors import ConfigError
from tamis.gpt2.backbones import Backbone
from tamis.gpt2.model import GPT2, GPT2Config
from tamis.gpt2.packing import by_length, pack
from tamis.progress import Progress
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining.corpus import Corpus
from tamis.training.pretraining.form_dropout import vary_forms
from tamis.training.pretraining.initialization import (
    Projection,
    fitted_map,
    map_start,
    random_start,
    teacher_start,
)
from tamis.training.pretraining.loop import Pretraining, distilled
from tamis.training.pretraining.losses import Student, pooled
from tamis.training.pretraining.recipe import PretrainRecipe
from tamis.training.pretraining.sequences import Sequences, encode
from tamis.training.pretraining.teacher import TeacherStore

FIT_TEXTS = 4096
"""Number of texts on which the map to the teacher is fitted."""


def build_training(
    texts: Corpus,
    begun: tuple[Tokenizer, Backbone | None],
    recipe: PretrainRecipe,
    store: TeacherStore | None,
    compute: device.Compute,
    *,
    earlier: int = 0,
    progress: Progress | None = None,
) -> Pretraining:
    """The network, the map to the teacher and the encoded corpus, before the first step.

    Args:
        texts: the corpus, no text longer than the context.
        begun: tokenizer and backbone of `initial_backbone`.
        recipe: what is trained.
        store: the teacher's vectors, None without a teacher.
        compute: device, threads and precision.
        earlier: tokens that the network was trained on before.
        progress: receives the progress.

    Raises:
        ConfigError: nothing would be trained, or the recipe does not fit the teacher.
    """
    (tokenizer, backbone), objective = begun, recipe.objective
    if store is None and not objective.lm_loss_weight:
        raise ConfigError(
            "objective.lm_loss_weight is 0 and there is no teacher, so there is nothing to learn; "
            "give --teacher"
        )
    projection = None
    if backbone is None:
        model, projection = _new_network(tokenizer, recipe, store, progress)
    else:
        model = backbone.model
    sequences = encode(texts.texts, tokenizer, model.config.n_positions, progress)
    if objective.form_dropout:
        forms = vary_forms(texts.texts, recipe.seed)
        sequences = replace(sequences, varied=encode(forms, tokenizer, model.config.n_positions))
    if recipe.schedule.tokens is None:
        of_a_pass = int(sequences.lengths[texts.a_pass(recipe.seed, 0)].sum())
        tokens = max(1, round(recipe.schedule.epochs * of_a_pass))
        recipe = recipe.changed({"schedule.tokens": tokens})
    model.to(compute.device)
    learn_map = objective.teacher_map == "learned"
    if store is None:
        first_map = None
    elif not learn_map:
        first_map = _identity_map(model, store)
    elif backbone is None:
        width, dimensions = model.config.n_embd, store.teacher.dimensions
        first_map = map_start(width, dimensions, projection, recipe.seed)
    else:
        rows = texts.a_pass(recipe.seed, 0)
        rows = rows[distilled(texts, recipe)[rows]][:FIT_TEXTS]
        vectors = store.of([texts.texts[i] for i in rows], progress)
        first_map = fitted_map(_pooled_states(model, sequences, rows), vectors)
    student = Student(model, first_map, learn_map=learn_map).to(compute.device)
    autocast = torch.bfloat16 if compute.dtype == "bf16" else None
    return Pretraining(student, recipe, texts, sequences, store, autocast=autocast, earlier=earlier)


def _new_network(
    tokenizer: Tokenizer,
    recipe: PretrainRecipe,
    store: TeacherStore | None,
    progress: Progress | None,
) -> tuple[GPT2, Projection | None]:
    """A network with random weights, or with token embeddings from the teacher."""
    shape, objective = recipe.shape, recipe.objective
    config = GPT2Config(
        tokenizer.size, shape.n_positions, shape.n_embd, shape.n_layer, shape.n_head
    )
    model = GPT2(config)
    if objective.start == "teacher" and store is None:
        raise ConfigError("objective.start = teacher needs a teacher; give --teacher FOLDER")
    if store is None or objective.start == "random":
        random_start(model, recipe.seed)
        return model, None
    noise = objective.start_noise
    return model, teacher_start(
        model, tokenizer, store, noise=noise, seed=recipe.seed, progress=progress
    )


def _identity_map(model: GPT2, store: TeacherStore) -> Tensor:
    if store.teacher.dimensions != model.config.n_embd:
        raise ConfigError(
            f"objective.teacher_map = identity: the network has {model.config.n_embd} "
            f"channels, the teacher's vectors have {store.teacher.dimensions} dimensions; set "
            "objective.teacher_map = learned"
        )
    return torch.eye(model.config.n_embd)


def _pooled_states(
    model: GPT2, sequences: Sequences, rows: np.ndarray[Any, np.dtype[np.int64]]
) -> np.ndarray[Any, np.dtype[np.float32]]:
    states = np.empty((len(rows), model.config.n_embd), dtype=np.float32)
    with torch.inference_mode():
        for places in by_length(sequences.lengths[rows], 2048):
            packed = pack([sequences.inputs(rows[place]) for place in places]).to(
                model.wte.weight.device
            )
            states[places] = packed.restore(pooled(model(packed), packed)).cpu().numpy()
    return states
