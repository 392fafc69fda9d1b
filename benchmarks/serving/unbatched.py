"""`tamis serve` without batches: the same code, but every turn takes one text. The rival that shows
what gathering texts brings.
"""

from __future__ import annotations

from functools import partial

from tamis.serving import service
from tamis.serving.dynamic_batching import Batcher


def main() -> None:
    """Run the command line with it."""
    service.Batcher = partial(Batcher, budget=1)  # type: ignore[assignment,attr-defined]
    from tamis.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
