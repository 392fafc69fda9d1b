"""The state of a training on disk: one safetensors file, replaced whole, from which it goes on to
the same bytes.

Tensors: `now.*` trained weights, `best.*` those of the best epoch, `optimizer.*`, and torch's
random state. Counters and history travel in the file's metadata, so that they can never disagree
with the tensors.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tamis.errors import CheckpointError
from tamis.gpt2.checkpoints import write_tensors
from tamis.gpt2.model import GPT2Classifier
from tamis.training.adamw import AdamW
from tamis.training.loop import Training, TrainingState

FILE = "training.safetensors"
EVERY_S = 60.0
"""Seconds between two checkpoints inside an epoch; every epoch's end is kept as well."""


class Checkpointer:
    """Writes a training's state into a folder, every minute and at every epoch's end."""

    def __init__(self, folder: Path, identity: str, *, every_s: float = EVERY_S) -> None:
        """`identity` says what is trained on what; a state of another identity is never taken
        up.
        """
        self.path, self.identity, self.every_s = folder / FILE, identity, every_s
        self._saved = time.monotonic()

    def __call__(
        self,
        model: GPT2Classifier,
        optimizer: AdamW,
        at: TrainingState,
        best: dict[str, Tensor],
        epoch_ended: bool,
    ) -> None:
        """Save if an epoch has ended or the last save is long enough ago."""
        if epoch_ended or time.monotonic() - self._saved >= self.every_s:
            self.save(model, optimizer, at, best)

    def save(
        self, model: GPT2Classifier, optimizer: AdamW, at: TrainingState, best: dict[str, Tensor]
    ) -> None:
        """Write the state now."""
        tensors = {
            f"now.{name}": p.detach() for name, p in model.named_parameters() if p.requires_grad
        }
        tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in _moments(optimizer)}
        tensors["random"] = torch.get_rng_state()
        if model.score.weight.is_cuda:  # dropout draws there
            tensors["random_cuda"] = torch.cuda.get_rng_state(model.score.weight.device)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        write_tensors(
            self.path, contiguous, {"identity": self.identity, "at": json.dumps(asdict(at))}
        )
        self._saved = time.monotonic()

    def restore(self, training: Training) -> bool:
        """Put a saved state of the same identity into a fresh training; whether there was one.

        Raises:
            CheckpointError: the file is damaged.
        """
        if not self.path.is_file():
            return False
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("identity", self.identity) != self.identity:
                    return False
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # not a mapping
            at = TrainingState(**json.loads(metadata["at"]))
            now = {name: tensors[f"now.{name}"] for name in training.trained}
            random, cuda = tensors["random"], training.device.type == "cuda"
            random_cuda = tensors["random_cuda"] if cuda else None
            moments = [
                (weights, _state(tensors, f"optimizer.{g}.{i}."))
                for g, i, weights in _places(training.optimizer)
            ]
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"{self.path} is damaged ({error}); delete it to train from the start"
            ) from error
        except KeyError as error:
            raise CheckpointError(
                f"{self.path} is damaged ({error.args[0]} is missing); delete it to train from "
                "the start"
            ) from error
        training.at = at
        with torch.no_grad():
            for name, parameter in training.trained.items():
                parameter.copy_(now[name])
        training.best = {
            name.removeprefix("best."): t for name, t in tensors.items() if name.startswith("best.")
        }
        for weights, state in moments:
            if state:
                training.optimizer.state[weights] = {
                    name: tensor.to(weights.device) for name, tensor in state.items()
                }
        torch.set_rng_state(random)
        if random_cuda is not None:
            torch.cuda.set_rng_state(random_cuda, training.device)
        return True


def _places(optimizer: AdamW) -> Iterator[tuple[int, int, Tensor]]:
    for group, settings in enumerate(optimizer.param_groups):
        for place, parameter in enumerate(settings["params"]):
            yield group, place, parameter


def _moments(optimizer: AdamW) -> Iterator[tuple[str, Tensor]]:
    for group, place, parameter in _places(optimizer):
        for name, tensor in optimizer.state.get(parameter, {}).items():
            yield f"{group}.{place}.{name}", tensor


def _state(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """AdamW's state of one parameter: whole, or none where the parameter has had no step."""
    if not any(name.startswith(prefix) for name in tensors):
        return {}
    return {name: tensors[prefix + name] for name in ("step", "exp_avg", "exp_avg_sq")}
