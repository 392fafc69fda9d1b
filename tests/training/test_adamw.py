"""The optimiser's steps are torch's own, bit by bit, and neither it nor a whole training imports
torch's compiler.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import torch

from tamis.training.adamw import AdamW

SHAPES = ((5, 7), (3,), (11, 2), (1, 1))


def weights() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def groups(given: list[torch.nn.Parameter]) -> list[dict[str, Any]]:
    return [
        {"params": given[:2], "lr": 1e-2, "weight_decay": 0.3},
        {"params": given[2:], "lr": 3e-3, "weight_decay": 0.0},
    ]


def test_steps_are_those_of_torch_to_the_last_bit() -> None:
    mine, theirs = weights(), weights()
    ours = AdamW(groups(mine), betas=(0.8, 0.97), eps=1e-7)
    reference = torch.optim.AdamW(groups(theirs), betas=(0.8, 0.97), eps=1e-7, fused=True)
    generator = torch.Generator().manual_seed(4)
    for step in range(9):
        for optimizer in (ours, reference):
            optimizer.param_groups[1]["lr"] = 3e-3 / (1 + step)
        ours.zero_grad()
        reference.zero_grad()
        for place, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            if (
                step + place
            ) % 3 or step == 8:  # a weight without a gradient keeps its place and its state
                gradient = torch.randn(a.shape, generator=generator)
                a.grad, b.grad = gradient.clone(), gradient.clone()
        ours.step()
        reference.step()
        for a, b in zip(mine, theirs, strict=True):
            assert torch.equal(a, b)
            assert ours.state.get(a, {}).keys() == reference.state.get(b, {}).keys()
            assert all(
                torch.equal(ours.state[a][name], reference.state[b][name])
                for name in ours.state.get(a, {})
            )
    assert not torch.equal(mine[0], weights()[0]) and float(ours.state[mine[0]]["step"]) == 6


def test_a_weight_that_never_had_a_gradient_stays_and_has_no_state() -> None:
    mine = weights()
    ours = AdamW(groups(mine))
    ours.step()
    assert not ours.state and all(torch.equal(a, b) for a, b in zip(mine, weights(), strict=True))
    mine[0].grad = torch.ones_like(mine[0])
    ours.step()
    assert list(ours.state) == [mine[0]]
    ours.zero_grad()
    assert mine[0].grad is None


def test_a_training_does_not_import_torchs_compiler() -> None:
    code = """
import sys
from tamis import TextClassifier
settings = {"train.epochs": 1, "decision.cv_folds": 0}
texts = ["win a prize now", "see you at six", "claim your cash", "are you home yet"] * 9
TextClassifier(backbone="scratch:tiny", tune="full", threads=1, settings=settings).fit(
    texts, ["spam", "ham"] * 18)
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
