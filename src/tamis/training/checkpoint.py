"""The state of a training on disk: one safetensors file, replaced atomically. A resumed training
ends with the same bytes.

Tensors: `now.*` trained weights, `best.*` those of the best epoch, `optimizer.*`, and torch's
random state. Counters and history are in the metadata of the same file, so that they always match
the tensors.
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
from tamis.evaluation.model_selection import Scores
from tamis.gpt2.checkpoints import write_tensors
from tamis.training.adamw import AdamW
from tamis.training.loop import LoopCallback, Training
from tamis.training.state import TrainingState

FILE = "training.safetensors"
EVERY_S, EPOCH_S = 60.0, 10.0
"""Seconds after the last checkpoint, or the start, from which the next one is written: after any
step, and at the end of an epoch. With few rows an epoch takes less time than its checkpoint."""


class Checkpointer(LoopCallback):
    """Writes the state of a training to a folder, every minute and at the end of long epochs."""

    def __init__(
        self, folder: Path, identity: str, *, every_s: float | None = None, epoch_s: float = EPOCH_S
    ) -> None:
        """Prepare to write.

        Args:
            folder: gets the file.
            identity: hash of the work; a state with another identity is ignored.
            every_s: seconds between two checkpoints inside an epoch; EVERY_S by default.
            epoch_s: seconds before the end of an epoch is written, if that is less.
        """
        self.path, self.identity = folder / FILE, identity
        self.every_s = EVERY_S if every_s is None else every_s
        self.epoch_s = min(epoch_s, self.every_s)
        self._saved = time.monotonic()

    def on_step(self, training: Training, rows: int, loss: float, accuracy: float) -> None:
        """Save if the last checkpoint is `every_s` seconds old."""
        self._save_after(self.every_s, training)

    def on_epoch(self, training: Training, scores: Scores | None) -> None:
        """Save if the last checkpoint is `epoch_s` seconds old."""
        self._save_after(self.epoch_s, training)

    def _save_after(self, seconds: float, training: Training) -> None:
        if time.monotonic() - self._saved >= seconds:
            self.save(training)

    def save(self, training: Training) -> None:
        """Write the current state."""
        model, at = training.model, training.at
        tensors = {f"now.{name}": p.detach() for name, p in training.trained.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in training.best.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in _moments(training.optimizer)}
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
        """Load a saved state of the same identity into a new training. Returns whether there was
        one.

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
