"""A small trunk far from its start, and messages of made-up ids: what the tests of this room
train.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.gpt2.features import FeatureExtractor
from tamis.gpt2.freezing import freeze
from tamis.gpt2.model import GPT2, GPT2Classifier, GPT2Config, initialise
from tamis.text.encoding import EncodedTexts
from tamis.training.loop import LoopCallback, Training
from tamis.training.loop_callbacks import EarlyStopping
from tamis.training.state import LoopRows, LoopSettings

CONFIG = GPT2Config(vocab_size=37, n_positions=23, n_embd=12, n_layer=3, n_head=3, n_inner=20)
LENGTHS = [5, 2, 11, 5, 3, 7, 1, 13, 5, 2, 9, 4, 6, 5, 8, 3, 17]
TARGETS = np.array([0, 1, 0, 2, 0, 1, 0, 0, 2, 1, 0, 0, 1, 2, 0, 0, 1])
SETTINGS: dict[str, Any] = {
    "epochs": 1,
    "learning_rate": 1e-2,
    "head_learning_rate": 2e-2,
    "weight_decay": 0.1,
    "decay_everything": False,
    "warmup_ratio": 0.0,
    "schedule": "constant",
    "clip_norm": 0.0,
    "batch_rows": None,
    "batch_tokens": 10_000,
    "micro_batch_tokens": 10_000,
    "undersample": False,
    "label_smoothing": 0.0,
    "lm_loss_weight": 0.0,
    "lm_loss_share": 1.0,
    "token_dropout": 0.0,
    "autocast": None,
    "seed": 42,
}


def trunk(config: GPT2Config = CONFIG, seed: int = 3) -> GPT2:
    generator = torch.Generator().manual_seed(seed)
    model = GPT2(config)
    initialise(model, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def classifier(classes: int = 3, seed: int = 3) -> GPT2Classifier:
    model = GPT2Classifier(trunk(seed=seed), classes)
    with torch.no_grad():
        model.score.weight.normal_(std=0.3, generator=torch.Generator().manual_seed(seed))
    return model


def messages(lengths: list[int] = LENGTHS, seed: int = 1) -> EncodedTexts:
    """A text a length; ids from 1, so that 0 can serve as padding elsewhere."""
    random = np.random.default_rng(seed)
    windows = tuple(random.integers(1, CONFIG.vocab_size, n).astype(np.int32) for n in lengths)
    return EncodedTexts(windows, np.arange(len(lengths) + 1), np.arange(len(lengths)))


def windowed(parts: list[list[int]], seed: int = 1) -> EncodedTexts:
    """A text for every list, a window for every length in it."""
    flat = messages([n for text in parts for n in text], seed)
    return EncodedTexts(
        flat.windows, np.cumsum([0, *(len(text) for text in parts)]), np.arange(len(parts))
    )


def everything(model: GPT2Classifier, of: EncodedTexts) -> FeatureExtractor:
    freeze(model)
    return FeatureExtractor(of, 0, None, whole=False)


def training(
    model: GPT2Classifier | None = None,
    *,
    of: EncodedTexts | None = None,
    states: FeatureExtractor | None = None,
    targets: NDArray[np.int64] = TARGETS,
    weights: tuple[float, ...] = (1.0, 1.0, 1.0),
    fit: NDArray[np.int64] | None = None,
    validation: NDArray[np.int64] | None = None,
    kind: type[Training] = Training,
    dropout: float = 0.0,
    patience: int = 0,
    callbacks: Sequence[LoopCallback] = (),
    retokenize: Callable[[int], EncodedTexts] | None = None,
    **changes: Any,
) -> Training:
    """A training of everything unless `states` says otherwise, on all rows."""
    model = model or classifier(len(weights))
    states = states or everything(model, of or messages())
    model.transformer.set_dropout(dropout)
    rows = np.arange(len(targets)) if fit is None else fit
    held_out = np.array([], dtype=np.int64) if validation is None else validation
    loop = LoopSettings(**(SETTINGS | changes))
    data = LoopRows(states, targets, np.array(weights), rows, held_out, retokenize=retokenize)
    return kind(model, data, loop, [EarlyStopping(patience), *callbacks])


def gradients(model: GPT2Classifier) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """The same bits under the same names."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], tolerance: float) -> None:
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        difference = float((tensor - b[name]).abs().max())
        assert torch.allclose(tensor, b[name], atol=tolerance, rtol=tolerance), (
            f"{name} differs by {difference:g}"
        )
