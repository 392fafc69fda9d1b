"""tp2.html: the lesson as one self-contained page for light and dark displays and for phones.

`templates/tp2.html.j2` has the text; its style begins with the style sheet of the reports. There
are no scripts and no external files: plots are data URIs, and Jinja escapes all external text.
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis import __version__
from tamis.evaluation import report
from tamis.files import write_text
from tamis.workflows.reproduce_tp2.lesson import Lesson
from tamis.workflows.reproduce_tp2.plots import PLOTS, dark_plots
from tamis.workflows.reproduce_tp2.questions import QUESTIONS
from tamis.workflows.reproduce_tp2.remedies import RIVAL, RemedyResults
from tamis.workflows.reproduce_tp2.wording import percent

if TYPE_CHECKING:
    from jinja2 import Template

_TEMPLATES = (Path(__file__).parent, Path(report.__path__[0]))


def write_page(path: Path, lesson: Lesson, plots: dict[str, Path]) -> Path:
    """Write the page atomically. `plots` are the three PNG files for a light page, by name."""
    dark = dark_plots(lesson.curves)
    page = _template().render(
        lesson=lesson,
        questions=QUESTIONS,
        plots=[
            (name, caption, _encoded(plots[name].read_bytes()), _encoded(dark[name]))
            for name, caption in PLOTS.items()
        ],
        remedies=[] if lesson.remedies is None else _bars(lesson.reference, lesson.remedies),
        positive=lesson.curves.sought,
        version=__version__,
    )
    # A lone surrogate in a label cannot be written as UTF-8; the page shows a replacement.
    write_text(path, page.encode("utf-8", errors="replace").decode("utf-8"))
    return path


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([folder / "templates" for folder in _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_unbroken,
    ).get_template("tp2.html.j2")


def _unbroken(value: Any) -> Any:
    """Keep a number and its percent sign on one line."""
    return value.replace(" %", "\N{NO-BREAK SPACE}%") if isinstance(value, str) else value


def _bars(reference: dict[str, Any], results: RemedyResults) -> list[dict[str, Any]]:
    """The rows of the remedies: name, figures as text, and the recall in percent for a bar."""
    named = {"none: the reference": reference, **results.remedies, RIVAL: results.rival}
    return [
        {
            "name": name,
            "recall": percent(found["recall"]),
            "width": round(100 * (found["recall"] or 0.0), 1),
            "blocked": percent(found["false_positive_rate"]),
            "f1": _number(found["f1"]),
            "average_precision": _number(found["average_precision"]),
            "accuracy": percent(found["accuracy"]),
        }
        for name, found in named.items()
    ]


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
