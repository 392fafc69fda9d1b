"""From a measured step of `nano` to more processes, slower networks and larger models: the time of
a training step that processes share.

A step of W processes: the first one sends its trained weights to all (gloo: a tree of
ceil(log2 W) rounds), each computes its rows, the gradients are summed in the first process (a ring,
then a gathering: (W - 1) / W of the bytes each), and the first one moves the weights. Nothing of
this is done at the same time as something else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

BYTES = 4
"""Of a weight and of a gradient, in fp32."""
GIGABIT = 1e9 / 8
TENTH = 0.1


@dataclass(frozen=True)
class Shape:
    """Sizes of a GPT-2."""

    pieces: int
    positions: int
    width: int
    blocks: int


NANO = Shape(16_384, 256, 288, 4)
"""The former `nano`, whose steps were measured."""
GPT2 = Shape(50_257, 1024, 768, 12)


@dataclass(frozen=True)
class Step:
    """A step; times in seconds of a core."""

    once: float
    """gradients: whatever is computed once in each process"""
    shared: float
    """gradients: what the processes divide"""
    rest: float
    """clipping and optimizer, in the first process"""
    copying: float
    """what sending costs the first of two processes"""
    weights: int
    """trained weights"""

    @property
    def alone(self) -> float:
        """The time of one process."""
        return self.once + self.shared + self.rest

    @property
    def bytes(self) -> int:
        """What is sent in each direction between two processes."""
        return BYTES * self.weights

    def computing(self, processes: int) -> float:
        """Return the time without sending."""
        return self.once + self.shared / processes + self.rest

    def sending(self, processes: int, link: float) -> float:
        """Return the time of sending.

        Args:
            processes: their number.
            link: bytes per second of each process, in each direction.
        """
        times = transfers(processes)
        return times * (self.bytes / link + self.copying / transfers(2)) if times else 0.0

    def speed(self, processes: int, link: float) -> float:
        """Return the speed compared with one process."""
        return self.alone / (self.computing(processes) + self.sending(processes, link))

    def most(self) -> float:
        """Return the speed of many processes that send in no time."""
        return self.alone / (self.once + self.rest)

    def link(self, share: float = TENTH) -> float:
        """Return the bytes per second with which sending between two processes takes a share of
        the time of computing; copying is not in it.
        """
        return transfers(2) * self.bytes / (share * self.computing(2))


def transfers(processes: int) -> float:
    """Return how often the first process's link carries all weights or gradients in a step."""
    if processes < 2:
        return 0.0
    return math.ceil(math.log2(processes)) + 2 * (processes - 1) / processes


def measured(figures: dict[str, Any]) -> Step:
    """Return the step of a line of the results."""
    one, four = figures["gradients_ms_in_1"], figures["gradients_ms_in_4"]
    once = max(0.0, (four - one) / 3)
    rest = figures["rest_ms"]
    copying = max(0.0, figures["first_of_2_ms"] - (one + once) / 2 - rest)
    return Step(
        1e-3 * once, 1e-3 * (one - once), 1e-3 * rest, 1e-3 * copying, figures["trained_weights"]
    )


def trained_weights(tune: str, shape: Shape) -> int:
    """Return the trained weights of a classifier of two classes."""
    block = 12 * shape.width**2 + 13 * shape.width
    ends = 2 * shape.width + 2 * shape.width  # final LayerNorm, head
    kind, _, number = tune.partition(":")
    if kind == "full":
        pooling = 2 * shape.width  # the LayerNorm of the pooling block
        tables = (shape.pieces + shape.positions) * shape.width
        return tables + shape.blocks * block + pooling + ends
    if kind == "blocks":
        return int(number) * block + ends
    return 16 * shape.width * int(number) * shape.blocks + ends


def scaled(of: Step, tune: str, old: Shape, new: Shape, tokens: float = 1.0) -> Step:
    """Return the step of another model, or of more tokens.

    Products of matrices grow with the square of the width and with the number of blocks that are
    computed; what is done once for each weight, with the number of trained weights.

    Args:
        of: a step of `old`.
        tune: what is trained.
        old: sizes of the measured model.
        new: sizes of the other one.
        tokens: how many times as many tokens the step has.
    """
    weights = trained_weights(tune, new)
    grown = weights / trained_weights(tune, old)
    blocks = 1.0 if tune.startswith("blocks") else new.blocks / old.blocks
    products = (new.width / old.width) ** 2 * blocks
    return Step(
        of.once * grown, of.shared * products * tokens, of.rest * grown, of.copying * grown, weights
    )
