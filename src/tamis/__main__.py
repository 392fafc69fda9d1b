"""`python -m tamis`, and what torchrun starts: the `tamis` command."""

from __future__ import annotations

from tamis.cli import main

main()
