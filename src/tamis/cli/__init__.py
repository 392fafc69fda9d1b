"""The command line, one module a command. Arguments come in; what a workflow found goes to stdout, everything else to stderr."""

from __future__ import annotations

from tamis.cli import train
from tamis.cli.app import main

__all__ = ["main", "train"]
