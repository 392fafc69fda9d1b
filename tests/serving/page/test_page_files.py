"""Files in and out, many texts, refusals and keys; and the page before the server itself."""

from __future__ import annotations

import csv
import io
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from tamis.serving.api_keys import Keys
from tamis.serving.app import create_app
from tamis.serving.routes.admin import INDEX, static_files
from tamis.serving.server import listen, url
from tamis.serving.server import server as server_of
from tests.serving import served
from tests.serving.page.stand_in import Answers, PageServer
from tests.serving.page.steps import column, counts, done, drop, judge, saved

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


def test_tables_are_read_as_they_are_meant(page: Any, answers: Answers) -> None:
    quoted = 'id;Message\r\n1;"two\r\nlines; ""quoted"" p=.9"\r\n2;\r\n3;"short"\r\n4\r\n'
    drop(page, "semicolons.csv", b"\xef\xbb\xbf" + quoted.encode())
    assert page.get_by_label("Text column").locator("option:checked").inner_text() == "Message"
    expect(page.locator("#table-note")).to_have_text(
        "1 row without that column; the text is taken as empty."
    )
    page.get_by_role("button", name="Classify 4 messages").click()
    done(page, 4)
    assert answers.sent()[-1] == ['two\r\nlines; "quoted" p=.9', "", "short", ""]
    assert saved(page)[1][:4] == ["1", 'two\r\nlines; "quoted" p=.9', "spam", "spam"]
    # Tabs between, quotes that belong to the texts, no header; the longest cells are the texts.
    lines = ['ham\t"yes" he said, "no"', 'ham\t"Whole message in quotes"', 'spam\tan open " quote']
    drop(page, "SMSSpamCollection", "\n".join(lines).encode())
    page.get_by_role("button", name="Classify 3 messages").click()
    done(page, 3)
    assert answers.sent()[-1] == [line.partition("\t")[2] for line in lines]
    drop(page, "windows.txt", "café, at 5€\r\n\r\n  \r\nnext".encode("cp1252"))
    expect(page.locator("#table-note")).to_have_text(
        "The file is not UTF-8 and was read as Windows-1252."
    )
    assert page.locator("#preview td").all_inner_texts() == ["café, at 5€", "next"]
    page.get_by_label("Format").select_option("a single message")
    page.get_by_role("button", name="Classify 1 message").click()
    done(page, 1)
    assert answers.sent()[-1] == ["café, at 5€\r\n\r\n  \r\nnext"]
    drop(page, "broken.csv", b'text\nfine\n"never closed\n')
    expect(page.locator("#table-note")).to_contain_text("Row 3 opens a quote that is never closed.")
    page.get_by_label("quotes enclose cells").uncheck()
    assert page.locator("#preview td").all_inner_texts() == ["fine", '"never closed']
    page.get_by_role("button", name="Remove the file").click()
    transfer = page.evaluate_handle("new DataTransfer()")
    transfer.evaluate("held => held.items.add(new File(['dropped\\nhere'], 'dropped.txt'))")
    page.dispatch_event("footer", "drop", {"dataTransfer": transfer})
    expect(page.get_by_role("button", name="Classify 2 messages")).to_be_visible()


def test_a_saved_table_holds_no_formula(page: Any) -> None:
    starts = ["=1+1", "+44 1", "-5", "@me", "\tx", "fine = + - @", 'a "b", c', "\uff1dSUM(A1)"]
    content = io.StringIO()
    csv.writer(content).writerows([["text", "=name"], *[[start, start] for start in starts]])
    drop(page, "formulas.csv", content.getvalue().encode())
    page.get_by_role("button", name="Classify 8 messages").click()
    done(page, 8)
    names, *rows = saved(page)
    assert names == [
        "text",
        "'=name",
        "label",
        "verdict",
        "P(ham)",
        "P(spam)",
        "corrected to",
        "note",
    ]
    safe = [f"'{start}" if start[0] in "=+-@\t\uff1d" else start for start in starts]
    assert rows == [[text, text, "ham", "ham", "0.75", "0.25", "", ""] for text in safe]


