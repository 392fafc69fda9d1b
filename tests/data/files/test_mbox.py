"""Mailboxes in their dialects, and bodies that look like separators."""

from __future__ import annotations

import mailbox
from pathlib import Path

import pytest

from tamis.data.files.mail_reader import is_mbox, mbox_mails

ONE, TWO = "Subject: one\n\nbody\n", "Subject: two\n\nbody two\n"
DATE = "Mon Jan  1 10:00:00 2024"


def read(box: str) -> list[tuple[int, str]]:
    lines = box.encode().splitlines(keepends=True)
    return [(mail.line, mail.text) for mail in mbox_mails(lines)]


@pytest.mark.parametrize(
    "separator",
    [
        f"From a@b {DATE}",
        "From a@b Mon Jan  1 10:00 2024",
        "From a@b Mon Jan  1 10:00:00",
        "From a@b Mon Jan  1 10:00:00 +0100 2024",
        "From a@b Mon Jan  1 10:00:00 CET 2024",
        "From a@b Mon, 1 Jan 2024 10:00:00 +0100",
        "From a@b 2024-01-01T10:00:00Z",
        f"From - {DATE}\nX-Mozilla-Status: 0001",
        f"From ???@??? {DATE}",
        f'From "Ann B" {DATE}',
        f"From a {DATE} remote from host",
        f"From a@b {DATE}\n>From c@d {DATE} remote from host",
        "From a@b",
        "From -",
        "From ",
        "From a 2024",
    ],
)
def test_separators_of_every_dialect_divide(separator: str) -> None:
    box = f"{separator}\n{ONE}\n{separator}\n{TWO}"
    for each in (box, box.replace("\n", "\r\n"), box.replace("\n", "\r"), "\ufeff\n" + box):
        assert is_mbox(each.encode())
        assert [text for _, text in read(each)] == ["one\nbody", "two\nbody two"]
    extra = separator.count("\n")
    assert [line for line, _ in read(box)] == [1, 6 + extra]


@pytest.mark.parametrize(
    "separator",
    [
        f"From a@b {DATE}",
        "From a@b",
        "From -",
        "From a@b Mon, 01 Jan 2024 10:00:00 +0000",
        "From a b Mon, 1-Jan-24 10:00",
        "From a@b Mo Jan  1 10:00:00 2024",
        "From a@b 01/01/2024 10:00",
    ],
)
def test_no_empty_line_is_needed_before_a_clear_separator(separator: str) -> None:
    assert read(f"{separator}\n{ONE}{separator}\n{TWO}") == [
        (1, "one\nbody"),
        (5, "two\nbody two"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        "Hi\n\nFrom January 2024 our offices are closed.\nBye",
        "Hi\n\nFrom Monday on new hours apply:\nMonday: 9-5",
        "Hi\nFrom the desk of: Ann\nSubject matters here",
        f"He wrote:\nFrom ann@example.org {DATE}\nhello",
        "From here to there\n\nFrom 10:00 to 2024",
        "Hi\n\nFrom Mon Jan 1 10:00 to Fri Jan 5 the shop is closed.",
        "Hi\n\nFrom Mon, 1 Jan 2024 10:00 on: new prices",
        "He wrote:\nFrom ann@example.org at 10:00\nhello",
    ],
)
def test_a_line_of_a_body_does_not_divide(body: str) -> None:
    first = f"From a@b {DATE}\nSubject: one\n\n{body}\n\n"
    assert [text for _, text in read(f"{first}From c@d {DATE}\n{TWO}")] == [
        f"one\n{body}",
        "two\nbody two",
    ]


def test_quoted_lines_lose_one_mark() -> None:
    box = f"From a@b {DATE}\nSubject: one\n\n>From here\n>>From there\n> From far\n"
    assert read(box) == [(1, "one\nFrom here\n>From there\n> From far")]


def test_a_content_length_that_fits_is_obeyed_and_another_is_not() -> None:
    inner = f"hi\n\nFrom x@y {DATE}\nSubject: quoted\n\ninner\n"
    first = f"From a@b {DATE}\nSubject: one\nContent-Length: {{}}\n\n{inner}\n"
    second = f"From c@d {DATE}\n{TWO}"
    assert read(first.format(len(inner)) + second) == [
        (1, "one\n" + inner.strip()),
        (12, "two\nbody two"),
    ]
    for wrong in (len(inner) - 1, len(inner) + 9, 10**8):
        assert [text for _, text in read(first.format(wrong) + second)] == [
            "one\nhi",
            "quoted\ninner",
            "two\nbody two",
        ]


def test_many_content_lengths_that_fit_are_all_obeyed() -> None:
    inner = f"hi\n\nFrom x@y {DATE}\nSubject: quoted\n\ninner\n"
    mail = f"From a@b {DATE}\nSubject: one\nContent-Length: {len(inner)}\n\n{inner}\n"
    assert len(read(mail * 30)) == 30


def test_mails_without_a_separator_header_or_body_are_mails() -> None:
    assert read(f"{ONE}\nFrom a@b {DATE}\n{TWO}") == [(1, "one\nbody"), (5, "two\nbody two")]
    box = f"From a@b {DATE}\n\n\nFrom a@b {DATE}\n{TWO}"
    assert is_mbox(box.encode())
    assert read(box) == [(1, ""), (4, "two\nbody two")]
    assert read("From a@b\nX-One: 1\n\nbody\n\nFrom c@d\nX-One: 1\n\nmore\n") == [
        (1, "body"),
        (6, "more"),
    ]


def test_mmdf_is_divided() -> None:
    mark = "\x01\x01\x01\x01\n"
    box = f"{mark}{ONE}{mark}{mark}{TWO}{mark}"
    assert is_mbox(box.encode())
    assert read(box) == [(1, "one\nbody"), (6, "two\nbody two")]


@pytest.mark.parametrize(
    "text", ["", "hello\n", "From here to eternity 1953\nno header\n", "From: a\nSubject: b\n", ONE]
)
def test_other_texts_are_no_mailbox(text: str) -> None:
    assert not is_mbox(text.encode())


def test_a_mailbox_of_the_standard_library_is_read(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "box")
    bodies = ["plain\n", "From the start\n\nFrom January 2024\n", ">From quoted\n", "\n\nlate\n"]
    for number, body in enumerate(bodies):
        box.add(f"From: a@b\nSubject: {number}\n\n{body}")
    box.close()
    with (tmp_path / "box").open("rb") as file:
        found = [mail.text for mail in mbox_mails(file)]
    # Writing ">From " is ambiguous in this dialect.
    expected = [body.strip().replace(">From", "From") for body in bodies]
    assert found == [f"{number}\n{body}" for number, body in enumerate(expected)]
