"""AdamW by torch's fused kernel, without `torch.optim.AdamW` around it.

The first optimiser of torch that a process makes imports torch's compiler, two to three seconds in
which a small training is over. The kernel is the same, so are its steps, bit by bit (a test holds
both together). Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class AdamW:
    """Steps of the weights in `param_groups`; a group has `params`, `lr` and `weight_decay`, and
    whatever its owner adds.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        """`betas`: decay of the two moments; `eps`: added to the root of the second."""
        self.param_groups = groups
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        """Of every weight that has had a step: `step` (), `exp_avg` and `exp_avg_sq` of its own
        shape."""
        self.betas, self.eps = betas, eps

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step of every weight that has a gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            states = [self.state.get(weight) or self._begun(weight) for weight in weights]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1.0)
            torch._fused_adamw_(
                weights,
                [weight.grad for weight in weights],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                lr=group["lr"],
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=group["weight_decay"],
                eps=self.eps,
                amsgrad=False,
                maximize=False,
            )

    def _begun(self, weight: Tensor) -> dict[str, Tensor]:
        self.state[weight] = {
            "step": torch.zeros((), device=weight.device),
            "exp_avg": torch.zeros_like(weight),
            "exp_avg_sq": torch.zeros_like(weight),
        }
        return self.state[weight]
