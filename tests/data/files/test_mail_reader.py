"""Mails made by the standard library and mails that obey nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
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
    assert not is_mail(b"Status: open\nReferences: none\n\nnotes")


HEAD = b"From: a@b\nSubject: s\n"


def multipart(
    subtype: str, *parts: bytes, boundary: str = "b", declared: str | None = None
) -> bytes:
    declared = boundary if declared is None else declared
    begin = HEAD + f'Content-Type: multipart/{subtype}; boundary="{declared}"\n\n'.encode()
    delimiter = b"--" + boundary.encode()
    return (
        begin + b"".join(delimiter + b"\n" + part + b"\n" for part in parts) + delimiter + b"--\n"
    )


def plain(text: str) -> bytes:
    return b"Content-Type: text/plain; charset=utf-8\n\n" + text.encode()


def html(text: str) -> bytes:
    return b"Content-Type: text/html; charset=utf-8\n\n" + text.encode()


CLAIM = html("<p>Claim your free prize at once, only until Friday")
CLAIMED = "Claim your free prize at once, only until Friday"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", CLAIMED),
        (" \n\u00a0\u200b\n", CLAIMED),
        ("-", CLAIMED),
        ("Your mail client does not support HTML. Open this message in another one.", CLAIMED),
        ("This message is in HTML", CLAIMED),
        ("Ihr Programm kann das leider nicht", CLAIMED),
        ("View online: https://example.org/long/address", CLAIMED),
        ("Claim", CLAIMED),
        ("Claim your free prize\nuntil Friday", "Claim your free prize\nuntil Friday"),
        ("Claim your free prize at once: HTML", None),
        ("A completely different text that is longer than the other one is", None),
    ],
)
def test_html_is_the_mail_where_the_plain_part_does_not_say_it(
    text: str, expected: str | None
) -> None:
    for subtype in ("alternative", "related"):
        content = multipart("alternative", plain(text), CLAIM)
        assert read_mail(content).text == "s\n" + (text if expected is None else expected), subtype
    nested = multipart("alternative", plain(text), CLAIM).partition(HEAD)[2]
    assert read_mail(multipart("mixed", nested, boundary="outer")).text.endswith(expected or text)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        # multiparts without parts, with a wrong boundary, and nested ones
        (multipart("mixed", plain("claim"), declared="other"), "claim"),
        (multipart("mixed", b"\nclaim", declared="other"), "claim"),
        (multipart("mixed", plain("claim"), boundary="b", declared="b "), "claim"),
        (multipart("mixed", plain("claim"), boundary="", declared=""), "claim"),
        (HEAD + b"Content-Type: multipart/mixed; boundary=b\n\nclaim now", "claim now"),
        (HEAD + b"Content-Type: multipart/mixed\n\nclaim now", "claim now"),
        (HEAD + b"Content-Type: multipart/mixed; boundary=b\n\nclaim\n--b--\n", "claim\n--b--"),
        (HEAD + b"\n--b\n" + plain("claim") + b"\n--b--\n", "claim"),
        (
            multipart("mixed", multipart("mixed", plain("one")).partition(HEAD)[2], plain("two")),
            "one\ntwo",
        ),
        (
            multipart("mixed", plain("one"), b"Content-Type: image/png\n\nPNG", plain("two")),
            "one\ntwo",
        ),
        (multipart("mixed", plain("one two"), html("<p>two <b>one</b>")), "one two"),
        (multipart("digest", b"\nSubject: inner\n\nclaim"), "claim"),
        (multipart("mixed", b"Content-Type: image/png\n\nPNG"), ""),
        # forwarded and attached texts count only if nothing else does
        (HEAD + b"Content-Type: message/rfc822\n\nSubject: inner\n\nclaim", "claim"),
        (
            HEAD + b"Content-Type: message/rfc822\n"
            b"Content-Transfer-Encoding: base64\n\nU3ViamVjdDogeAoKY2xhaW0=",
            "claim",
        ),
        (
            multipart(
                "mixed", plain("see"), b"Content-Type: message/rfc822\n\nSubject: x\n\nclaim"
            ),
            "see",
        ),
        (
            multipart(
                "mixed", plain("see"), b"Content-Disposition: attachment; filename=a.txt\n\nclaim"
            ),
            "see",
        ),
        (HEAD + b"Content-Disposition: attachment; filename=a.txt\n\nclaim", "claim"),
        (HEAD + b"Content-Type: text/calendar\n\nSUMMARY:claim", "SUMMARY:claim"),
        (HEAD + b"Content-Type: tdxt/plain\n\nclaim", "claim"),
        (HEAD + b"Content-Type: text\n\nclaim", "claim"),
        (
            HEAD + b"Content-Type: application/octet-stream\n"
            b"Content-Transfer-Encoding: base64\n\nY2xhaW0gbm93",
            "claim now",
        ),
        (HEAD + b"Content-Type: application/octet-stream\n\n%PDF-1.4\nabc", ""),
        (HEAD + b'Content-Type: application/ms-tnef\n\nx\x9f>"abc', ""),
        # encodings and charsets
        (
            HEAD + b"Content-Type: multipart/mixed; boundary=b\n"
            b"Content-Transfer-Encoding: base64\n\nLS1iCgpjbGFpbQotLWItLQo=",
            "claim",
        ),
        (HEAD + b"Content-Transfer-Encoding: quoted-printable \n\ncl=\naim=3D=", "claim="),
        (HEAD + b"Content-Type: text/html charset=iso-8859-2\n\n\xb1\xe6", "ąć"),
        (HEAD + b"Content-Type: text/html\n\n<meta charset=koi8-r>\xf0\xd2\xc9\xda", "Приз"),
        (
            HEAD
            + b"Content-Type: text/html; charset=cp1251\n\n<meta charset=koi8-r>\xcf\xf0\xe8\xe7",
            "Приз",
        ),
        (
            HEAD + b"Content-Type: text/plain; charset=utf-16\n"
            b"Content-Transfer-Encoding: base64\n\n//5jAOkA",
            "cé",
        ),
        (
            HEAD + b"Content-Type: text/plain; format=flowed\n\none \ntwo\n three \n-- \nsig",
            "one two\nthree \n-- \nsig",
        ),
        (HEAD + b"Content-Type: text/plain; format=flowed; delsp=yes\n\npri \nze", "prize"),
    ],
    ids=range(32),
)
def test_every_part_that_a_reader_sees_is_in_the_text(content: bytes, text: str) -> None:
    assert read_mail(content).text == f"s\n{text}".strip()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: content.replace(b"\n", b"\r"),
        lambda content: content.replace(b"\n", b"\r\r\n"),
        lambda content: content.replace(b"\n", b"\r\n", 2),
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: b"\n\n" + content,
        lambda content: b"From a@b Mon Jan  1 10:00:00 2024\n" + content,
        lambda content: content.decode().encode("utf-16"),
        lambda content: b"\xfe\xff" + content.decode().encode("utf-16-be"),
        lambda content: content.decode().encode("utf-16-le"),
        lambda content: content.replace(b": ", b" : ", 2),
        lambda content: content.replace(b"Subject", b"Sub\0ject"),
        lambda content: content.replace(b"\n\n", b"\n \t\nDate: x\n\n", 1),
    ],
)
def test_marks_line_ends_and_spaces_do_not_change_a_mail(
    change: Callable[[bytes], bytes],
) -> None:
    # The label would be wrong after a transcoding.
    content = HEAD + b"Content-Type: text/plain; charset=iso-8859-1\n\none\ntwo"
    assert read_mail(change(content)).text == "s\none\ntwo"
    assert is_mail(change(content))


def test_labels_do_not_hold_for_a_transcoded_mail() -> None:
    content = HEAD.decode() + "Content-Type: text/plain; charset=iso-8859-1\n\ngrößer"
    assert read_mail(content.encode("utf-16")).text == "s\ngrößer"


@pytest.mark.parametrize(
    "notice",
    [
        "This message contains graphics. If you do not see the graphics, click here to view.",
        "Having trouble viewing this email? View it as a web page.",
        "Bilder werden nicht angezeigt? Hier klicken",
        "Si no puede ver este mensaje, haga clic en el enlace siguiente",
    ],
)
def test_a_notice_that_the_mail_is_shown_elsewhere_is_no_text(notice: str) -> None:
    content = multipart("alternative", plain(notice), html("<p>Win a prize now</p>"))
    assert read_mail(content).text.endswith("Win a prize now")
    assert notice not in read_mail(content).text


@pytest.mark.parametrize("kind", ["html", "", "text", "text/html"])
def test_html_without_a_valid_type_is_html(kind: str) -> None:
    content = f"From: a@b\nSubject: s\nContent-Type: {kind}\n\n<html><p>Win &amp; go</p>\n"
    assert read_mail(content.encode()).text == "s\nWin & go"
    shown = content.replace("Type: " + kind, "Type: text/plain")
    assert read_mail(shown.encode()).text == "s\n<html><p>Win &amp; go</p>"


def test_a_second_transfer_encoding_is_found() -> None:
    fields = "From: a@b\nSubject: s\n" + "".join(
        f"Content-Transfer-Encoding: {name}\n" for name in ("8bit", "base64")
    )
    assert read_mail(f"{fields}\nV2luIGEgcHJpemUgbm93\n".encode()).text == "s\nWin a prize now"


def test_each_alternative_is_chosen_by_itself() -> None:
    first = multipart("alternative", plain(" "), html("Claim your prize"), boundary="x")
    second = multipart("alternative", plain("see you at six"), html("see you at six"), boundary="y")
    inside = [each.partition(HEAD)[2] for each in (first, second)]
    assert read_mail(multipart("mixed", *inside)).text == "s\nClaim your prize\nsee you at six"


def test_text_around_the_parts_counts_only_without_another_text() -> None:
    around = b"\n--x\n" + plain("no") + b"\n--x--\n"
    content = multipart("mixed", plain("claim")) + around
    assert read_mail(content.replace(b"\n\n", b"\n" + around, 1)).text == "s\nclaim"
    lost = multipart("mixed", b"Content-Type: image/png\n\nPNG") + b"words behind\n"
    assert read_mail(lost).text == "s\nwords behind"


def test_depth_size_and_number_are_no_obstacle() -> None:
    levels = range(1000)
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in levels
    )
    assert read_mail(HEAD + nested + plain("claim")).text == "s\nclaim"
    assert (
        read_mail(HEAD + b"Content-Type: message/rfc822\n\n" * 1000 + b"\nclaim").text == "s\nclaim"
    )
    many = multipart("mixed", *(plain(f"part {n}") for n in levels))
    assert read_mail(many).text == "s\n" + "\n".join(f"part {n}" for n in levels)
    large = HEAD + b"\n" + b"claim your prize\n" * 600_000
    begin = time.process_time()
    assert len(read_mail(large).text) > 10_000_000
    assert time.process_time() - begin < 20
