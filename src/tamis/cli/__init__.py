"""The command line, one module per command.

The module of a command parses its arguments, calls a workflow and prints the result to stdout;
everything else goes to stderr. `app` and `options` contain what the commands share. A module is
imported when its command runs. Only this package prints and exits.
"""

from __future__ import annotations

from tamis.cli.app import main

__all__ = ["main"]
