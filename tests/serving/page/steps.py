"""What a person does on the page, and what they see then."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any


def judge(page: Any, *texts: str, one: bool = False) -> None:
    """Paste texts, each a line, and have them judged."""
    page.get_by_label("Paste messages").fill("\n".join(texts))
    page.get_by_label("a single message" if one else "one message per line", exact=True).check()
    page.get_by_role("button", name="Classify", exact=True).click()
    done(page, 1 if one else len(texts))


def done(page: Any, count: int) -> None:
    """Wait until that many rows are judged or refused."""
    from playwright.sync_api import expect

    # The browser's policy forbids what waits for an expression: it would be evaluated in the page.
    expect(page.locator("#work")).to_be_hidden()
    expect(page.locator("#shown")).to_have_text(re.compile(rf" of {count:,}$"))
    expect(page.locator("#verdicts")).not_to_contain_text("pending")


def column(page: Any, number: int) -> list[str]:
    """The cells of a column of verdicts, counted from 1."""
    return [
        cell.strip()
        for cell in page.locator(
            f"#verdicts tbody tr:not(.detail) > :nth-child({number})"
        ).all_inner_texts()
    ]


def counts(page: Any) -> dict[str, int]:
    """The live counts by their names."""
    items = page.locator("#counts li").all_inner_texts()
    return {
        found[1]: int(found[2]) for item in items if (found := re.match(r"(.+?)\s+(\d+)", item))
    }


def drop(page: Any, name: str, content: bytes) -> None:
    """Choose a file."""
    from playwright.sync_api import expect

    page.get_by_label("Or choose a file").set_input_files(
        {"name": name, "mimeType": "text/plain", "buffer": content}
    )
    expect(page.locator("#table-title")).to_have_text(name)


def saved(page: Any) -> list[list[str]]:
    """The rows of the saved table."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))
