"""report.html in a real browser: the slider counts, the filter finds, nothing leaves the page, and
it fits a phone in light and dark.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.decision.reject_band import confidence_floor
from tamis.decision.thresholds import choose_threshold
from tamis.evaluation.report import plots
from tamis.evaluation.report.live_scores import live_scores
from tamis.evaluation.report.next_steps import next_steps
from tamis.evaluation.report.render_html import MOST_MISTAKES, render, write_html
from tamis.evaluation.report.report import (
    Part,
    ReportInputs,
    build_report,
    most_confident_mistakes,
)
from tamis.evaluation.report.robustness_plot import write_robustness
from tamis.evaluation.robustness import evaluate_robustness

EVIL = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\"> 'single' \"double\" &lt;",
    "\u202etxt.exe\u202d <b id=owned>",
    "]]> --> {{ 7*7 }} \\u003c\u2028 NUL\0",
    "unbroken" * 120,
]
CLASSES = ["ham", "spam"]
PATIENCE_MS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if chromium is None:
        pytest.skip("there is no chromium on this machine (Debian: apt install chromium)")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=chromium, chromium_sandbox=False)
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Open a file; the test fails where a script fails, or the page breaks its own policy or asks
    for anything but itself.
    """
    wrong: list[str] = []
    pages = []

    def visit(path: Path, **options: Any) -> Any:
        found = browser.new_page(**options)
        pages.append(found)
        found.set_default_timeout(PATIENCE_MS)
        found.on("pageerror", lambda error: wrong.append(str(error)))
        found.on("console", lambda message: wrong.append(message.text))
        address = path.resolve().as_uri()
        found.on(
            "request",
            lambda request: (
                wrong.append(request.url[:80])
                if not request.url.startswith((address, "data:"))
                else None
            ),
        )
        found.goto(address)
        return found

    yield visit
    for page in pages:
        page.close()
    assert not wrong, wrong


def two(scores: np.ndarray) -> np.ndarray:
    return np.stack([1 - scores, scores], axis=1)


