"""How the threads of a matrix product wait for the next one: asleep, not in a loop.

OpenMP's threads wait busily for milliseconds by default. Beside another program they then take the
processor from the thread that all of them wait for: a training beside one busy process ran at 30
messages/s instead of 75, and with sleeping threads at 39 beside two; alone nothing was lost.
"""

from __future__ import annotations

import os
import sys

POLICY = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Read by OpenMP's runtimes (GNU, LLVM and Intel) when they are loaded, with torch."""


def wait_asleep() -> None:
    """Let threads wait asleep, unless the environment says anything about it or torch is loaded.

    Changes the environment of this process and of those that it starts: for programs, not for a
    library.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in POLICY):
        os.environ.update(POLICY)
