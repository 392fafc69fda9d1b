"""Optimizers of pretraining: Muon for the matrices of the blocks, AdamW for the rest. Learning rate
schedule: warm-up, stable, decay.

Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024),
https://kellerjordan.github.io/posts/muon. torch.optim.Muon iterates in bf16, which CPUs without
bf16 instructions emulate far more slowly; this one uses fp32 and processes all matrices of one
shape at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from tamis.training.pretraining.losses import Student
from tamis.training.pretraining.recipe import OptimizerSettings, ScheduleSettings

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def orthogonalized(matrices: Tensor) -> Tensor:
    """Return (M, rows, columns) matrices with singular values near one: five quintic Newton-Schulz
    iterations.
    """
    a, b, c = _COEFFICIENTS
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    x = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    found: Tensor = x if matrices.shape[-2] <= matrices.shape[-1] else x.mT
    return found


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum. A 3C x C matrix (queries, keys, values) counts as three matrices."""

    def __init__(
        self, params: Iterable[Any], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        """Create the optimizer.

        `params`: matrices only; `lr`: spectral norm of a step; `weight_decay`: share of a weight
        that a step of size one removes.
        """
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override] # no closure is ever given
        """Perform one optimization step."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1.0 - group["momentum"])
                ahead = weight.grad.lerp(momentum, group["momentum"])  # Nesterov
                weight.mul_(1.0 - group["lr"] * group["weight_decay"])
                for part, step in zip(_parts(weight), _parts(ahead), strict=True):
                    by_shape.setdefault((part.shape[0], part.shape[1]), []).append((part, step))
            for (rows, columns), pairs in by_shape.items():
                steps = orthogonalized(torch.stack([step for _, step in pairs]))
                size = group["lr"] * max(1.0, rows / columns) ** 0.5
                for (part, _), step in zip(pairs, steps, strict=True):
                    part.sub_(step, alpha=size)


def _parts(matrix: Tensor) -> tuple[Tensor, ...]:
    rows, columns = matrix.shape
    return torch.split(matrix, columns) if rows == 3 * columns else (matrix,)


def optimizers(student: Student, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """Return the optimizers of a student's weights; `peak` is a group's highest rate."""
    matrices: list[Tensor] = []
    plain: list[Tensor] = []
    embeddings: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in student.named_parameters():
        if ".h." in name and parameter.ndim == 2:
            matrices.append(parameter)
        elif ".wpe." in name or ".wte." in name:
            embeddings.append(parameter)
        else:
            (plain if parameter.ndim < 2 else rest).append(parameter)
    muon = settings.name == "muon" and bool(matrices)
    groups: list[dict[str, Any]] = [
        {"params": plain, "weight_decay": 0.0},
        {"params": embeddings, "weight_decay": 0.0, "lr": settings.embedding_learning_rate},
        {"params": rest, "weight_decay": settings.weight_decay},
    ]
    if not muon:
        groups.append({"params": matrices, "weight_decay": settings.weight_decay})
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [g for g in groups if g["params"]],
            lr=settings.learning_rate,
            betas=(0.9, 0.95),
            eps=1e-8,
            fused=True,
        )
    ]
    if muon:
        found.append(
            Muon(matrices, lr=settings.matrix_learning_rate, weight_decay=settings.weight_decay)
        )
    for optimizer in found:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return found


def rate(tokens: int, schedule: ScheduleSettings) -> float:
    """Return the learning rate after `tokens` tokens as a share of its peak: linear warm-up,
    stable, linear decay to zero.
    """
    begin = decay_begins(schedule)
    warmup = min(schedule.warmup_tokens, schedule.length // 10)
    up = min(1.0, (tokens + 1) / warmup) if warmup else 1.0
    down = (
        1.0
        if tokens < begin
        else max(0.0, (schedule.length - tokens) / max(1, schedule.length - begin))
    )
    return min(up, down)


def decay_begins(schedule: ScheduleSettings) -> int:
    """Return the tokens after which the learning rate decays."""
    return schedule.length - round(schedule.decay_share * schedule.length)
