"""Sentences about settings with wrong values: what was expected, what came, and what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_KIND = re.compile(r"(?:literal|dict|function-\w+|constrained-\w+)\b|(?:int|float|str|bool)$")
"""Names of types that pydantic puts into the place of a value with several possible types."""


def one_of(*forms: str) -> Callable[[str], str]:
    """Return a check that a value has one of the forms.

    Args:
        forms: words; a capital at the end, as in `blocks:K`, stands for a whole number from 1.

    The check raises ValueError, which lists the forms.
    """
    numbers = [form[-1] for form in forms if form[-1].isupper()]
    pattern = "|".join(
        re.escape(form[:-1]) + "[1-9][0-9]*" if form[-1].isupper() else re.escape(form)
        for form in forms
    )
    where = f", where {_either(numbers, 'and')} {_are(numbers)} from 1" if numbers else ""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value):
            return value
        stems = {form.rstrip("KRN"): form for form in forms}
        near = difflib.get_close_matches(value.rstrip("0123456789"), stems, n=1)
        hint = f"; did you mean {stems[near[0]]}?" if near else ""
        raise ValueError(f"expected {_either(forms)}{where}, got {value!r}{hint}")

    return check


def fault_sentences(problems: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each setting that pydantic found wrong.

    Args:
        problems: entries of `ValidationError.errors()`, each with its place in `loc`.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for problem in problems:
        found.setdefault(setting_name(problem), []).append(problem)
    return [_sentence(name, several) for name, several in found.items()]


def setting_name(problem: Mapping[str, Any]) -> str:
    """Return the name of the setting that a problem is about, such as `train.epochs`."""
    return ".".join(
        str(part) for part in problem["loc"] if not (isinstance(part, str) and _KIND.match(part))
    )


def _sentence(name: str, problems: list[Mapping[str, Any]]) -> str:
    own = [problem for problem in problems if problem["type"] == "value_error"]
    if own:  # written by tamis, with what came
        said = own[0]["msg"].removeprefix("Value error, ")
        return f"{name}: {said}" if ", got " in said else f"{name}: {said}, got {_given(own[0])}"
    said = ", or ".join(dict.fromkeys(problem["msg"].lower() for problem in problems))
    hint = next(filter(None, (_meant(problem) for problem in problems)), "")
    return f"{name}: {said}, got {_given(problems[0])}{hint}"


def _given(problem: Mapping[str, Any]) -> str:
    return f"{problem.get('input')!r:.80}"


def _meant(problem: Mapping[str, Any]) -> str:
    """Return what the user may have meant: a percentage, or a word that is spelled like this."""
    context, given = problem.get("ctx") or {}, problem.get("input")
    if 1 in (context.get("le"), context.get("lt")):
        try:
            number = float(str(given))
        except ValueError:
            return ""
        if 1 < number <= 100:
            return f"; did you mean {number / 100:g}, that is {number:g}%?"
    if problem["type"] == "literal_error":
        words = re.findall(r"'([^']*)'", context.get("expected", ""))
        near = difflib.get_close_matches(str(given), words, n=1)
        return f"; did you mean {near[0]!r}?" if near else ""
    return ""


def _either(words: Iterable[str], last: str = "or") -> str:
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end


def _are(numbers: list[str]) -> str:
    return "is a whole number" if len(numbers) == 1 else "are whole numbers"