def test_many_texts_go_in_parts_that_can_be_stopped_and_gone_on_with(
    page: Any, answers: Answers
) -> None:
    texts = [f"text {number} p=.{number % 10}" for number in range(1_300)]
    drop(page, "many.txt", "\n".join(texts).encode())
    answers.hold = threading.Event()
    page.get_by_role("button", name="Classify 1,300 messages").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#work-text")).to_have_text(
        "Stopped. 0 of 1,300 messages classified; the results so far are kept."
    )
    assert page.evaluate("document.activeElement.id") == "go-on"
    answers.hold.set()
    # A busy server twice, then a fault: what is judged by then stays.
    answers.refusals.extend(
        [
            ("/v1/predict", 429, {"Retry-After": "0.2"}),
            ("/v1/predict", 429, {}),
            ("/v1/predict", 500, {}),
        ]
    )
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#work-text")).to_have_text(
        "Stopped: refused. 0 of 1,300 messages classified; the results so far are kept."
    )
    page.get_by_role("button", name="Continue").click()
    done(page, 1_300)
    sent = answers.sent()
    assert [text for part in sent for text in part] == texts and [len(part) for part in sent] == [
        50,
        100,
        200,
        400,
        500,
        50,
    ]
    assert not answers.refusals
    assert page.locator("#verdicts tbody tr:not(.detail)").count() == 50
    assert counts(page) == {"ham": 650, "spam": 260, "unsure": 390}
    page.get_by_role("button", name="Next").click()
    assert (
        column(page, 2)[0] == texts[50]
        and page.locator("#shown").inner_text() == "Messages 51 to 100 of 1,300"
    )


def test_what_the_server_refuses_is_set_aside_and_the_rest_is_judged(
    page: Any, answers: Answers
) -> None:
    answers.most_texts = 2
    texts = ["a p=.9", "b" * 1_001, "c p=.9", "d" * 1_002, "e p=.1"]
    judge(page, *texts)
    refused = "not classified: a text may have 1,000 characters"
    assert column(page, 3) == ["spam", refused, "spam", refused, "ham"]
    assert counts(page)["not classified"] == 2 and column(page, 2)[1].endswith(
        "(401 more characters)"
    )
    assert [row[-1] for row in saved(page)] == [
        "note",
        "",
        refused.partition(": ")[2],
        "",
        refused.partition(": ")[2],
        "",
    ]


def test_a_key_is_asked_for_kept_in_memory_and_sent(
    page: Any, answers: Answers, server: PageServer
) -> None:
    answers.key = "secret"
    page.goto(server.url)
    field = page.get_by_label("This server requires an API key")
    field.fill("wrong")
    field.press("Enter")
    again = page.get_by_label("The server refused that key; enter another one")
    assert again.input_value() == "" and again.get_attribute("type") == "password"
    again.fill(" secret ")
    again.press("Enter")
    page.wait_for_selector("#model-facts:not(:empty)")
    judge(page, "a p=.9")
    assert not page.locator("#key").is_visible() and column(page, 3) == ["spam"]
    kept = page.evaluate(
        "JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])"
    )
    assert "secret" not in kept and "secret" not in page.content()


def test_its_files_ask_for_each_other_and_nothing_else() -> None:
    files = {name: content.decode() for name, (content, _) in static_files().items()}
    named = {name for name in files if f"static/{name}" in files[INDEX]} | {INDEX}
    assert named == files.keys() - {"docs.js"}, "one file belongs to /docs alone"
    for name, content in files.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", content
        ), name
        assert set(re.findall(r"https?://[\w.]+", content)) <= {"http://www.w3.org"}, name
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", files[INDEX])


def test_page_and_server_understand_each_other(browser: Any, tmp_path: Path) -> None:
    models = served.models(tmp_path / "s.sqlite")
    own = server_of(create_app(models, keys=Keys.of("sesame")))
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=lambda: own.run(sockets=[listener]))
        thread.start()
        try:
            page = browser.new_page()
            page.goto(url(listener))
            page.get_by_label("This server requires an API key").fill("sesame")
            page.keyboard.press("Enter")
            page.wait_for_selector("#model-facts:not(:empty)")
            texts = ["Hi mum, on the bus", "WINNER! call 0900 now", "<b>👍</b> k"]
            judge(page, *texts)
            verdicts = next(iter(models)).classifier().verdicts(texts)
            assert [re.sub(r"unsure \(label: (.+)\)", r"\1", cell) for cell in column(page, 3)] == [
                verdict.label for verdict in verdicts
            ]
            assert column(page, 5) == [verdict.verdict for verdict in verdicts]
            for number, text in enumerate(texts):
                page.get_by_role("button", name=f"Explain message {number + 1}").click()
                expect(page.locator(".words").nth(number)).to_have_text(text)
            page.get_by_role("button", name=re.compile(r"Correct to \w+ , message 2")).first.click()
            expect(page.locator(".told").nth(1)).to_contain_text(
                re.compile(
                    r"Correction 1 is saved: \w+\. Learnt 1 corrections\. (New p|P)rediction"
                )
            )
            page.get_by_text("Stored on the server").click()
            page.get_by_role("button", name="Undo correction 1").click()
            expect(page.locator("#kept-list")).to_have_text("There are no corrections.")
            page.close()
        finally:
            own.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
