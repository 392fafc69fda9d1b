"""`tamis serve` without batching: the same code, but every batch has one text. It shows the gain of
batching.
"""

from __future__ import annotations

from functools import partial

from tamis.serving import service
from tamis.serving.dynamic_batching import Batcher


def main() -> None:
    """Run the command line without batching."""
    service.Batcher = partial(Batcher, budget=1)  # type: ignore[assignment,attr-defined]
    from tamis.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
