"""Errors about parameters that a classifier does not have: most are settings, which have a place of
their own.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec, TypeVar

from tamis.config import find_setting
from tamis.errors import ConfigError

P = ParamSpec("P")
Self_ = TypeVar("Self_")


def checked_parameters(
    init: Callable[Concatenate[Self_, P], None],
) -> Callable[Concatenate[Self_, P], None]:
    """Return `__init__` with errors that say how a setting is passed.

    It raises TypeError as Python does, for a parameter that is not known.
    """
    known = list(inspect.signature(init).parameters)[1:]

    @functools.wraps(init)
    def checked(self: Self_, /, *args: P.args, **parameters: P.kwargs) -> None:
        for name, value in parameters.items():
            if name not in known:
                raise TypeError(unknown_parameter(type(self).__name__, name, value, known))
        init(self, *args, **parameters)

    return checked


def unknown_parameter(owner: str, name: str, value: Any, known: Iterable[str]) -> str:
    """Return the message about a parameter that `owner` does not have.

    Args:
        owner: name of the class.
        name: the parameter.
        value: what it was given.
        known: names of the parameters.
    """
    known = list(known)
    told = f"{owner} has no parameter {name!r}"
    try:
        section, key = find_setting(name.replace("__", "."))
    except ConfigError as unknown:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]!r}?" if near else str(unknown).partition("; ")[2]
        hint = f"; {meant}" if meant.startswith("did you mean") else ""
        return (
            f"{told}; its parameters are {', '.join(known)}; any other setting goes into "
            f"settings={{...}}{hint}"
        )
    full = f"{section}.{key}" if section else key
    return f"{told}; it is a setting: pass settings={{{full!r}: {value!r}}}"
