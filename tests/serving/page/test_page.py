"""Verdicts, sliders, explanations and corrections on the page, in a real browser against a stand-in
that answers by the contract.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.serving.page.stand_in import TOPICS, Answers, PageServer
from tests.serving.page.steps import column, counts, done, drop, judge, saved

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
ATTACKS = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "</textarea></td></table><b id=owned>bold</b>",
    "\"><svg onload=document.title='owned'>",
    "&lt;b&gt; javascript:alert(1) {{7*7}} ${1}",
]
MIXED = [
    "sure spam p=.95",
    "spam by a hair p=.72",
    "nobody knows p=.55",
    "rather ham p=.30",
    "ham p=.02",
]


def test_the_models_own_verdicts_stay_and_the_sliders_judge_beside_them(page: Any) -> None:
    judge(page, *MIXED)
    own = ["spam", "spam", "unsure (label: ham)", "ham", "ham"]
    assert column(page, 3) == own
    header = page.get_by_role("columnheader", name="Verdict here")
    assert not header.is_visible() and "Verdict here" not in page.locator("#verdicts").inner_text()
    assert saved(page)[0][-3:] == ["P(spam)", "corrected to", "note"]
    table, rule = (page.locator(name).bounding_box()["y"] for name in ("#verdicts", "#rule"))
    assert table < rule, "verdicts come before the sliders"
    assert [text.split()[0] for text in column(page, 4)] == [
        "0.950",
        "0.720",
        "0.550",
        "0.300",
        "0.020",
    ]
    assert counts(page) == {"ham": 2, "spam": 2, "unsure": 1}
    page.get_by_label("spam from", exact=True).focus()
    page.keyboard.press("End")  # the band comes along: [0.9, 1]
    expect(page.locator("#counts")).to_contain_text("ham4")
    assert header.is_visible() and saved(page)[0][-3:] == ["verdict here", "corrected to", "note"]
    assert (
        column(page, 5) == ["unsure changed", "ham changed", "ham changed", "ham", "ham"]
        and column(page, 3) == own
    )
    assert counts(page) == {"ham": 4, "spam": 0, "unsure": 1, "changed by the sliders": 3}
    page.get_by_label("with an unsure band").uncheck()
    page.get_by_label("spam from, as a number").fill("0.30")
    expect(page.locator("#counts")).to_contain_text("spam4")
    assert column(page, 5)[3] == "spam changed", "a score at the threshold is positive"
    page.get_by_label("Show").select_option("changed by the sliders")
    assert column(page, 2) == MIXED[2:4]
    page.get_by_role("button", name="Reset to the model's values").click()
    expect(header).to_be_hidden()
    assert page.get_by_label("Show").input_value() == "", "its filter is gone with the column"
    assert counts(page) == {"ham": 2, "spam": 2, "unsure": 1} and len(column(page, 1)) == 5
    page.get_by_label("Order").select_option("nearest to the threshold first")
    assert column(page, 1) == ["3", "2", "4", "1", "5"]


def test_what_a_message_holds_stays_text(page: Any, answers: Answers) -> None:
    judge(page, *ATTACKS)
    assert column(page, 2) == ATTACKS == answers.sent()[-1]
    for number in range(len(ATTACKS)):
        page.get_by_role("button", name=f"Explain message {number + 1}", exact=True).click()
    page.locator(".why").nth(len(ATTACKS) - 1).wait_for()
    assert page.locator(".words").all_inner_texts() == ATTACKS
    rows = [["text", "label<i>"], *[[f"=cmd|{text}", text] for text in ATTACKS]]
    content = io.StringIO()
    csv.writer(content).writerows(rows)
    drop(page, "<b>bad.csv", content.getvalue().encode())
    page.get_by_role("button", name="Classify 5 messages").click()
    done(page, 5)
    assert column(page, 2) == [row[0] for row in rows[1:]]
    judge(page, "\n".join(ATTACKS), one=True)
    assert column(page, 2) == ["\n".join(ATTACKS)]
    assert (
        page.title() == "tamis"
        and page.locator("#owned, main script, main img, main b, main i").count() == 0
    )
    page.evaluate("document.querySelector('#texts').value = 'half \\ud83d of a pair'")
    page.get_by_role("button", name="Classify", exact=True).click()
    expect(page.locator(".message")).to_have_text(["half \ufffd of a pair"])
    done(page, 1)


def test_an_explanation_is_read_by_eye_pointer_and_keyboard(page: Any) -> None:
    text = "👨‍👩‍👧 call NOW  for a PRIZE p=.95"
    judge(page, text)
    why = page.get_by_role("button", name="Explain message 1")
    why.press("Enter")
    words = page.get_by_role("listbox")
    words.wait_for()
    assert why.get_attribute("aria-expanded") == "true" and words.inner_text() == text
    options = words.get_by_role("option")
    assert options.all_inner_texts() == text.split()
    shades = options.evaluate_all("spans => spans.map((s) => getComputedStyle(s).backgroundColor)")
    parts = [[float(part) for part in re.findall(r"[\d.]+", shade)] for shade in shades]
    weak, strong = [35, 105, 185, 0.118], [200, 55, 40, 0.7]
    wanted = [weak, weak, strong, weak, weak, strong, weak]
    # Versions of Chromium round the opacity differently.
    assert parts == [pytest.approx(shade, abs=0.005) for shade in wanted]
    assert (
        len(
            set(
                options.evaluate_all(
                    "spans => spans.map((s) => getComputedStyle(s).borderBottomStyle)"
                )
            )
        )
        == 2
    ), "not by colour alone"
    assert (
        options.nth(2).get_attribute("title")
        == "NOW: +1.50 for spam"
        == options.nth(2).get_attribute("aria-label")
    )
    options.first.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == "NOW"
    assert page.locator(".readout").inner_text() == "NOW: +1.50 for spam"
    assert words.locator('[tabindex="0"]').all_inner_texts() == ["NOW"]
    page.locator("summary", has_text="All words").press("Enter")
    page.locator("details table").first.locator(
        "tbody tr"
    ).first.wait_for()  # filled when it is opened, a moment later
    assert page.locator("details table").first.locator("tbody tr").all_inner_texts()[:3] == [
        "NOW\t+1.50",
        "PRIZE\t+1.50",
        "👨‍👩‍👧\t−0.25",
    ]
    curve = page.get_by_role("img")
    expected = (
        "P(spam) over 8 tokens: 0.100 after the first, 0.500 at the maximum, after “PRIZE” "
        "(token 7), and 0.500 at the end."
    )
    assert curve.get_attribute("aria-label").startswith(
        expected + " From token 3, “call”, on, the label is spam."
    )
    points = [
        float(point.split(",")[1])
        for point in curve.locator("polyline").get_attribute("points").split()
    ]
    assert (
        len(points) == 8
        and points[0] == points[2] > points[3] == points[5] > points[6] == points[7]
    )
    why.press("Enter")
    assert not words.is_visible()


def test_corrections_are_kept_told_and_undone(page: Any, answers: Answers) -> None:
    judge(page, "spam? no p=.95", "other p=.02", "spam? no p=.95")
    page.get_by_role("button", name="Correct to ham , message 1").click()
    told = page.locator(".told").first
    expect(told).to_have_text(
        "Correction 1 is saved: ham. Learnt 1 corrections. New prediction: ham, P(spam) 0.010; "
        "before: spam, P(spam) 0.950."
    )
    assert page.get_by_role("status").first.inner_text() == told.inner_text()
    assert answers.kept == {1: {"text": "spam? no p=.95", "label": "ham", "model": "sms"}}
    assert column(page, 3) == ["ham", "ham", "spam"] and "corrected to ham" in column(page, 6)[2]
    assert page.get_by_role("button", name="Classify again: the model has changed").is_visible()
    assert (
        page.evaluate("document.activeElement.textContent")
        == "Undo the correction to ham, message 1"
    )
    page.get_by_text("Stored on the server").click()
    caption = page.locator("#kept-list caption").inner_text()
    assert caption == "1 correction."
    assert re.split(r"\s*\t\s*", page.locator("#kept-list tbody tr").inner_text())[:4] == [
        "1",
        "spam? no p=.95",
        "ham",
        "yes",
    ]
    page.get_by_role("button", name="Undo the correction to ham, message 1").click()
    expect(told).to_contain_text(
        "Correction 1 is undone; its text is deleted. Learnt 0 corrections. New prediction: spam"
    )
    assert not answers.kept and column(page, 3) == ["spam", "ham", "spam"]
    page.get_by_role("button", name="Correct to spam , message 2").click()
    expect(page.locator(".told").nth(1)).to_contain_text(re.compile("New prediction: spam"))
    page.get_by_text("Stored on the server").click()
    page.get_by_text("Stored on the server").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Undo all corrections").click()
    expect(page.locator("#kept-list")).to_have_text("There are no corrections.")
    assert not answers.kept and "corrected to" not in "".join(column(page, 6))


def test_a_verdict_is_confirmed_beside_its_correction(page: Any, answers: Answers) -> None:
    judge(page, "right p=.95", "in doubt p=.55")
    page.get_by_role("button", name="Confirm spam , message 1").click()
    told = page.locator(".told").first
    expect(told).to_contain_text("Confirmation 1 is saved: spam. Learnt 1 corrections.")
    assert answers.kept == {1: {"text": "right p=.95", "label": "spam", "model": "sms"}}
    assert "confirmed as spam" in column(page, 6)[0]
    assert page.get_by_role("button", name=re.compile("^Confirm")).count() == 0, (
        "what is unsure has no verdict"
    )
    assert [
        page.get_by_role("button", name=f"Correct to {label} , message 2").count()
        for label in ("ham", "spam")
    ] == [1, 1]
    page.get_by_role("button", name="Undo the confirmation of spam, message 1").click()
    expect(told).to_contain_text("Correction 1 is undone")
    assert not answers.kept and "confirmed" not in column(page, 6)[0]


def test_where_texts_are_hidden_the_list_says_so(page: Any, answers: Answers) -> None:
    answers.hides_texts = True
    answers.keep({"text": "a secret", "label": "ham"})
    answers.keep({"text": "another", "label": "ham"})
    page.get_by_text("Stored on the server").click()
    expect(page.locator("#kept-list caption")).to_have_text(
        "2 corrections. This server does not show the texts."
    )
    assert "secret" not in page.content()
    rows = page.locator("#kept-list tbody tr").all_inner_texts()
    assert [re.split(r"\s*\t\s*", row)[:3] for row in rows] == [
        ["2", "ham", "no"],
        ["1", "ham", "yes"],
    ]


def test_an_empty_page_has_examples_to_click(
    page: Any, answers: Answers, server: PageServer
) -> None:
    assert not page.get_by_text("Or try an example").is_visible(), "none, if there are none"
    answers.examples = [
        {"text": "<b>win</b> p=.95", "verdict": "spam"},
        {"text": "two\nlines p=.02", "verdict": "ham"},
    ]
    page.goto(server.url)
    page.get_by_text("Or try an example").wait_for()
    assert page.locator("#examples button").all_inner_texts() == [
        "<b>win</b> p=.95",
        "two lines p=.02",
    ]
    page.locator("#examples button").nth(1).click()
    done(page, 1)
    assert answers.sent()[-1] == ["two\nlines p=.02"] and column(page, 3) == ["ham"]
    assert page.get_by_label("Paste messages").input_value() == "two\nlines p=.02"
    assert not page.locator("#examples").is_visible(), "they make room for messages"


def test_a_phone_has_two_columns_at_most(page: Any, answers: Answers, server: PageServer) -> None:
    answers.examples = [{"text": f"example {n} p=.9", "verdict": "spam"} for n in range(4)]
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(server.url)
    page.get_by_text("Or try an example").wait_for()
    assert most_columns(page) <= 2
    judge(page, *MIXED)
    answers.keep({"text": "a correction with a long text " * 5, "label": "ham"})
    page.get_by_label("spam from", exact=True).focus()
    page.keyboard.press("End")
    page.get_by_text("Stored on the server").click()
    page.locator("#kept-list table").wait_for()
    assert most_columns(page) <= 2
    page.set_viewport_size({"width": 1_200, "height": 844})
    assert most_columns(page) > 2, "the measure sees columns"


def most_columns(page: Any) -> int:
    """Most boxes of texts and controls that stand side by side in lists, tables and button rows."""
    return int(
        page.locator(
            "#counts, .tools, #verdicts tbody tr, #verdicts td, .actions, .slider, "
            "#example-list, #kept-list tbody tr, #kept-list td"
        ).evaluate_all(
            """boxes => Math.max(...boxes.map((box) => {
              let parts = [...box.children].flatMap((part) =>
                getComputedStyle(part).display === "contents" ? [...part.children] : [part]);
              parts = parts.map((part) => part.getBoundingClientRect())
                .filter((r) => r.width > 1 && r.height > 1);
              const before = getComputedStyle(box, "::before").content === "none" ? 0 : 1;
              const most = Math.max(0, ...parts.map((one) =>
                new Set(parts.filter((r) => r.top < one.bottom - 2 && r.bottom > one.top + 2)
                  .map((r) => Math.round(r.left))).size));
              return most + (most ? before : 0);
            }))"""
        )
    )


def test_a_model_of_many_classes_has_no_sliders_and_is_one_of_several(
    page: Any, answers: Answers, server: PageServer
) -> None:
    answers.models["topics"] = TOPICS
    page.goto(server.url)
    page.wait_for_selector("#model:enabled")
    judge(page, "wake me p=.95", "play p=.02", "well p=.36")
    page.get_by_label("Model", exact=True).select_option("topics")
    expect(page.locator("#verdicts")).to_contain_text("alarm")
    done(page, 3)
    assert not page.locator("#rule").is_visible() and column(page, 3) == [
        "alarm",
        "music",
        "unsure (label: alarm)",
    ]
    assert (
        column(page, 4) == ["0.950", "0.490", "0.360"] and answers.asked[-1][2]["model"] == "topics"
    )
    assert counts(page) == {"alarm": 1, "music": 1, "weather": 0, "unsure": 1}
    page.get_by_label("Order").select_option("least certain first")
    assert column(page, 1) == ["3", "2", "1"]
    page.get_by_label("Correct label, message 2").select_option("weather")
    page.get_by_role("button", name="Correct , message 2").click()
    expect(page.locator(".told").nth(1)).to_contain_text("Correction 1 is saved: weather.")
    page.get_by_role("button", name="Explain message 1").click()
    page.locator(".words").wait_for()
    assert saved(page)[0] == [
        "text",
        "label",
        "verdict",
        "P(alarm)",
        "P(music)",
        "P(weather)",
        "corrected to",
        "note",
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1_100), ("dark", 360)])
def test_it_fits_a_phone_follows_the_scheme_and_can_be_read_by_everyone(
    page: Any, answers: Answers, scheme: str, width: int
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 700})
    judge(page, *MIXED, "unbroken" * 100)
    page.get_by_role("button", name="Explain message 1").click()
    page.locator(".words").wait_for()
    drop(page, "a.csv", b"text,label\n" + b"x" * 500 + b",ham\n")
    answers.keep({"text": "a", "label": "ham"})
    for unfolded in ("All words", "All tokens", "Stored on the server"):
        page.locator("summary", has_text=unfolded).click()
    page.locator("#kept-list table").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = [
        int(part)
        for part in re.findall(
            r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor")
        )
    ]
    assert (min(ground) > 200) is (scheme == "light") and (max(ground) < 60) is (scheme == "dark")
    # Every field and button has a name; the whole set of rules where axe-core is at hand.
    tree = page.locator("body").aria_snapshot()
    assert not re.findall(
        r"- (?:button|textbox|combobox|slider|spinbutton|checkbox|radio|link)(?: \[|:|$)",
        tree,
        flags=re.MULTILINE,
    ), tree
    assert {"banner", "main", "contentinfo"} <= set(re.findall(r"- (\w+)", tree))
    axe = os.environ.get("AXE_CORE")
    if axe:
        found = page.evaluate(Path(axe).read_text(encoding="utf-8") + "; axe.run()")
        serious = [
            (rule["id"], rule["nodes"][0]["html"])
            for rule in found["violations"]
            if rule["impact"] in ("serious", "critical")
        ]
        assert not serious, json.dumps(serious, indent=2)
