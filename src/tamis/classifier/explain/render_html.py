"""Render an explanation as one self-contained HTML page, or as a part of a notebook.

In `templates`, `explanation_body.html.j2` has the text and `explanation_style.css` the style of
both. Every rule of the style begins with the class of the explanation, so nothing else in a
notebook changes. Jinja escapes all content of the explained text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from jinja2 import Template


class Point(Protocol):
    """A token with the probability after it (`explanation.TokenPoint`)."""

    @property
    def probability(self) -> float:
        """P(explained label)."""


class Word(Protocol):
    """A word with its contribution (`explanation.WordAttribution`)."""

    @property
    def start(self) -> int:
        """First character."""

    @property
    def end(self) -> int:
        """Character behind the last one."""

    @property
    def attribution(self) -> float:
        """Log-odds."""


class Explained(Protocol):
    """What is rendered: an `explanation.Explanation`."""

    @property
    def text(self) -> str:
        """The text."""

    @property
    def explained(self) -> str:
        """The label."""

    @property
    def words(self) -> Sequence[Word]:
        """The words in order."""

    @property
    def tokens(self) -> Sequence[Point]:
        """The tokens in order."""

    @property
    def threshold(self) -> float | None:
        """P(explained label) at which the label changes."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences to show."""

    def headline(self) -> str:
        """Verdict and probabilities."""

    def sums(self) -> str:
        """The sum of the contributions."""


_STRONGEST = 0.75
"""Opacity of the shade behind the word with the largest attribution, of either sign."""
_ROWS = 8
"""Words in the table; the text above it shows all of them."""
_WIDTH, _HEIGHT = 640, 140
# C0 characters may not stand in HTML at all: their pictures do. Line ends and tabs are white space
# there as here.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"} | {
    0x7F: 0x2421
}


def page(explanation: Explained) -> str:
    """Return the page of an explanation."""
    return _rendered(explanation, "explanation.html.j2")


def notebook_html(explanation: Explained) -> str:
    """Return an explanation for a notebook."""
    return _rendered(explanation, "explanation_notebook.html.j2")


def _rendered(explanation: Explained, template: str) -> str:
    pieces, rest = _pieces(explanation)
    strongest = sorted(explanation.words, key=lambda word: -abs(word.attribution))[:_ROWS]
    return _template(template).render(
        headline=explanation.headline(),
        explained=explanation.explained,
        pieces=pieces,
        rest=rest,
        strongest=[(w.attribution, explanation.text[w.start : w.end]) for w in strongest],
        sums=explanation.sums(),
        curve=_curve(explanation),
        notes=explanation.notes,
    )


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=lambda value: value.translate(_PICTURES) if isinstance(value, str) else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template(name)


def _pieces(explanation: Explained) -> tuple[list[dict[str, Any]], str]:
    """Each word with the text before it and its shade; and the text after the last word."""
    largest = max((abs(word.attribution) for word in explanation.words), default=0.0) or 1.0
    pieces, done = [], 0
    for word in explanation.words:
        pieces.append(
            {
                "before": explanation.text[done : word.start],
                "word": explanation.text[word.start : word.end],
                "kind": "against" if word.attribution < 0 else "for",
                "shade": _STRONGEST * abs(word.attribution) / largest,
                "attribution": word.attribution,
            }
        )
        done = word.end
    return pieces, explanation.text[done:]


def _curve(explanation: Explained) -> dict[str, Any]:
    """Coordinates of the curve of probabilities in the SVG picture."""
    left, right, top, bottom = 30.0, _WIDTH - 10.0, 10.0, _HEIGHT - 20.0
    count = len(explanation.tokens)

    def x(number: int) -> str:
        return f"{left + (right - left) * (number / (count - 1) if count > 1 else 1.0):.1f}"

    def y(probability: float) -> str:
        return f"{bottom - (bottom - top) * probability:.1f}"

    lines = [("axis", y(0.0)), ("axis", y(1.0))]
    if explanation.threshold is not None:
        lines.append(("cut", y(explanation.threshold)))
    probabilities = [token.probability for token in explanation.tokens]
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": left,
        "right": right,
        "top": top,
        "bottom": bottom,
        "count": count,
        "final": probabilities[-1],
        "lines": lines,
        "points": " ".join(f"{x(i)},{y(p)}" for i, p in enumerate(probabilities)),
        "end": (x(count - 1), y(probabilities[-1])),
    }
