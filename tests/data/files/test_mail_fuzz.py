"""A thousand damaged mails: none raises, and none loses the words that are still in it.

The independent reading is that of the standard library's `email`, where it finds a text at all.
"""

from __future__ import annotations

import base64
import email
import quopri
import re
from collections.abc import Callable
from email import policy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.data.files.mail_reader import mbox_mails, read_mail

WORDS = "claim your free prize now call before friday meeting lunch invoice señor größe 立即 приз"
CHARSETS = {
    "utf-8": "utf-8",
    "UTF8": "utf-8",
    "iso-8859-1": "cp1252",
    "windows-1251": "cp1251",
    "koi8-r": "koi8-r",
    "gb2312": "gb18030",
    "Shift_JIS": "cp932",
    "us-ascii": "ascii",
}
ENCODINGS = ("7bit", "8bit", "base64", "quoted-printable")


Mutation = Callable[[bytes, int], bytes]


def encoded(text: str, charset: str, encoding: str) -> bytes:
    content = text.encode(CHARSETS[charset], "ignore")
    if encoding == "base64":
        return base64.encodebytes(content)
    return quopri.encodestring(content) if encoding == "quoted-printable" else content


@st.composite
def texts(draw: st.DrawFn) -> str:
    words = draw(st.lists(st.sampled_from(WORDS.split()), min_size=25, max_size=40))
    lines = [
        "free prize " + " ".join(words[place : place + 7]) for place in range(0, len(words), 7)
    ]
    return "\n".join(lines) + "\n"


@st.composite
def entities(draw: st.DrawFn, depth: int = 2) -> bytes:
    kind = draw(
        st.sampled_from(
            ["plain", "html", "alternative", "mixed", "forwarded"][: 2 + 3 * bool(depth)]
        )
    )
    if kind in ("plain", "html"):
        charset, encoding = draw(st.sampled_from(list(CHARSETS))), draw(st.sampled_from(ENCODINGS))
        text = draw(texts())
        if kind == "html":
            text = f"<html><body><p>{text}</p></body></html>\n"
        head = f"Content-Type: text/{kind}; charset={charset}\n"
        head += f"Content-Transfer-Encoding: {encoding}\n\n"
        return head.encode() + encoded(text, charset, encoding)
    if kind == "forwarded":
        return b"Content-Type: message/rfc822\n\nSubject: inner\n" + draw(entities(depth - 1))
    boundary = draw(st.sampled_from([b"b1", b"=_x", b"----=_Part_0.1", b"a b"])) + b"%d" % depth
    parts = draw(st.lists(entities(depth - 1), min_size=1, max_size=3))
    body = b"".join(b"--" + boundary + b"\n" + part + b"\n" for part in parts)
    return (
        b'Content-Type: multipart/%s; boundary="%s"\n\n' % (kind.encode(), boundary)
        + body
        + b"--"
        + boundary
        + b"--\n"
    )


@st.composite
def mails(draw: st.DrawFn) -> bytes:
    return (
        b"From: ann@example.org\nDate: Mon, 01 Jan 2024 10:00:00 +0000\nMIME-Version: 1.0\n"
        + draw(entities())
    )


def drop_line(content: bytes, place: int) -> bytes:
    lines = content.split(b"\n")
    # The header of the mail itself stays, so that it remains a mail.
    number = 3 + place % max(len(lines) - 3, 1)
    return b"\n".join(lines[:number] + lines[number + 1 :])


def double_line(content: bytes, place: int) -> bytes:
    lines = content.split(b"\n")
    number = place % len(lines)
    return b"\n".join([*lines[: number + 1], *lines[number:]])


def cut(content: bytes, place: int) -> bytes:
    return content[: max(len(content) - place % 40, 0)]


def insert(piece: bytes) -> Mutation:
    def mutation(content: bytes, place: int) -> bytes:
        at = place % (len(content) + 1)
        return content[:at] + piece + content[at:]

    return mutation


def swap(old: bytes, new: bytes) -> Mutation:
    return lambda content, place: content.replace(old, new)


LOSING: list[Mutation] = [drop_line, cut, insert(b"\0"), insert(b"\xff!")]
"""Mutations that may remove the words themselves."""
MUTATIONS: list[Mutation] = [
    *LOSING,
    double_line,
    swap(b"\n", b"\r\n"),
    swap(b"\n", b"\r"),
    swap(b"boundary=", b"boundaryy="),
    swap(b'boundary="', b'boundary="x'),
    swap(b"base64\n", b"BASE64 ;\n"),
    swap(b"charset=", b"charset=x-none-"),
    swap(b"</", b"<"),
    swap(b"\n\n", b"\n \n"),
    swap(b"Content-Type: text", b"content-type : text"),
    swap(b"Content-Type: text/plain", b"Content-Type: tdxt/plain"),
    lambda content, place: b"\xef\xbb\xbf" + content,
    lambda content, place: content + b"\n_____\nlist footer words\n",
]


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(mails(), st.lists(st.tuples(st.sampled_from(MUTATIONS), st.integers(0, 10_000)), max_size=3))
def test_a_damaged_mail_never_raises_and_never_loses_its_words(
    mail: bytes, mutations: list[tuple[Mutation, int]]
) -> None:
    for mutation, place in mutations:
        mail = mutation(mail, place)
    read = read_mail(mail)
    read.text.encode("utf-8")
    assert re.search(r"\w{3}", read.text), mail
    if not any(mutation in LOSING for mutation, _ in mutations):
        assert "free prize" in read.text.replace("\n", " "), mail


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(mails())
def test_a_sound_mail_has_the_words_that_the_standard_library_finds(mail: bytes) -> None:
    message = email.message_from_bytes(mail, policy=policy.default)
    body = message.get_body(preferencelist=("plain", "html"))
    if body is None:
        return  # only forwarded mails
    charset = CHARSETS[str(body.get_param("charset"))]
    payload = body.get_payload(decode=True)
    assert isinstance(payload, bytes)
    # The standard library reads gb2312 and the like strictly, browsers read their supersets.
    text = payload.decode(charset)
    words = re.sub(r"<[^>]*>", " ", text).split()
    found = read_mail(mail).text.split()
    assert set(words) <= set(found)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(mails(), min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_a_mailbox_has_the_mails_that_were_written(contents: list[bytes], end: str) -> None:
    separator = b"From a@b Mon Jan  1 10:00:00 2024\n"
    box = b"".join(separator + content + b"\n\n" for content in contents)
    lines = box.replace(b"\n", end.encode()).splitlines(keepends=True)
    assert [mail.text for mail in mbox_mails(lines)] == [read_mail(each).text for each in contents]


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"From a@b\nSubject: x\n\n", b"\x01" * 4 + b"\n"]),
)
def test_no_bytes_make_a_mailbox_fail(content: bytes, start: bytes) -> None:
    for mail in mbox_mails((start + content).splitlines(keepends=True)):
        mail.text.encode("utf-8")