class Evaluation:
    """A made-up evaluation of 300 messages, a few of them evil."""

    def __init__(self, rows: int = 300) -> None:
        generator = np.random.default_rng(7)
        self.truth = generator.random(rows) < 0.3
        noise = generator.normal(size=rows) * 2
        self.scores = 1 / (1 + np.exp(-np.where(self.truth, 2, -2) - noise))
        self.labels = [CLASSES[int(value)] for value in self.truth]
        self.texts = [f"Message {i} für dich" if i % 2 else EVIL[i // 2 % 5] for i in range(rows)]
        self.part = Part(self.labels, two(self.scores), self.texts)
        other = 1 / (1 + np.exp(-np.where(self.truth, 2, -2) - noise * 1.3))
        inputs = ReportInputs(
            classes=CLASSES,
            positive="spam",
            split="leakfree",
            backbone="nano",
            tune="head",
            data="sms",
            test=self.part,
            threshold=choose_threshold(self.scores, self.truth, max_fpr=None),
            baselines={"tfidf": two(other)},
            timing={"data": 0.5, "train": 72.0, "device": "cpu"},
        )
        self.report = build_report(inputs, bootstrap=2)

    def counts(self, threshold: float) -> list[int]:
        """Caught, missed, blocked, passed."""
        flagged = self.scores >= threshold
        return [
            int((flagged & self.truth).sum()),
            int((~flagged & self.truth).sum()),
            int((flagged & ~self.truth).sum()),
            int((~flagged & ~self.truth).sum()),
        ]

    def write(self, path: Path, drawn: dict[str, Path] | None = None, **options: Any) -> Path:
        mistakes = most_confident_mistakes(
            self.part,
            CLASSES,
            positive="spam",
            threshold=self.report["threshold"],
            limit=MOST_MISTAKES,
        )
        live = live_scores(self.part, self.report, **options)
        return write_html(path, self.report, drawn or {}, mistakes, live)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return Evaluation()


def column(page: Any, number: int) -> list[int]:
    cells = page.locator(f".live tbody td:nth-child({number + 1})").all_inner_texts()
    return [int(cell.replace(",", "").replace("\u2212", "-")) for cell in cells]


def test_the_slider_begins_at_the_model_and_counts(
    opened: Any, evaluation: Evaluation, tmp_path: Path
) -> None:
    page = opened(evaluation.write(tmp_path / "report.html"))
    own = evaluation.counts(evaluation.report["threshold"])
    (passed, blocked), (missed, caught) = evaluation.report["test"]["confusion"]
    assert column(page, 1) == own == [caught, missed, blocked, passed]
    assert column(page, 2) == list(evaluation.report["summary"]["model"].values())
    assert column(page, 3) == [0, 0, 0, 0]
    slider, number = page.get_by_label("Threshold", exact=True), page.get_by_label("as a number")
    for value in (0.0, 0.013, 0.5, 0.9, 0.9987, 1.0):
        number.fill(str(value))
        found = evaluation.counts(value)
        assert column(page, 1) == found
        assert column(page, 3) == [new - old for new, old in zip(found, own, strict=True)]
        assert sum(column(page, 2)) == 1000
        recall = 100 * found[0] / (found[0] + found[1])
        assert f"Recall {recall:.1f} %" in page.locator("#tamis-told").inner_text() or recall < 10
    slider.focus()
    page.keyboard.press("Home")
    assert column(page, 1) == evaluation.counts(0.0) and number.input_value() == "0"
    page.keyboard.press("End")
    assert column(page, 1) == evaluation.counts(1.0)
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    value = float(number.input_value())
    assert 0.5 < value < 1 and column(page, 1) == evaluation.counts(value)
    assert slider.get_attribute("aria-valuetext").startswith(f"{value:g}. Recall ")
    page.get_by_role("button", name="Reset to the model").press("Enter")
    assert column(page, 1) == own


def test_the_slider_of_many_classes_is_a_confidence(opened: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(3, size=90)
    logits = generator.normal(size=(90, 3)) + 1.5 * np.eye(3)[truth]
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right, top = chances.argmax(axis=1) == truth, chances.max(axis=1)
    part = Part([["a", "b", "c"][i] for i in truth], chances)
    floor = confidence_floor(chances, right, 0.2)
    inputs = ReportInputs(
        classes=["a", "b", "c"],
        positive=None,
        split="s",
        backbone="nano",
        tune="full",
        test=part,
        unsure=floor,
    )
    report = build_report(inputs, bootstrap=2)
    path = write_html(tmp_path / "many.html", report, {}, [], live_scores(part, report))
    page = opened(path)
    assert floor is not None
    for value in (None, 0.0, 0.6):
        if value is not None:
            page.get_by_label("as a number").fill(str(value))
        sure = top >= (floor.value if value is None else value)
        assert column(page, 1) == [
            int((sure & right).sum()),
            int((~sure & right).sum()),
            int((sure & ~right).sum()),
            int((~sure & ~right).sum()),
        ]


def test_very_many_rows_are_thinned_and_said(
    opened: Any, evaluation: Evaluation, tmp_path: Path
) -> None:
    assert "To keep the page small" not in render(
        evaluation.report, {}, [], live=live_scores(evaluation.part, evaluation.report)
    )
    live = live_scores(evaluation.part, evaluation.report, most=60)
    assert live is not None and len(live["upper"]) <= 30 and len(live["lower"]) <= 30
    assert sum(live["rows"]) == 300
    page = opened(evaluation.write(tmp_path / "few.html", most=60))
    assert "of the 300 scores, spread evenly" in " ".join(
        page.locator(".live").inner_text().split()
    )
    own = evaluation.counts(evaluation.report["threshold"])
    shown = column(page, 1)
    assert sum(shown) == 300 and max(abs(a - b) for a, b in zip(shown, own, strict=True)) <= 8


def test_rounded_scores_stay_on_their_side_of_the_threshold() -> None:
    scores = np.array([0.1234564, 0.1234566, 0.9])
    part = Part(["ham", "spam", "spam"], two(scores))
    for threshold, above in ((0.12345655, [2, 0]), (0.12345635, [2, 1]), (0.1234567, [1, 0])):
        inputs = ReportInputs(
            classes=CLASSES,
            positive="spam",
            split="s",
            backbone="b",
            tune="full",
            test=part,
            threshold=threshold,
        )
        live = live_scores(part, build_report(inputs, bootstrap=1))
        assert live is not None
        sides = [sum(one >= live["start"] for one in live[key]) for key in ("upper", "lower")]
        assert sides == above


def test_mistakes_are_filtered_by_text_and_kind(
    opened: Any, evaluation: Evaluation, tmp_path: Path
) -> None:
    page = opened(evaluation.write(tmp_path / "report.html"))
    wrong = [
        (label, text)
        for label, text, score in zip(
            evaluation.labels, evaluation.texts, evaluation.scores, strict=True
        )
        if (score >= evaluation.report["threshold"]) != (label == "spam")
    ]
    rows = page.locator(".mistakes tbody tr:visible")
    assert rows.count() == len(wrong) > 20
    find, kind = page.get_by_label("Find in the texts"), page.get_by_label("Show", exact=True)
    find.fill("FÜR dich")
    fitting = [label for label, text in wrong if "für dich" in text]
    assert 0 < rows.count() == len(fitting) < len(wrong)
    assert page.locator("#tamis-found").inner_text() == f"{len(fitting)} of {len(wrong)} shown"
    missed = fitting.count("spam")
    kind.select_option(
        label=next(
            text for text in kind.locator("option").all_inner_texts() if text.startswith("spam, ")
        )
    )
    assert 0 < rows.count() == missed < len(fitting)
    find.fill("no text has this")
    assert rows.count() == 0
    find.fill("")
    kind.select_option("")
    assert rows.count() == len(wrong)


def test_texts_stay_texts(opened: Any, evaluation: Evaluation, tmp_path: Path) -> None:
    page = opened(evaluation.write(tmp_path / "report.html"))
    shown = page.locator(".mistakes td.message span").all_text_contents()
    for text in EVIL[:4]:
        assert text.replace("\0", "\ufffd") in shown
    assert page.title() == "sms: ham / spam"
    assert page.locator("#owned, main img[src=x]").count() == 0
    assert page.locator("script").count() == 2, "the scores and the script of the page"
    directions = page.locator(".mistakes td.message span").evaluate_all(
        "all => all.map((one) => [one.dir, getComputedStyle(one).unicodeBidi])"
    )
    assert {tuple(one) for one in directions} == {("auto", "isolate")}


def test_the_policy_forbids_other_scripts(evaluation: Evaluation, tmp_path: Path) -> None:
    page = evaluation.write(tmp_path / "report.html").read_text(encoding="utf-8")
    policy = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert len(policy) == 1 and "default-src 'none'" in policy[0]
    assert "script-src 'sha256-" in policy[0] and "http" not in policy[0]
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)


def test_labels_cannot_end_the_script() -> None:
    names = ["</script><script>alert(1)</script>", "<!--"]
    part = Part([names[0], names[1]], two(np.array([0.2, 0.9])))
    inputs = ReportInputs(
        classes=names, positive=names[1], split="s", backbone="b", tune="full", test=part
    )
    report = build_report(inputs, bootstrap=1)
    page = render(report, {}, [], live=live_scores(part, report))
    assert page.count("<script") == page.count("</script>") == 2
    scores = re.findall(r'id="tamis-scores">(.*?)</script>', page, flags=re.DOTALL)
    assert json.loads(scores[0])["positive"] == names[1]


def test_without_script_everything_else_is_there(
    opened: Any, evaluation: Evaluation, tmp_path: Path
) -> None:
    page = opened(evaluation.write(tmp_path / "report.html"), java_script_enabled=False)
    assert not page.locator(".live").is_visible() and not page.locator(".filters").is_visible()
    assert page.locator(".mistakes tbody tr").first.is_visible()
    assert page.locator(".answer .first").is_visible()


def test_a_notebook_gets_no_script(evaluation: Evaluation) -> None:
    live = live_scores(evaluation.part, evaluation.report)
    shown = render(evaluation.report, {}, [], live=live, notebook=True)
    assert "<script" not in shown and "<input" not in shown
    assert "Of 1,000 messages like these" in shown


@pytest.fixture(scope="module")
def full(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything that a page can show."""
    folder = tmp_path_factory.mktemp("full")
    generator = np.random.default_rng(1)
    history = [
        {"step": i, "epoch": i / 20, "loss": 1 / (1 + i / 9), "accuracy": min(1, 0.8 + i / 300)}
        for i in range(61)
    ]
    drawn = plots.write_all(
        folder / "plots",
        plots.PlotData(
            CLASSES,
            "spam",
            evaluation.report["threshold"],
            evaluation.labels,
            two(evaluation.scores),
            {"tfidf": two(generator.random(300))},
            history=history,
        ),
    )
    results = evaluate_robustness(
        lambda texts: generator.random(len(texts)),
        evaluation.texts,
        evaluation.truth,
        threshold=0.5,
        seed=1,
    )
    drawn["robustness"] = write_robustness(folder / "robustness.png", results, positive="spam")
    report = evaluation.report | {"robustness": [result.to_dict() for result in results]}
    examples = [{"score": 9.0, "label": "ham", "text": text} for text in EVIL]
    report["ood"] = {"flagged": 9, "n": 100, "share": 0.09, "examples": examples}
    report["confusions"] = [{"label": "ham", "predicted": "spam", "rows": 7, "share": 0.1}]
    report["warnings"] = ["A warning with a long word: " + "w" * 90]
    report["next_steps"] = next_steps(report)
    mistakes = most_confident_mistakes(
        evaluation.part, CLASSES, positive="spam", threshold=report["threshold"], limit=500
    )
    live = live_scores(evaluation.part, report)
    return write_html(folder / "report.html", report, drawn, mistakes, live)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width_in_both_schemes(opened: Any, full: Path, scheme: str) -> None:
    page = opened(full, color_scheme=scheme)
    for width in (1100, 700, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not clipped(page), f"cut off, or to be scrolled sideways, at {width} pixels"
        check_by_axe(page)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = min(int(part) for part in re.findall(r"\d+", ground)) > 200
    assert light is (scheme == "light")
    filtered = page.locator("main img").first.evaluate("one => getComputedStyle(one).filter")
    assert ("invert" in filtered) is (scheme == "dark"), "a dark page has dark plots"


def clipped(page: Any) -> list[str]:
    """Elements that are wider than the window or their own box."""
    found: list[str] = page.evaluate(
        """[...document.querySelectorAll("main *")].filter((one) =>
        !one.closest("thead, [hidden]") && getComputedStyle(one).display !== "inline"
        && !["INPUT", "SELECT", "OPTION"].includes(one.tagName)
        && (one.getBoundingClientRect().right > innerWidth + 0.5
            || (one.scrollWidth > one.clientWidth + 1 && one.clientWidth))).map((one) =>
        one.tagName + "." + one.className + one.textContent.slice(0, 40))"""
    )
    return found


def check_by_axe(page: Any) -> None:
    """The whole set of rules, where axe-core is at hand."""
    axe = os.environ.get("AXE_CORE")
    if axe:
        found = page.evaluate(Path(axe).read_text(encoding="utf-8") + "; axe.run()")
        assert not [
            (rule["id"], rule["impact"], rule["nodes"][0]["html"]) for rule in found["violations"]
        ]


def test_plots_stand_side_by_side_without_holes(opened: Any, full: Path) -> None:
    page = opened(full, viewport={"width": 1100, "height": 800})
    boxes = page.locator(".plots figure").evaluate_all(
        "all => all.map((one) => { const box = one.getBoundingClientRect();"
        "return [one.className, box.left, box.top, box.width,"
        "one.querySelector('img').getBoundingClientRect().height]; })"
    )
    assert [box[0] for box in boxes] == ["", "", "", "", "beside", "wide"]
    whole = boxes[-1][3]
    for first, second in ((boxes[0], boxes[1]), (boxes[2], boxes[3])):
        assert first[2] == second[2] and first[1] < second[1], "one row"
        assert first[4] == pytest.approx(second[4], abs=1), "of one height"
        assert first[3] + second[3] == pytest.approx(whole, abs=40)
    assert boxes[4][3] == whole, "the last of an odd number has its caption beside it"
