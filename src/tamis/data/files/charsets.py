"""Bytes of mail and HTML as text: charset labels mean what they mean in browsers.

Labels follow the WHATWG Encoding Standard (library `webencodings`): "iso-8859-1" is windows-1252,
"gb2312" is gb18030, "shift_jis" is cp932. Python's own names are accepted too, because mail uses
some that browsers do not know, such as UTF-7. `encoding` detects the encoding of tables and text
files, which have no label.
"""

from __future__ import annotations

import codecs
import re

import webencodings

# Labels that say nothing about bytes above 127, or nothing at all.
_NO_CLAIM = frozenset(
    "us-ascii ascii ansi_x3.4-1968 ansi_x3.4-1986 iso646-us iso_646.irv:1991 x-unknown "
    "unknown-8bit unknown default default_charset none binary 7bit 8bit x-user-defined".split()
)
_SUPERSETS = {"gbk": "gb18030", "gb2312": "gb18030"}
_NOT_CHARSETS = frozenset(
    ("idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "unicode-escape", "undefined")
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with UTF-16's little-endian mark
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UTF16_LETTERS = re.compile(rb"[\t\n\r -~]\0")
_JIS_ESCAPE = re.compile(rb"\x1b(\$[@B]|\([BIJ])")
_ERRORS = "tamis.browser"


def codec_of(label: str) -> str | None:
    """Return Python's name of the codec for a charset label; None if the label names none.

    Forgives quotes, spaces, a trailing semicolon and a repeated "charset=".
    """
    label = label.strip(" \t\r\n\"';,<>()").lower().removeprefix("charset=").strip("\"' ")
    label = label.partition("*")[0]  # RFC 2231 appends a language
    if not label.isascii() or label in _NO_CLAIM:
        return None
    spellings = (
        label,
        label.replace("_", "-"),
        re.sub(r"^(windows|win|x-cp|cp|ms)[-_]?", "cp", label),
    )
    for spelling in spellings:
        found = webencodings.lookup(spelling)
        # Browsers refuse a few stateful charsets ("replacement"), which Python can decode.
        if found is not None and found.name not in ("replacement", "x-user-defined"):
            return _SUPERSETS.get(str(found.codec_info.name), str(found.codec_info.name))
    for spelling in spellings:
        try:
            info = codecs.lookup(spelling)
        except (LookupError, ValueError):
            continue
        # Codecs such as "zlib" and "rot13" are not charsets.
        if getattr(info, "_is_text_encoding", True) and info.name not in _NOT_CHARSETS:
            return _SUPERSETS.get(info.name, info.name)
    return None


def decode_text(content: bytes, label: str | None = None) -> str:
    """Decode `content`. Never raises; what no charset explains becomes U+FFFD.

    A byte-order mark wins over `label`. Without a valid label the text is UTF-8 if its bytes are,
    else ISO-2022-JP if it has that charset's escapes, else windows-1252. A label that most of the
    text contradicts is ignored.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(name, _ERRORS)
    codec = None if label is None else codec_of(label)
    if codec is None:
        return _undeclared(content)
    text = _decode(content, codec)
    wrong = text.count("\ufffd")
    if wrong:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            pass
        if 2 * wrong > sum(not character.isascii() for character in text):
            return content.decode("cp1252", _ERRORS)
    elif codec.startswith("utf-16") and content.count(b"\0") * 8 < len(content):
        return _undeclared(content)  # labelled UTF-16, as some mailers do, and sent as UTF-8
    return text


def _undeclared(content: bytes) -> str:
    if _JIS_ESCAPE.search(content):
        return _iso_2022_jp(content)
    if len(_UTF16_LETTERS.findall(content)) * 3 > len(content):
        return content.decode("utf-16-le", _ERRORS)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    # One damaged character must not turn a whole UTF-8 text into windows-1252.
    text = content.decode("utf-8", "replace")
    valid = sum(not character.isascii() for character in text) - text.count("\ufffd")
    return text if valid > text.count("\ufffd") else content.decode("cp1252", _ERRORS)


def _decode(content: bytes, codec: str) -> str:
    if codec == "iso2022_jp":
        return _iso_2022_jp(content)
    try:
        return content.decode(codec, _ERRORS)
    except (UnicodeError, ValueError):  # a codec that knows no error handler
        return content.decode("latin-1")


def _iso_2022_jp(content: bytes) -> str:
    """Decode ISO-2022-JP with the characters of Windows-31J, as browsers and mailers use it."""
    pieces = _JIS_ESCAPE.split(content)
    text = [_decode(pieces[0], "utf-8")]
    for escape, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if escape in (b"(B", b"(J"):
            text.append(_decode(piece, "utf-8"))
        elif escape == b"(I":
            text.append(bytes(byte | 0x80 for byte in piece).decode("cp932", "replace"))
        else:
            # A line end resets the charset.
            kanji, *rest = re.split(rb"(?=[\r\n])", piece, maxsplit=1)
            pairs = (kanji[place : place + 2] for place in range(0, len(kanji), 2))
            text.extend(map(_jis_pair, pairs))
            text.extend(_decode(part, "utf-8") for part in rest)
    return "".join(text)


def _jis_pair(pair: bytes) -> str:
    """Return the character of two 7-bit bytes of JIS X 0208 with the extensions of cp932."""
    if len(pair) < 2 or not all(0x21 <= byte <= 0x7E for byte in pair):
        return pair.decode("ascii", "replace")
    row, cell = pair
    first = (row - 0x21 >> 1) + 0x81
    first += 0x40 * (first > 0x9F)
    second = cell + 0x7E if row % 2 == 0 else cell + 0x1F + (cell > 0x5F)
    return bytes((first, second)).decode("cp932", "replace")


def _as_browsers(error: UnicodeError) -> tuple[str, int]:
    """Decode the bytes that Python's codecs refuse and the WHATWG standard defines."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    content, start = error.object, error.start
    byte, pair = content[start], content[start : start + 2]
    if error.encoding == "gb18030" and byte == 0x80:
        return "\u20ac", start + 1
    if error.encoding == "charmap" and byte < 0xA0:
        return chr(byte), start + 1
    if len(pair) == 2:
        if error.encoding == "euc_jp" and min(pair) > 0xA0:
            return _jis_pair(bytes(each & 0x7F for each in pair)), start + 2
        if error.encoding == "big5hkscs":
            try:
                return pair.decode("cp950"), start + 2
            except UnicodeDecodeError:
                pass
    return "\ufffd", max(error.end, start + 1)


codecs.register_error(_ERRORS, _as_browsers)
