"""The command line, one module per command.

The module of a command parses its arguments, calls a workflow and prints the result to stdout;
everything else goes to stderr. `app` and `options` contain what the commands share. Only this
package prints and exits.
"""

from __future__ import annotations

from tamis.cli import (
    bench,
    cache,
    compare,
    data,
    evaluate,
    explain,
    export,
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
    "cache",
    "compare",
    "data",
    "evaluate",
    "explain",
    "export",
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
