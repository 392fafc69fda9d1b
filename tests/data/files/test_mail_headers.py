"""Header fields: compared with the standard library where mail obeys the standards."""

from __future__ import annotations

import base64
from email.header import Header, decode_header, make_header
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.files.mail_headers import decode_words, read_headers


def word(text: bytes, charset: str = "utf-8") -> bytes:
    return b"=?" + charset.encode() + b"?B?" + base64.b64encode(text) + b"?="


PRIZE = "Ваш приз".encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (word(PRIZE[:5]) + b"\n " + word(PRIZE[5:]), "Ваш приз"),
        (b"=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9_now?=", "café now"),
        (b"Re:=?utf-8?Q?caf=C3=A9?=now", "Re:cafénow"),
        (b'"=?iso-8859-1?Q?na=EFve?=" (=?us-ascii?q?x?=)', '"naïve" (x)'),
        (b"=?utf-8?Q?free caf=C3=A9?= end", "free café end"),
        (b"=?utf-8?Q?free=20\n your=20prize?=", "free  your prize"),
        (b"=?iso-8859-1?Q?Don=92t_=8050?=", "Don’t €50"),
        (word("朱镕基€".encode("gb18030"), "gb2312"), "朱镕基€"),
        (word("日①".encode("cp932"), "shift_jis"), "日①"),
        (b"=?utf-8*en?Q?caf=C3=A9?=", "café"),
        (b"=?utf-8?B?Q2xhaW0?= =?utf-8?B?IHByaXpl=?=", "Claim prize"),
        (b"=?no-such?Q?caf=C3=A9?=", "café"),
        (b"=?utf-8?Q?a?= =?iso-8859-1?Q?=E9?=", "aé"),
        (b"=?x?y?z?= and =? and =?u", "=?x?y?z?= and =? and =?u"),
        (b"f\xfcr =?utf-8?Q?=C3=A9?= f\xc3\xbcr", "für é für"),
    ],
)
def test_encoded_words_are_read_as_they_were_meant(value: bytes, text: str) -> None:
    assert decode_words(value) == text


def test_bytes_that_are_not_utf8_have_the_charset_of_the_body() -> None:
    assert decode_words(b"\xcf\xf0\xe8\xe7", "windows-1251") == "Приз"
    assert decode_words("größer".encode(), "windows-1251") == "größer"


@given(
    st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=60),
    st.sampled_from(["utf-8", "iso-8859-1"]),
)
def test_what_the_standard_library_writes_comes_back(text: str, charset: str) -> None:
    text = text.encode(charset, "ignore").decode(charset)
    written = Header(text, charset, maxlinelen=40).encode()
    expected = str(make_header(decode_header(written)))
    found = decode_words(written.encode("utf-8"))
    assert found.split() == expected.split()


def test_fields_are_read_with_their_faults() -> None:
    content = (
        b"From a@b Mon Jan  1 10:00:00 2024\nSubject : one\n two\n>From x\nthree\nDATE:now\n"
        b"X-Last: yes\nhttp://example.org is the body\nSubject: later\n"
    )
    headers, body = read_headers(content)
    assert headers.text(b"subject") == "one two three"
    assert (
        headers.text(b"date") == "now"
        and headers.raw(b"x-last") == b"yes\n http://example.org is the body"
    )
    assert headers.text(b"to") is None
    # A usual field follows soon, so the line belongs to the header.
    assert body == len(content)
    headers, body = read_headers(b"A: 1\nSubject: x\nhttp://example.org is the body\nmore\n")
    assert headers.text(b"subject") == "x"
    assert body == len(b"A: 1\nSubject: x\n")


@pytest.mark.parametrize(
    ("value", "boundary", "content_type"),
    [
        (b'multipart/mixed; boundary="a b"', "a b", "multipart/mixed"),
        (
            b"Multipart/Mixed;\n\tBoundary=----=_x=1?/y; charset=z",
            "----=_x=1?/y",
            "multipart/mixed",
        ),
        (b"multipart/mixed boundary=x", "x", "multipart/mixed"),
        (b"multipart/mixed; boundary='x y'", "x y", "multipart/mixed"),
        (b'multipart/mixed; boundary="a\\"b"', 'a"b', "multipart/mixed"),
        (b"multipart/mixed; boundary*0=ab; boundary*1=cd", "abcd", "multipart/mixed"),
        (b"multipart/mixed; boundary*=utf-8''a%20b", "a b", "multipart/mixed"),
        (b"multipart/mixed; boundary=x; boundary=y", "x", "multipart/mixed"),
        (b'"text/html"; charset=x', None, "text/html"),
        (b"text", None, ""),
    ],
)
def test_parameters_are_read_with_their_faults(
    value: bytes, boundary: str | None, content_type: str
) -> None:
    headers, _ = read_headers(b"Content-Type: " + value + b"\n\n")
    assert (headers.parameter("boundary"), headers.content_type) == (boundary, content_type)


def test_the_standard_library_agrees_on_parameters() -> None:
    message = EmailMessage()
    message.set_content("x")
    message.set_param("name", "größe.txt", charset="utf-8")
    message.set_param("boundary", "a;b=c")
    headers, _ = read_headers(message.as_bytes())
    assert headers.parameter("name") == "größe.txt"
    assert headers.parameter("boundary") == message.get_boundary() == "a;b=c"
