"""Task-adaptive pretraining: a backbone reads the table's own training texts before it is tuned.

The labels are not used, nor any test or validation text. The backbone learns the next tokens of
the texts and, if a teacher is given, also the teacher's vectors of them, as in its pretraining.
With folds, one adapted backbone serves all of them: what it knows of a held-out text is its words,
not its label. Source: Gururangan et al. 2020, "Don't stop pretraining" (task-adaptive
pretraining).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from tamis.compute.device import Compute
from tamis.compute.isolation import isolated
from tamis.config import Recipe
from tamis.errors import CheckpointError, ConfigError
from tamis.gpt2.backbones import Backbone
from tamis.gpt2.checkpoints import write_tensors
from tamis.gpt2.feature_cache import trunk_fingerprint
from tamis.gpt2.model import GPT2, MeanPoolingBlock
from tamis.text.tokenizer import Tokenizer
from tamis.training.callbacks import Callbacks
from tamis.training.pretraining.checkpoint import LATEST, StateFiles
from tamis.training.pretraining.chunking import fitted
from tamis.training.pretraining.corpus import Corpus
from tamis.training.pretraining.recipe import PretrainRecipe
from tamis.training.pretraining.teacher import Teacher, TeacherStore
from tamis.training.pretraining.training_setup import build_training
from tamis.training.time_estimate import LM_LOSS_SHARE

LEARNING_RATE = 1e-4
"""Peak learning rate of AdamW; four times as much destroys a backbone that was made from a sentence
encoder."""
BATCH_TOKENS = 1024
ADAPTED = "adapted.safetensors"


def adapt(
    backbone: Backbone,
    texts: Sequence[str],
    tokenizer: Tokenizer,
    recipe: Recipe,
    compute: Compute,
    callbacks: Callbacks,
) -> str:
    """Pretrain the backbone further on texts; its model is changed.

    With a checkpoint folder an interrupted adaptation is resumed and a finished one is loaded; both
    end with the same bytes.

    Args:
        backbone: without a pooling block.
        texts: the training texts, without held-out ones.
        tokenizer: prepared as for the classifier.
        recipe: resolved; `train.adapt_passes` is above 0.
        compute: device, threads and precision.
        callbacks: progress and checkpoint folder.

    Returns:
        A sentence for the user.

    Raises:
        ConfigError: the backbone ends in a pooling block, its tokenizer has no `<|endoftext|>`, or
            the loss is not finite.
        CheckpointError: the teacher or a saved state is damaged.
        MissingExtraError: the teacher needs a package that is not installed.
    """
    model, tokenizer = backbone.model, tokenizer.without_padding()
    if isinstance(model.h[-1], MeanPoolingBlock):
        raise ConfigError(
            "train.adapt_passes: this backbone ends in a pooling block, so it predicts no next "
            "tokens; give the backbone that it was made from, or leave out train.adapt_passes"
        )
    if tokenizer.end_of_text is None:
        raise ConfigError(
            "train.adapt_passes: the tokenizer has no <|endoftext|> to end a text with; leave out "
            "train.adapt_passes"
        )
    teacher = recipe.train.adapt_teacher
    with isolated(compute.device, compute.threads, seed=recipe.seed):
        store = None
        if teacher is not None:
            store = TeacherStore(Teacher(teacher, device=compute.device))
        identity = _identity(backbone, texts, tokenizer, recipe, store)
        folder = None
        if callbacks.checkpoint is not None:
            folder = callbacks.checkpoint / f"adaptation-{identity[:16]}"
        tokens = None if folder is None else _load(folder / ADAPTED, model.to(compute.device))
        if tokens is None:
            none = np.zeros(0, dtype=np.int16)
            rows = np.zeros(len(texts), dtype=np.int16)
            whole = Corpus(list(texts), rows, [], none, ["training texts"], np.ones(1))
            corpus = fitted(whole, tokenizer, model.config.n_positions)
            training = build_training(
                corpus, (tokenizer, backbone), _recipe(recipe), store, compute
            )
            states = None if folder is None else StateFiles(folder, identity)
            if states is not None:
                states.restore(training)
            training.run(
                name="adaptation",
                each_step=(lambda _: None) if states is None else states.after_step,
                progress=callbacks.progress,
            )
            tokens = training.at.tokens
            if folder is not None:
                _save(folder, model, tokens)
        for parameter in model.parameters():
            parameter.grad = None
        model.eval()
    passes = recipe.train.adapt_passes
    return (
        f"The backbone was adapted to {len(texts):,} training texts ({passes:g} "
        f"pass{'es' * (passes != 1)}, {tokens:,} tokens"
        + (", with the teacher's vectors)." if store is not None else ").")
    )


def _recipe(recipe: Recipe) -> PretrainRecipe:
    return PretrainRecipe().changed(
        {
            "name": "adaptation",
            "seed": recipe.seed,
            "objective.lm_loss_share": LM_LOSS_SHARE,
            "optimizer.name": "adamw",
            "optimizer.learning_rate": LEARNING_RATE,
            "optimizer.embedding_learning_rate": LEARNING_RATE,
            "schedule.epochs": recipe.train.adapt_passes,
            "schedule.batch_tokens": BATCH_TOKENS,
            "schedule.micro_batch_tokens": recipe.train.micro_batch_tokens,
            # The rate falls from the end of the warm-up on: there is no stable part to go on from.
            "schedule.decay_share": 1.0,
        }
    )


def _identity(
    backbone: Backbone,
    texts: Sequence[str],
    tokenizer: Tokenizer,
    recipe: Recipe,
    store: TeacherStore | None,
) -> str:
    """Hash of everything that decides the adapted weights on one machine."""
    digest = hashlib.sha256(_recipe(recipe).model_dump_json().encode())
    parts = (
        trunk_fingerprint(backbone.model),
        tokenizer.fingerprint,
        "" if store is None else store.teacher.fingerprint(),
        recipe.compute.dtype,
    )
    for part in (*parts, *texts):
        digest.update(f"{len(part)}\n{part}\n".encode())
    return digest.hexdigest()


def _save(folder: Path, model: GPT2, tokens: int) -> None:
    """Keep the adapted weights, and drop the state with the optimizer's moments."""
    weights = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / ADAPTED, weights, {"tokens": str(tokens)})
    (folder / LATEST).unlink(missing_ok=True)


def _load(path: Path, model: GPT2) -> int | None:
    """Put saved weights into a model; returns the number of tokens, None if there are none.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file, torch.no_grad():
            tokens = int(file.metadata()["tokens"])
            for name, parameter in model.named_parameters():
                parameter.copy_(file.get_tensor(name))
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); delete it to adapt the backbone again"
        ) from error
    return tokens
