"""Mails made by the standard library and mails that obey nothing."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.files.mail_reader import is_mail, is_mbox, mbox_mails, read_mail, strip_html


def mail(
    subject: str = "Zoé's offer", body: str = "Hello,\nwin now – 100 €!\n", html: str | None = None
) -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", subject
    message.set_content(body)
    if html is not None:
        message.add_alternative(html, subtype="html")
    message.add_attachment(
        b"attached bytes", maintype="application", subtype="octet-stream", filename="x.bin"
    )
    return message.as_bytes()


def test_subject_and_plain_body_are_the_text() -> None:
    read = read_mail(mail(html="<p>the same in HTML</p>"))
    assert read.text == "Zoé's offer\nHello,\nwin now – 100 €!"
    assert read.headers == {"from": "a@example.org", "subject": "Zoé's offer"}


def test_html_stands_in_where_there_is_no_plain_part() -> None:
    message = EmailMessage()
    message["Subject"] = "=?utf-8?B?RlLDiUU=?="
    message.set_content(
        "<html><head><title>no</title><style>p{}</style></head><body><p>Win&nbsp;now</p>&lt;3<script>x</script>",
        subtype="html",
    )
    assert read_mail(message.as_bytes()).text == "FRÉE\nWin now\n<3"


def test_html_is_stripped_to_its_words() -> None:
    assert strip_html("a<br>b <b>bo</b>ld<div>c &amp; d</div><!-- no -->e") == "a\nb bold\nc & d\ne"
    assert (
        strip_html("<head><style>x</style><body>seen though head was never closed")
        == "seen though head was never closed"
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"Subject: x\nContent-Type: text/plain; charset=no-such\n\ncaf\xc3\xa9", "x\ncafé"),
        (b"Subject: x\nContent-Type: text/plain; charset=us-ascii\n\ncaf\xe9", "x\ncafé"),
        (b"Subject: caf\xe9 =?x?y?z?=\nFrom: <<<>@@;\nDate: \n\nbody", "café =?x?y?z?=\nbody"),
        (b"Subject: only\n\n", "only"),
        (b"\n\nbody alone", "body alone"),
        (b"Content-Type: multipart/mixed\n\nno boundary", "no boundary"),
        (b"Content-Type: application/pdf\n\nabc", ""),
        (b"", ""),
    ],
)
def test_broken_mails_give_what_they_have(content: bytes, text: str) -> None:
    assert read_mail(content).text == text


@given(
    st.binary(),
    st.sampled_from(
        [
            b"",
            b"Subject: a\n",
            b"Content-Type: text/html\nFrom: ",
            b"Content-Type: multipart/mixed; boundary=b\n\n--b\n",
        ]
    ),
)
def test_no_bytes_make_the_reader_fail(content: bytes, start: bytes) -> None:
    read_mail(start + content).text.encode("utf-8")


def test_an_mbox_is_divided_at_its_from_lines() -> None:
    box = (
        b"From a@b Mon Jan  1 00:00:00 2024\nSubject: one\n\nfirst\n>From here\nFrom the start "
        b"of 2024\n\n"
        b"From c Tue Jan  2 00:00:00 2024\nSubject: two\n\nsecond\n"
    )
    mails = list(mbox_mails(box.splitlines(keepends=True)))
    assert [(each.line, each.text) for each in mails] == [
        (1, "one\nfirst\nFrom here\nFrom the start of 2024"),
        (8, "two\nsecond"),
    ]
    assert is_mbox(box) and not is_mbox(b"From here to eternity 1953\nno header\n")


def test_a_mail_is_told_by_its_headers() -> None:
    assert is_mail(mail())
    assert is_mail(b"Received: x\n by y\nSubject: z\n\nbody with: colon")
    assert not is_mail(b"Subject: x\nno header\n\n")
    assert not is_mail(b"Note: one\nAlso: two\n\nlines of text")
    assert not is_mail(b"hello\n")
