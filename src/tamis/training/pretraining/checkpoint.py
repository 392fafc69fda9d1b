"""The state of a pretraining on disk: one safetensors file, replaced whole, from which it goes on
to the same bytes.

Besides the latest state, the last one before the learning rate fell is kept, so that a longer run
can go on from there.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tamis.errors import CheckpointError, RunError
from tamis.gpt2.checkpoints import write_tensors
from tamis.training.pretraining.loop import Place, Pretraining

LATEST, STABLE = "state.safetensors", "stable.safetensors"
EVERY_S = 120.0
"""Seconds between two saves."""


class StateFiles:
    """Where a pretraining's state lies."""

    def __init__(self, folder: Path, identity: str, *, every_s: float | None = None) -> None:
        """`identity` says what is trained on what, the schedule's length aside; a state of another
        identity is refused.
        """
        self.folder, self.identity, self.every_s = (
            folder,
            identity,
            EVERY_S if every_s is None else every_s,
        )
        self._saved = time.monotonic()

    def after_step(self, training: Pretraining) -> None:
        """Save where it is time, and at the moment before the learning rate falls."""
        ended = training.at.tokens >= training.recipe.schedule.length
        if training.was_stable:
            self.save(training, STABLE)
        if ended or time.monotonic() - self._saved >= self.every_s:
            self.save(training)
            self._saved = time.monotonic()

    def save(self, training: Pretraining, name: str = LATEST) -> None:
        """Write the state now."""
        tensors = {
            f"now.{key}": p.detach().cpu().contiguous()
            for key, p in training.student.named_parameters()
        }
        for i, optimizer in enumerate(training.optimizers):
            for key, value in _moments(optimizer).items():
                tensors[f"optimizer.{i}.{key}"] = value.detach().cpu().contiguous()
        schedule = training.recipe.schedule
        metadata = {
            "identity": self.identity,
            "at": json.dumps(asdict(training.at)),
            "schedule": _course(schedule.length, schedule.decay_share),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_tensors(self.folder / name, tensors, metadata)

    def restore(self, training: Pretraining) -> bool:
        """Take up the newest state that fits; whether there was one.

        One of the same schedule fits, finished or not. One of another schedule fits where the
        learning rate had not begun to fall under either: the latest, or the stable one before it.

        Raises:
            CheckpointError: a file is damaged.
            RunError: the folder holds the state of other work, or of a longer or steadier schedule:
                a new beginning would overwrite it.
        """
        schedule = training.recipe.schedule
        course = _course(schedule.length, schedule.decay_share)
        misfit = None
        for name in (LATEST, STABLE):
            path = self.folder / name
            if not path.is_file():
                continue
            try:
                with safe_open(path, framework="pt") as file:
                    metadata = file.metadata() or {}
                    if metadata["identity"] != self.identity:
                        raise RunError(
                            f"{path} is the state of another pretraining (other texts, recipe, "
                            "backbone, teacher or type of numbers); "
                            "choose another folder, or delete it to begin anew"
                        )
                    at = Place(**json.loads(metadata["at"]))
                    kept = metadata["schedule"]
                    # The last step of the stable state began before the rate fell, however far it
                    # went.
                    steady = _falls(kept) if name == STABLE else at.tokens
                    if kept != course and steady > min(_falls(kept), _falls(course)):
                        misfit = misfit or (at.tokens, kept)
                        continue
                    _put_back(
                        training, {key: file.get_tensor(key) for key in file.keys()}
                    )  # not a mapping
            except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
                raise CheckpointError(
                    f"{path} is damaged ({error}); delete it to train from the start"
                ) from error
            training.at = at
            return True
        if misfit is not None:
            tokens, kept = misfit
            raise RunError(
                f"{self.folder} holds this pretraining after {tokens:,} tokens of "
                f"{kept.partition(' of ')[2]}, its learning rate "
                f"falling after {_falls(kept):,}; the schedule of {schedule.length:,} tokens "
                "asked for now, falling after "
                f"{_falls(course):,}, cannot go on from there; choose another folder with -o, "
                "or a larger schedule.tokens"
            )
        return False


def _course(tokens: int, decay_share: float) -> str:
    return f"{tokens - round(decay_share * tokens)} of {tokens}"


def _falls(course: str) -> int:
    """Tokens after which the learning rate falls."""
    return int(course.partition(" of ")[0])


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    found = {}
    for group, settings in enumerate(optimizer.param_groups):
        for place, parameter in enumerate(settings["params"]):
            for name, tensor in optimizer.state.get(parameter, {}).items():
                found[f"{group}.{place}.{name}"] = tensor
    return found


def _put_back(training: Pretraining, tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in training.student.named_parameters():
            parameter.copy_(tensors[f"now.{name}"])
    for i, optimizer in enumerate(training.optimizers):
        for group, settings in enumerate(optimizer.param_groups):
            for place, parameter in enumerate(settings["params"]):
                prefix = f"optimizer.{i}.{group}.{place}."
                moments = {
                    key.removeprefix(prefix): value
                    for key, value in tensors.items()
                    if key.startswith(prefix)
                }
                if moments:
                    # AdamW counts its steps on the CPU unless it is fused; each tensor goes where
                    # the weights are, the count too.
                    optimizer.state[parameter] = {
                        name: value.to(parameter.device) for name, value in moments.items()
                    }
