"""Transfer encodings: what the standard library writes is read, and what mail programs damage."""

from __future__ import annotations

import base64
import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.files.transfer_encodings import decode_transfer, normal_name

CLAIM = base64.b64encode(b"Claim your free prize")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"base64", "base64"),
        (b" BASE64 ", "base64"),
        (b'"base64"', "base64"),
        (b"base64; x=y", "base64"),
        (b"base64 (comment)", "base64"),
        (b"base-64", "base64"),
        (b"Quoted-Printable\t", "quotedprintable"),
        (b"quoted_printable,", "quotedprintable"),
        (b"x-uuencode", "uuencode"),
        (b"x-uue", "uuencode"),
        (b"8bit", ""),
        (b"no such", ""),
        (None, ""),
    ],
)
def test_the_name_is_forgiven_its_spelling(value: bytes | None, name: str) -> None:
    assert normal_name(value) == name


@given(st.binary(min_size=1))
def test_what_the_standard_library_encodes_comes_back(content: bytes) -> None:
    text = b"longer than one word\n" + content  # what is no text and shorter stays
    assert decode_transfer(base64.encodebytes(text), "base64") == text
    lined = content.replace(b"\r", b"")
    encoded = quopri.encodestring(lined, quotetabs=True)
    assert decode_transfer(encoded, "quotedprintable") == lined


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            CLAIM + b"\n\n_______\nlist mailing list\nlist@example.org\n",
            b"Claim your free prize\n_______\nlist mailing list\nlist@example.org\n",
        ),
        (CLAIM + b"\n\nunsubscribe\n", b"Claim your free prize\nunsubscribe\n"),
        (CLAIM + b"\nunsubscribe here\n", b"Claim your free prize\nunsubscribe here\n"),
        (CLAIM + b"\nunsubscribe\n", b"Claim your free prize\nunsubscribe\n"),
        (b"Q2xhaW0geW91ciBwcml6ZQ==\ndisclaim\n", b"Claim your prize\ndisclaim\n"),
        (b"Q2xhaW0=\nIHlvdXI=\nIHByaXpl\n", b"Claim your prize"),
        (b"Q2xhaW0=IHlvdXI=IHByaXpl", b"Claim your prize"),
        (b"Q2xh aW0g eW91 ciBm cmVl\n", b"Claim your free"),
        (b"> Q2xhaW0geW91ciBm\n> cmVl\n", b"Claim your free"),
        (b"Q2xhaW0geW91!ciBmcmVl\n", b"Claim your free"),
        (b"Q2xhaW0geW91ciBmcmV\n", b"Claim your fre"),
        (b"This text is not encoded\nat all.\n", b"This text is not encoded\nat all.\n"),
        (b"Hello\n", b"Hello\n"),
        (b"", b""),
    ],
    ids=range(14),
)
def test_base64_is_decoded_as_far_as_it_goes(body: bytes, text: bytes) -> None:
    assert decode_transfer(body, "base64").rstrip(b"\n") == text.rstrip(b"\n")


@pytest.mark.parametrize("codec", ["utf-8", "koi8-r", "gb18030", "cp932", "utf-16", "cp1252"])
def test_a_footer_behind_base64_is_kept_in_every_charset(codec: str) -> None:
    sample = {"koi8-r": "Ваш приз 10 ", "cp1252": "für 10 € ", "utf-8": "für 10 € "}
    text = (sample.get(codec, "立即领取 10 ") * 40).encode(codec, "ignore")
    footer = b"\n____\nlist mailing list\nunsubscribe\n"
    assert decode_transfer(base64.encodebytes(text) + footer, "base64") == text + footer + b"\n"


def test_a_damaged_line_spoils_only_itself() -> None:
    text = b"".join(b"line %02d of a long text that goes on and on\n" % n for n in range(20))
    lines = base64.encodebytes(text).split(b"\n")
    lines[2] = lines[2][:-1] + b"!"
    found = decode_transfer(b"\n".join(lines), "base64")
    assert found[: 2 * 57] == text[: 2 * 57] and found[-5 * 57 :] == text[-5 * 57 :]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"pri=\nze", b"prize"),
        (b"pri= \t\nze", b"prize"),
        (b"prize=", b"prize"),
        (b"a=3Db =3d =XY = z  \n", b"a=b = =XY = z\n"),
        (b"caf=C3=A9=\n", b"caf\xc3\xa9"),
    ],
)
def test_quoted_printable_forgives_what_it_cannot_read(body: bytes, text: bytes) -> None:
    assert decode_transfer(body, "quotedprintable") == text


def test_uuencode_is_decoded_between_its_lines() -> None:
    lines = binascii.b2a_uu(b"Claim your prize now")
    body = b"before\nbegin 644 a.txt\n" + lines + b"`\nend\nafter"
    assert decode_transfer(body, "uuencode") == b"before\nClaim your prize nowafter\n"
    cut = decode_transfer(b"begin 644 a.txt\n" + lines[:-5], "uuencode")
    assert cut.startswith(b"Claim your prize")
