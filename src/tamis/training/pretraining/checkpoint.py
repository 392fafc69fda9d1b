"""Checkpoints of pretraining: one safetensors file, replaced atomically, from which training
resumes with identical results.

Besides the latest state, the last state before the learning rate decays is kept, so that a longer
run can start from it.
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
    """The checkpoint files of a pretraining."""

    def __init__(self, folder: Path, identity: str, *, every_s: float | None = None) -> None:
        """Use checkpoints in `folder`.

        `identity` identifies the data and settings, without the length of the schedule; a state
        with another identity is refused.
        """
        self.folder, self.identity, self.every_s = (
            folder,
            identity,
            EVERY_S if every_s is None else every_s,
        )
        self._saved = time.monotonic()

    def after_step(self, training: Pretraining) -> None:
        """Save if it is time, and right before the learning rate decays."""
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
        """Restore the newest matching state; returns whether there was one.

        A state of the same schedule matches, finished or not. A state of another schedule matches
        if the learning rate had not begun to decay under either: the latest state, or the stable
        one before it.

        Raises:
            CheckpointError: a file is damaged.
            RunError: the folder holds the state of other settings, or of a longer or more stable
                schedule, which a new run would overwrite.
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
                            "backbone, teacher or dtype); choose another folder, or delete the "
                            "file to start again"
                        )
                    at = Place(**json.loads(metadata["at"]))
                    kept = metadata["schedule"]
                    # The last step of the stable state began before the decay, however many tokens
                    # it had.
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
                f"{kept.partition(' of ')[2]}, with a learning rate that decays after "
                f"{_falls(kept):,}; the requested schedule of {schedule.length:,} tokens, which "
                f"decays after {_falls(course):,}, cannot resume from it; choose another folder "
                "with -o, or a larger schedule.tokens"
            )
        return False


def _course(tokens: int, decay_share: float) -> str:
    return f"{tokens - round(decay_share * tokens)} of {tokens}"


def _falls(course: str) -> int:
    """Return the tokens after which the learning rate decays."""
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
                    # AdamW counts its steps on the CPU unless it is fused; each tensor, including
                    # the count, is moved to the weights' device.
                    optimizer.state[parameter] = {
                        name: value.to(parameter.device) for name, value in moments.items()
                    }
