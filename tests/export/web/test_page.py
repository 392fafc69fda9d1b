"""The page classifies as Python does, on any file server and as a file, and asks for nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import runs
from tests.export import exported
from tests.export.web.conftest import page_folder
from tests.rows import messages

TEXTS = [text for _, text in messages()][:60]
SPAM = "URGENT! Your number won a £900 prize. Call 0900 555 019 NOW, code T9"
Open = Callable[..., Any]
CLASSIFY = """async texts => {
  const found = [];
  for (const text of texts) found.push(await tamis.classifier.classify(text));
  return found;
}"""


def compare(page: Any, kind: str, *, int8: bool, most: float) -> None:
    classifier, texts = exported.onnx(kind, int8=int8), [*TEXTS, *exported.ODD]
    theirs = page.evaluate(CLASSIFY, texts)
    expected = classifier.verdicts(texts)
    labels = [str(label) for label in classifier.classes_]
    ours = np.array([[one.probabilities[label] for label in labels] for one in expected])
    found = np.array([[one["probabilities"][label] for label in labels] for one in theirs])
    assert np.abs(ours - found).max() < most
    assert found[:, 0].std() > 1e-4
    for text, one, other in zip(texts, expected, theirs, strict=True):
        assert (one.label, one.verdict, text) == (other["label"], other["verdict"], other["text"])
        number, of = (one.window.number, one.window.of) if one.window else (0, 1)
        if of > 1:
            assert (number, of) == (other["window"], other["windows"])
        else:
            assert other["windows"] == 1


SLOW = ("nfkc", "three", "last_position", "last_token", "attention")


@pytest.mark.parametrize(
    "kind", ["mean", "no_bos", *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW)]
)
def test_verdicts_and_probabilities_are_those_of_python(kind: str, opened: Open) -> None:
    compare(opened(page_folder(kind)), kind, int8=False, most=1e-4)


@pytest.mark.slow
def test_so_are_those_of_eight_bits(opened: Open) -> None:
    compare(opened(page_folder("mean", int8=True)), "mean", int8=True, most=2e-3)


@pytest.mark.parametrize("way", ["file", "server"])
def test_what_is_typed_is_classified(way: str, opened: Open, served: Callable[[Path], str]) -> None:
    folder = page_folder("mean")
    page = opened(folder if way == "file" else served(folder))
    page.locator("#text").fill(SPAM)
    page.locator("#status").get_by_text("Computed here").wait_for()
    (expected,) = exported.onnx("mean").verdicts([SPAM])
    assert page.locator("#verdict").inner_text() == expected.verdict
    shown = page.locator("#bars .bar").all_inner_texts()
    percent = f"{100 * expected.probabilities['spam']:.1f} %"
    assert any("spam" in row and percent in row for row in shown)
    page.locator("#clear").click()
    page.locator("#single").wait_for(state="hidden")


def test_each_line_is_a_message_on_request(opened: Open) -> None:
    page = opened(page_folder("mean"))
    page.locator("#lines").check()
    texts = [SPAM, "see you at six", "<b>not bold</b>"]
    page.locator("#text").fill("\n".join([texts[0], "", *texts[1:]]))
    page.locator("#counts .tag").first.wait_for()
    assert page.locator("#rows .text").all_inner_texts() == texts
    said = page.locator("#rows .tag").all_inner_texts()
    assert said == [one.verdict for one in exported.onnx("mean").verdicts(texts)]
    with page.expect_download() as download:
        page.locator("#save").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0] == '"text","label","verdict","p_ham","p_spam"' and len(lines) == 4
    assert lines[3].startswith('"<b>not bold</b>","')


def test_lines_that_are_left_out_are_counted(opened: Open) -> None:
    page = opened(page_folder("mean"))
    page.locator("#lines").check()
    page.evaluate(
        "tamis.classifier.classify = async (text) => ({ text, label: 'ham', verdict: 'ham',"
        " probabilities: { ham: 1, spam: 0 }, window: 0, windows: 1 })"
    )
    page.locator("#text").fill("\n".join(map(str, range(2003))))
    page.locator("#status").get_by_text("3 lines were left out").wait_for()
    assert page.locator("#counts .tag").all_inner_texts() == ["2000 ham"]


def test_a_file_is_read_in_the_page(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "mail.txt").write_text(SPAM, encoding="utf-8")
    page = opened(page_folder("mean"))
    page.locator("#file").set_input_files(tmp_path / "mail.txt")
    page.locator("#single").wait_for()
    assert page.locator("#text").input_value() == SPAM


def test_the_browser_lets_the_page_send_nothing(
    opened: Open, served: Callable[[Path], str]
) -> None:
    folder = page_folder("mean")
    address = served(folder)
    page = opened(address)
    page.wrong.clear()
    for where in (address + "style.css", "https://example.com/"):
        said = page.evaluate("url => fetch(url).then(() => 'sent', error => error.name)", where)
        assert said == "TypeError"
    assert any("Content Security Policy" in text for text in page.wrong)
    page.wrong.clear()


def test_a_folder_that_was_not_copied_whole_says_so(opened: Open, tmp_path: Path) -> None:
    copy = runs.copy_of(page_folder("mean"), tmp_path / "page")
    (copy / "data" / "model.js").unlink()
    page = opened(copy, ready="The model could not be loaded")
    assert "data/model.js is missing; copy the whole folder" in page.locator("#status").inner_text()
    page.wrong.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_scrolling_to_the_side(scheme: str, opened: Open) -> None:
    page = opened(page_folder("three"))
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.locator("#text").fill("x" * 500)
    page.locator("#single").wait_for()
    page.locator("summary").click()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390


def test_the_page_names_labels_and_threshold(opened: Open) -> None:
    page = opened(page_folder("mean"))
    assert page.title() == "Is it ham or spam?"
    page.locator("summary").click()
    told = page.locator("#about").inner_text()
    threshold = exported.onnx("mean").rule_.threshold
    assert threshold is not None
    assert f"spam from {100 * threshold:.1f} %" in told and "scratch:tiny" in told
