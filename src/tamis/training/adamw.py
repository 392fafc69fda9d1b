"""AdamW as a small class around torch's function `torch.optim.adamw.adamw` (fused).

The class `torch.optim.AdamW` imports torch's compiler when the first optimizer of a process is
made, which takes about three seconds: longer than many trainings here. The function does not. A
test verifies that the steps are equal to the last bit. Source: Loshchilov and Hutter, "Decoupled
weight decay regularization" (2019).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from tamis.training.state import LoopSettings


class AdamW:
    """AdamW steps for `param_groups`. A group has `params`, `lr`, `weight_decay` and any further
    keys.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        """`betas`: decay rates of the two moments; `eps`: added to the square root of the second
        moment.
        """
        self.param_groups = groups
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        """Of every weight that has had a step: `step` (), `exp_avg` and `exp_avg_sq` of its own
        shape."""
        self.betas, self.eps = betas, eps

    def zero_grad(self) -> None:
        """Reset the gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            states = [self.state.get(weight) or self._begun(weight) for weight in weights]
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            adamw(
                weights,
                gradients,
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=self.eps,
                maximize=False,
            )

    def _begun(self, weight: Tensor) -> dict[str, Tensor]:
        self.state[weight] = {
            "step": torch.zeros((), device=weight.device),
            "exp_avg": torch.zeros_like(weight),
            "exp_avg_sq": torch.zeros_like(weight),
        }
        return self.state[weight]


def parameter_groups(
    trained: dict[str, torch.nn.Parameter], settings: LoopSettings
) -> list[dict[str, Any]]:
    """Return three parameter groups: matrices (with weight decay), embeddings, LayerNorms and
    biases (without, unless `decay_everything`), and the head with its own learning rate.
    """
    head = [p for name, p in trained.items() if name.startswith("score.")]
    rest = {name: p for name, p in trained.items() if not name.startswith("score.")}
    plain_decay = settings.weight_decay if settings.decay_everything else 0.0
    plain = {name for name, p in rest.items() if p.ndim < 2 or ".wpe." in name or ".wte." in name}
    groups: list[dict[str, Any]] = [
        {
            "params": [p for n, p in rest.items() if n not in plain],
            "peak": settings.learning_rate,
            "weight_decay": settings.weight_decay,
        },
        {
            "params": [rest[n] for n in rest if n in plain],
            "peak": settings.learning_rate,
            "weight_decay": plain_decay,
        },
        {
            "params": head,
            "peak": settings.head_learning_rate,
            "weight_decay": settings.weight_decay,
        },
    ]
    return [group | {"lr": group["peak"]} for group in groups if group["params"]]
