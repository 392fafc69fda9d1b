"""The command line, one module a command. Arguments come in; what a workflow found goes to stdout,
everything else to stderr.

A command's module parses, calls and prints; what the commands share stands in `app` and `options`.
It is the only place that exits.
"""

from __future__ import annotations

from tamis.cli import (
    bench,
    data,
    evaluate,
    explain,
    inspect_backbone,
    learn,
    predict,
    pretrain,
    reproduce,
    search,
    serve,
    suggest,
    train,
)
from tamis.cli.app import main

__all__ = [
    "bench",
    "data",
    "evaluate",
    "explain",
    "inspect_backbone",
    "learn",
    "main",
    "predict",
    "pretrain",
    "reproduce",
    "search",
    "serve",
    "suggest",
    "train",
]
