"""tp2.html: everything is on it, it asks for nothing, and it is read on a phone and in the dark."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tamis.workflows.reproduce_tp2.lesson import Lesson
from tamis.workflows.reproduce_tp2.page import write_page
from tamis.workflows.reproduce_tp2.plots import DARK, LIGHT, PLOTS, Curves, write_plots
from tamis.workflows.reproduce_tp2.questions import QUESTIONS
from tamis.workflows.reproduce_tp2.remedies import EXACT_NAME, REMEDIES, TOGETHER, RemedyResults
from tamis.workflows.reproduce_tp2.table_rows import Row

ODD = "<script>alert(1)</script> & 5 %"
LONG = "https://archive.example/" + "x" * 150


def point(step: int, recall: float | None) -> dict[str, Any]:
    shares = {"accuracy": 0.8, "recall": recall}
    return {"step": step, "loss": 0.7, "train": shares, "test": shares}


CURVES = Curves(
    [point(0, 0.3), point(7, 0.1), point(14, 0.2)],
    [{"step": n, "rows": 16, "loss": 0.5 + n / 100, "accuracy": 0.9} for n in range(1, 15)],
    "spam",
    "ham",
    0.87,
    2,
)
FIGURES = {
    "accuracy": 0.8,
    "recall": 0.25,
    "false_positive_rate": 0.01,
    "f1": 0.4,
    "average_precision": None,
}


def lesson() -> Lesson:
    rows = [Row(key, ODD, LONG, LONG, False) for q in QUESTIONS for key in q.keys]
    answers = {key: [f"Answer to {key}: {ODD}", LONG] for q in QUESTIONS for key in q.keys}
    names = (*REMEDIES, TOGETHER, EXACT_NAME)
    tried = RemedyResults(dict.fromkeys(names, FIGURES), FIGURES)
    cards = [("Recall of spam", "20.0 %", "reported: 0 %")]
    return Lesson(ODD, "nano", rows, answers, [f"Get {LONG}"], CURVES, cards, FIGURES, tried)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return write_page(folder / "tp2.html", lesson(), write_plots(folder, CURVES))


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\xa0", " ")


def test_questions_answers_figures_and_plots_are_on_the_page(path: Path) -> None:
    page = Page(path.read_text(encoding="utf-8"))
    text = " ".join(page.text.split())
    for question in QUESTIONS:
        assert f"Question {question.number}: {question.title}" in text
        assert question.french in text and question.english in text
        for key in question.keys:
            assert f"Answer to {key}: {ODD}" in text
    assert sum(attributes.get("lang") == "fr" for _, attributes in page.tags) == 20
    for name in (*REMEDIES, TOGETHER, EXACT_NAME, "none: the reference"):
        assert name in text
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["alt"] for image in images] == list(PLOTS.values())
    for name, image in zip(PLOTS, images, strict=True):
        data = (image["src"] or "").removeprefix("data:image/png;base64,")
        assert base64.b64decode(data) == (path.parent / f"{name}.png").read_bytes()
    dark = [attributes for tag, attributes in page.tags if tag == "source"]
    assert len(dark) == 3 and all("dark" in str(found["media"]) for found in dark)


def test_the_page_is_self_contained_and_escapes_what_the_user_gave(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    page = Page(content)
    assert "<script" not in content and content.lstrip().startswith("<!doctype html>")
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object")
        for name in ("src", "href", "srcset"):
            if attributes.get(name):
                assert re.match(r"data:image/png|#question-\d+$", str(attributes[name]))
    assert "url(" not in content and "@import" not in content
    targets = {attributes.get("id") for _, attributes in page.tags}
    links = {str(a["href"])[1:] for tag, a in page.tags if tag == "a"}
    assert len(links) == 10 and links <= targets
    assert unescape("&lt;script&gt;") in page.text


def test_a_label_that_is_no_valid_text_is_replaced(tmp_path: Path) -> None:
    found = lesson()
    broken = Lesson(**{**vars(found), "data": "a\udc80b"})
    page = write_page(tmp_path / "tp2.html", broken, write_plots(tmp_path, CURVES))
    assert "a?b" in page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if chromium is None:
        pytest.skip("there is no chromium on this machine (Debian: apt install chromium)")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(
            executable_path=chromium, headless=True, chromium_sandbox=False
        )
        yield found
        found.close()


CLIPPED = """() => [...document.querySelectorAll('main *')].filter(e => {
  const box = e.getBoundingClientRect();
  const hidden = getComputedStyle(e).clipPath !== 'none' || e.closest('thead');
  return !hidden && box.width && (box.right > innerWidth + 1 || box.left < -1);
}).map(e => e.outerHTML.slice(0, 80))"""
CONTRAST = """() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ink = channels(getComputedStyle(document.body).color);
  const paper = channels(getComputedStyle(document.body).backgroundColor);
  const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
  return {contrast: (a + .05) / (b + .05), paper};
}"""


@pytest.mark.parametrize("width", [390, 320, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_clipped_and_colours_follow_the_display(
    path: Path, browser: Any, width: int, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CLIPPED) == []
    seen = page.evaluate(CONTRAST)
    paper = (LIGHT if scheme == "light" else DARK).paper.removeprefix("#")
    assert seen["contrast"] > 7 and bytes(seen["paper"]) == bytes.fromhex(paper)
    shown = page.evaluate("[...document.images].map(i => i.currentSrc)")
    light = page.evaluate("[...document.images].map(i => i.src)")
    assert len(shown) == 3 and (shown == light) == (scheme == "light")
    assert not wrong, wrong
    context.close()
