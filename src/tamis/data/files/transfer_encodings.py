"""Transfer encodings of mail: base64, quoted-printable and uuencode, decoded as far as they go.

Sources: RFC 2045 sections 6.7 and 6.8. Programs on the way add spaces, quote marks and footers, and
join pieces that were padded one by one. The standard library gives up at the first such fault.
"""

from __future__ import annotations

import binascii
import re

_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")
_PIECE = re.compile(rb"([A-Za-z0-9+/]+)=*")
_SOFT_BREAK = re.compile(rb"=[ \t]*(?:\n|\Z)")
_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")
_DENSE = re.compile(rb"[A-Za-z0-9+/]{30,}")
_QUOTE_MARKS = b"> \t|"
_STRAY_SHARE = 0.25
_TEXT_SHARE = 0.9
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\r\f\x1b") + b"\x7f"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16
_EDGE = 3  # bytes of a character that a line may cut off at each end


def normal_name(value: bytes | None) -> str:
    """Return "base64", "quotedprintable", "uuencode" or "" for a Content-Transfer-Encoding."""
    name = re.sub(rb"\(.*?\)", b"", value or b"").partition(b";")[0].lower()
    letters = re.sub(rb"[^a-z0-9]", b"", name).decode("ascii").removeprefix("x")
    return {"uue": "uuencode", "uu": "uuencode"}.get(
        letters,
        letters if letters in ("base64", "quotedprintable", "uuencode") else "",
    )


def decode_transfer(body: bytes, encoding: str) -> bytes:
    """Decode `body`, whose lines end with LF, from an encoding of `normal_name`."""
    if encoding == "base64":
        return decode_base64_lines(body)
    if encoding == "quotedprintable":
        # Spaces at the end of a line were added on the way.
        lines = (line.rstrip(b" \t") for line in body.split(b"\n"))
        return decode_quoted_printable(b"\n".join(lines))
    return decode_uuencode(body) if encoding == "uuencode" else body


def decode_quoted_printable(content: bytes) -> bytes:
    """Decode quoted-printable; an equals sign that encodes nothing stays."""
    content = _SOFT_BREAK.sub(b"", content)
    return _HEX.sub(lambda found: bytes((int(found[1], 16),)), content)


def decode_base64(content: bytes) -> bytes:
    """Decode base64: other characters are skipped, each padded piece is decoded, and a missing
    padding is added.
    """
    decoded = []
    for piece in _PIECE.findall(_NO_BASE64.sub(b"", content)):
        piece = piece[: len(piece) - (len(piece) % 4 == 1)]
        decoded.append(binascii.a2b_base64(piece + b"=" * (-len(piece) % 4)))
    return b"".join(decoded)


def decode_base64_lines(body: bytes) -> bytes:
    """Decode the base64 lines of a body and keep the plain text after and between them.

    All lines of one encoded text have the same length, except the last. After such a last line
    only a line that decodes to text is taken for base64 again.
    """
    if not body.strip():
        return b""
    decoded: list[bytes] = []
    run: list[bytes] = []
    width, open_ = 0, True
    for line in body.split(b"\n"):
        bare = _NO_BASE64.sub(b"", line)
        if not line.strip():
            open_ = open_ and not run
            if not run and decoded:
                decoded.append(b"\n")
            continue
        strays = len(line.strip(_QUOTE_MARKS)) - len(bare)
        continues = open_ and (not run or len(bare) == width or _may_be_last(bare, width))
        if bare and (
            (continues and not strays)
            or (strays <= _STRAY_SHARE * len(line) and (_decodes_to_text(bare) or _is_dense(line)))
        ):
            run.append(bare)
            width = width or len(bare)
            open_ = len(bare) >= width and not bare.endswith(b"=")
            continue
        if run:
            decoded.append(_decode_run(run))
            if not decoded[-1].endswith(b"\n"):
                decoded.append(b"\n")
        decoded.append(line + b"\n")
        run, open_ = [], False
    decoded.append(_decode_run(run))
    result = b"".join(decoded)
    # One encoded line that decodes to no text was plain text of one word.
    words = body.split()
    if len(words) == 1 and len(words[0]) < 16 and b"=" not in body and not _is_text(result):
        return body
    return result


def decode_uuencode(body: bytes) -> bytes:
    """Decode the lines between "begin" and "end" of uuencode and keep the others."""
    decoded: list[bytes] = []
    inside = False
    for line in body.split(b"\n"):
        if not inside and re.match(rb"begin(-base64)? [0-7]{3,4} ", line):
            inside = True
        elif inside and line.strip() == b"end":
            inside = False
        elif inside:
            try:
                decoded.append(binascii.a2b_uu(line))
            except binascii.Error:
                # Some encoders count bytes that they do not send.
                length = ((line[0] - 32 & 63) * 4 + 5) // 3 if line else 0
                try:
                    decoded.append(binascii.a2b_uu(line[:length]))
                except binascii.Error:
                    continue
        else:
            decoded.append(line + b"\n")
    return b"".join(decoded)


def _decode_run(run: list[bytes]) -> bytes:
    # Where lines are whole groups of four, a damaged line spoils only itself.
    whole = sum(len(line) % 4 == 0 for line in run)
    if whole >= max(len(run) - 1, 1):
        return b"".join(map(decode_base64, run))
    return decode_base64(b"".join(run))


def _may_be_last(line: bytes, width: int) -> bool:
    """Return whether a line can end an encoded text whose other lines have `width` characters."""
    whole = len(line) % 4 == 0 or len(line) < 8 or _decodes_to_text(line)
    return len(line) < width and whole


def _decodes_to_text(line: bytes) -> bool:
    return len(line) >= 8 and _is_text(decode_base64(line))


def _is_dense(line: bytes) -> bool:
    """Return whether a line has a run of characters that no words and addresses have."""
    return b"://" not in line and any(
        re.search(rb"[a-z]", run) and re.search(rb"[A-Z]", run) and re.search(rb"[0-9]", run)
        for run in _DENSE.findall(line)
    )


def _is_text(content: bytes) -> bool:
    """Return whether bytes are probably text: UTF-8 but for cut characters at both ends, or
    another charset without control characters and with few bytes above 127 beside letters.
    """
    if not content:
        return False
    controls = len(content) - len(content.translate(None, _CONTROLS))
    if controls:
        return content.count(b"\0") * 3 > len(content) or content.startswith(_WIDE_MARKS)
    for begin in range(min(_EDGE + 1, len(content))):
        for end in range(_EDGE + 1):
            try:
                content[begin : len(content) - end].decode("utf-8")
            except UnicodeDecodeError:
                continue
            return True
    high = len(content.translate(None, bytes(range(128))))
    return high < (1 - _TEXT_SHARE) * len(content) or high > _TEXT_SHARE * len(content)
