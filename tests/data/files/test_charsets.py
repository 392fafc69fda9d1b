"""Charset labels as browsers read them: compared with the tables of Python's codecs, and with
single characters of the WHATWG standard.
"""

from __future__ import annotations

import pytest

from tamis.data.files.charsets import codec_of, decode_text


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("iso-8859-1", "cp1252"),
        ("ISO_8859-1", "cp1252"),
        ("latin1", "cp1252"),
        ("iso-8859-9", "cp1254"),
        ("tis-620", "cp874"),
        ("gb2312", "gb18030"),
        ("GBK", "gb18030"),
        ("cp936", "gb18030"),
        ("shift_jis", "cp932"),
        ("x-sjis", "cp932"),
        ("ks_c_5601-1987", "cp949"),
        ("big5", "big5hkscs"),
        ('"utf8"', "utf-8"),
        (" utf-8; ", "utf-8"),
        ("charset=utf-8", "utf-8"),
        ("windows1252", "cp1252"),
        ("win-1251", "cp1251"),
        ("utf-8*en", "utf-8"),
        ("utf-7", "utf-7"),
        ("hz-gb-2312", "hz"),
        ("us-ascii", None),
        ("unknown-8bit", None),
        ("rot13", None),
        ("zlib", None),
        ("idna", None),
        ("no such\0charset", None),
        ("é", None),
        ("", None),
    ],
)
def test_a_label_means_what_it_means_in_browsers(label: str, codec: str | None) -> None:
    assert codec_of(label) == codec


@pytest.mark.parametrize(
    ("content", "label", "text"),
    [
        (b"Don\x92t \x96 \x8050\x85", "iso-8859-1", "Don’t – €50…"),
        (b"a\x81b", "iso-8859-1", "a\x81b"),
        (b"\x80 \xc4\xe3", "gb2312", "€ 你"),
        (b"\x96\xb1", "gb2312", b"\x96\xb1".decode("gbk")),
        (b"\x87@", "shift_jis", "①"),
        (b"\xad\xa1\xc6\xfc", "euc-jp", "①日"),
        (b"\x1b$B-!F|\x1b(B x", "iso-2022-jp", "①日 x"),
        (b"\x1b(I1\x1b(B", "iso-2022-jp", "ｱ"),
        (b"\x81\x41", "euc-kr", b"\x81\x41".decode("cp949")),
        (b"\xa3\xe1", "big5", "€"),
        (b"caf\xc3\xa9", "us-ascii", "café"),
        (b"caf\xe9", "us-ascii", "café"),
        (b"caf\xe9", None, "café"),
        (b"caf\xe9", "no-such", "café"),
        ("日本".encode("iso2022_jp"), None, "日本"),
        ("hé".encode("utf-16"), "iso-8859-1", "hé"),
        ("hello".encode("utf-16-le"), None, "hello"),
        (b"\xef\xbb\xbfh\xc3\xa9", "windows-1251", "hé"),
        (b"hello", "utf-16", "hello"),
        ("10 €".encode(), "gb2312", "10 €"),
        # A label that most of the text contradicts: windows-1252.
        ("für große Söhne".encode("cp1252"), "utf-8", "für große Söhne"),
        # One damaged character of UTF-8.
        ("für große Söhne".encode() + b"\xc3", "utf-8", "für große Söhne\ufffd"),
        ("für große Söhne".encode() + b"\xc3", None, "für große Söhne\ufffd"),
        (b"", "gb2312", ""),
    ],
)
def test_bytes_become_the_characters_that_were_meant(
    content: bytes, label: str | None, text: str
) -> None:
    assert decode_text(content, label) == text


def test_iso_2022_jp_is_the_table_of_euc_jp() -> None:
    wrong = set()
    for row in range(0x21, 0x7F):
        for cell in range(0x21, 0x7F):
            try:
                expected = bytes((row | 0x80, cell | 0x80)).decode("euc_jp")
            except UnicodeDecodeError:
                continue
            if decode_text(b"\x1b$B" + bytes((row, cell)), "iso-2022-jp") != expected:
                wrong.add(expected)
    # The characters that Windows, and so browsers, map in their own way.
    assert wrong == set("〜‖−¢£¬")


@pytest.mark.parametrize("codec", ["koi8-r", "cp1251", "gb18030", "cp932", "cp949", "big5"])
def test_text_of_a_declared_charset_comes_back(codec: str) -> None:
    text = {"koi8-r": "Приз сегодня", "cp1251": "Приз сегодня", "cp949": "무료 상품"}.get(
        codec, "中文，日本"
    )
    assert decode_text(text.encode(codec), codec) == text
