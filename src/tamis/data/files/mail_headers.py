"""Header fields of mail: where they end, their parameters, and encoded words.

Sources: RFC 5322 (fields), RFC 2045 (parameters), RFC 2047 (encoded words), RFC 2231 (parameters
in several pieces). The standard library's parsers stop at the first fault; this one forgives
spaces before the colon, lines that are not fields, and encoded words that other programs broke.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from tamis.data.files.charsets import codec_of, decode_text
from tamis.data.files.transfer_encodings import decode_base64, decode_quoted_printable

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(?=([ \t\r\n]|\Z)?)")
_CERTAIN = frozenset(
    b"from to subject date received message-id mime-version return-path delivered-to "
    b"content-type".split()
)
_USUAL = _CERTAIN | frozenset(
    b"cc bcc content-transfer-encoding content-disposition reply-to sender in-reply-to references "
    b"status x-status x-mailer user-agent dkim-signature authentication-results list-id "
    b"list-unsubscribe precedence organization errors-to envelope-to x-spam-status received-spf "
    b"x-originating-ip thread-topic thread-index x-priority importance".split()
)
_ENVELOPE = re.compile(rb">?From ")
_BEYOND = 4  # lines after a line that is no field, in which another field continues the header
_PARAMETER = re.compile(
    r"""[;\s]\s*([\w.%-]+)(?:\*(\d+))?(\*?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'(?=[\s;]|$)|([^;]*))"""
)
_WORD = re.compile(rb"=\?([^?\s]*)\?[ \t]*([bBqQ])[ \t]*\?(.*?)\?=", re.DOTALL)
_LONGEST = 1 << 16  # bytes of a value in which encoded words and parameters are looked for


@dataclass(frozen=True)
class Headers:
    """The fields of one header: lower-case names and raw values, unfolded, in their order."""

    fields: tuple[tuple[bytes, bytes], ...] = ()

    def raw(self, name: bytes) -> bytes | None:
        """Return the value of the first field `name`; None if there is none."""
        return next((value for each, value in self.fields if each == name), None)

    @property
    def content_type(self) -> str:
        """The content type without parameters, such as "text/html"; "" if it is not given."""
        value = (self.raw(b"content-type") or b"").decode("latin-1")
        found = re.match(r"[\s\"';,]*([^\s;,\"'/]+)\s*/\s*([^\s;,\"'()]+)", value)
        return f"{found[1]}/{found[2]}".lower() if found else ""

    def parameter(self, name: str, field: bytes = b"content-type") -> str | None:
        """Return a parameter such as the boundary or the charset; None if there is none."""
        raw = (self.raw(field) or b"")[:_LONGEST]
        value = ";" + " ".join(raw.decode("utf-8", "replace").split())
        pieces: list[tuple[int, str, bool]] = []
        for key, number, extended, *values in _PARAMETER.findall(value):
            if key.lower() == name:
                quoted, single, bare = values
                text = re.sub(r"\\(.)", r"\1", quoted) or single or bare.strip()
                pieces.append((int(number or 0), text, bool(extended)))
        if not pieces:
            return None
        if pieces[0][0] or len(pieces) > 1:
            pieces.sort(key=lambda piece: piece[0])
            # A repeated parameter without numbers counts once.
            pieces = [each for place, each in enumerate(pieces) if each[0] == place]
        joined = "".join(text for _, text, _ in pieces)
        if pieces and pieces[0][2]:
            charset, _, rest = joined.partition("'")
            return decode_text(unquote_to_bytes(rest.partition("'")[2] or joined), charset)
        return joined

    def text(self, name: bytes, charset: str | None = None) -> str | None:
        """Return a field as text: encoded words decoded, spaces collapsed; None if there is none.

        `charset` explains bytes above 127 that are not UTF-8.
        """
        value = self.raw(name)
        return None if value is None else " ".join(decode_words(value, charset).split())


def read_headers(content: bytes, start: int = 0) -> tuple[Headers, int]:
    """Read the header that begins at `start`; returns it with the start of the body.

    Lines end with LF. A line that is no field is skipped if a usual field follows soon, otherwise
    the body begins with it.
    """
    fields: list[tuple[bytes, list[bytes]]] = []
    position = start
    while position < len(content):
        end = _line_end(content, position)
        line = content[position:end].rstrip(b"\n")
        if not line.strip():
            # A line of spaces inside a header is a mistake of a folding program.
            if line and fields and _goes_on(content, end, 1):
                position = end
                continue
            return _joined(fields), end
        field = _field(line)
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1][1].append(line)
        elif field:
            fields.append((field[1].lower(), [line[field.end() :].strip()]))
        elif not _goes_on(content, end, _BEYOND):
            return _joined(fields), position
        elif fields and not _ENVELOPE.match(line):
            fields[-1][1].append(b" " + line)
        position = end
    return _joined(fields), len(content)


def _joined(fields: list[tuple[bytes, list[bytes]]]) -> Headers:
    return Headers(tuple((name, b"\n".join(lines)) for name, lines in fields))


def usual_fields(lines: list[bytes], *, certain: bool = False) -> int | None:
    """Return how many different usual fields a header of these lines has, up to the first empty
    line; None if a line before it is no field.

    `certain` counts only those that other texts rarely begin with.
    """
    usual: set[bytes] = set()
    seen = False
    for line in lines:
        if not line.strip():
            break
        if line[:1] in (b" ", b"\t") and seen:
            continue
        field = _field(line)
        if field is None:
            return None
        seen = True
        usual.update({field[1].lower()} & (_CERTAIN if certain else _USUAL))
    return len(usual)


def decode_words(value: bytes, charset: str | None = None) -> str:
    """Decode the encoded words in the value of a field, and its bytes above 127.

    Words of one charset that follow each other are joined before they are decoded, because many
    programs divide a character between two words.
    """
    pieces: list[str] = []
    held, held_charset = b"", ""
    position = 0
    for word in _WORD.finditer(value, 0, _LONGEST):
        between = value[position : word.start()]
        label = word[1].decode("latin-1")
        if held and (between.strip() or codec_of(label) != codec_of(held_charset)):
            pieces.append(decode_text(held, held_charset))
            held = b""
        if between.strip() or not position:
            pieces.append(_raw(between, charset))
        content = word[3].replace(b"\n", b"")
        held += (
            decode_quoted_printable(content.replace(b"_", b" "))
            if word[2] in b"qQ"
            else decode_base64(content)
        )
        held_charset, position = label, word.end()
    if held:
        pieces.append(decode_text(held, held_charset))
    pieces.append(_raw(value[position:], charset))
    return "".join(pieces).replace("\0", "")


def _raw(value: bytes, charset: str | None) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return decode_text(value, charset)


def _field(line: bytes) -> re.Match[bytes] | None:
    """Match the name of a field; a name that is not usual needs a space after its colon, because
    "http://" is no field.
    """
    field = _FIELD.match(line)
    return field if field and (field[2] is not None or field[1].lower() in _USUAL) else None


def _line_end(content: bytes, position: int) -> int:
    return (content.find(b"\n", position) + 1) or len(content)


def _goes_on(content: bytes, position: int, lines: int) -> bool:
    """Return whether one of the next lines, before an empty one, is a usual field."""
    for _ in range(lines):
        end = _line_end(content, position)
        line = content[position:end]
        if not line.strip():
            return False
        field = _field(line)
        if field and field[1].lower() in _USUAL:
            return True
        position = end
    return False
