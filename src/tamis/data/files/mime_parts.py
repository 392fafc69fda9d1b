"""The parts of a mail: a flat list of leaves, found in one pass whatever the nesting.

Source: RFC 2046. The standard library calls itself once per level and keeps a multipart without
its boundary as one undivided text; here neither depth nor a wrong boundary loses a part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tamis.data.files.mail_headers import Headers, read_headers
from tamis.data.files.transfer_encodings import decode_transfer, normal_name

_DELIMITER = re.compile(rb"^--([^\n]*)$", re.MULTILINE)
_BEFORE_FIELDS = re.compile(rb"^--(\S[^\n]*)\n(?=Content-[A-Za-z-]+[ \t]*:)", re.M | re.I)
_EMPTY_DELIMITER = re.compile(rb"^--[ \t]*\n(?=Content-[A-Za-z-]+[ \t]*:)", re.M | re.I)
_EMPTY_DELIMITERS = re.compile(rb"^--(--)?[ \t]*$", re.MULTILINE)
_CONTENT_FIELD = re.compile(rb"\s*Content-[A-Za-z-]+[ \t]*:", re.I)
_MAILS = ("message/rfc822", "message/news", "message/global")
_MOST_REPEATS = 16  # spans of a mail that are read again: a wrong boundary, an encoded part


@dataclass(frozen=True)
class Part:
    """One leaf.

    `body` still has its transfer encoding. `alternative` numbers the outermost
    multipart/alternative around the part (None: there is none). `forwarded`: it belongs to a mail
    that is attached to this one. `loose`: text outside of all parts.
    """

    headers: Headers
    body: bytes
    alternative: int | None = None
    forwarded: bool = False
    loose: bool = False

    @property
    def content_type(self) -> str:
        """The content type; "text/plain" if there is none, as RFC 2045 says."""
        return self.headers.content_type or "text/plain"

    @property
    def encoding(self) -> str:
        """The transfer encoding, as `transfer_encodings.normal_name` returns it."""
        names = (
            normal_name(value)
            for name, value in self.headers.fields
            if name == b"content-transfer-encoding"
        )
        return next(filter(None, names), "")

    @property
    def attached(self) -> bool:
        """Whether the part is an attachment, which a mail program does not show."""
        disposition = self.headers.raw(b"content-disposition") or b""
        return disposition.strip(b" \t\"'").lower().startswith(b"attachment")

    def decoded(self) -> bytes:
        """Return the body without its transfer encoding."""
        return decode_transfer(self.body, self.encoding)


@dataclass
class _Multipart:
    boundary: bytes
    headers: Headers
    start: int
    alternative: int | None
    forwarded: bool
    parts: int = 0


@dataclass
class _Pass:
    """One reading of `content`: the multiparts that are open, outermost first, and the leaf that
    began last.
    """

    content: bytes
    number: int
    multiparts: list[_Multipart] = field(default_factory=list)
    levels: dict[bytes, list[int]] = field(default_factory=dict)
    leaf: tuple[Part, int] | None = None

    def begin(self, start: int, alternative: int | None, *, forwarded: bool, mail: bool) -> None:
        """Begin the part whose header is at `start`; `mail`: without a type it is a mail."""
        headers, start = read_headers(self.content, start)
        while headers.content_type in _MAILS or (mail and not headers.content_type):
            if normal_name(headers.raw(b"content-transfer-encoding")):
                break  # not allowed, but sent: it is decoded and read again
            headers, start = read_headers(self.content, start)
            forwarded, mail = True, False
        if not headers.content_type.startswith("multipart/"):
            self.leaf = (Part(headers, b"", alternative, forwarded), start)
            return
        if alternative is None and headers.content_type == "multipart/alternative":
            alternative = self.number + start
        boundary = (headers.parameter("boundary") or "").rstrip().encode()
        self.open(_Multipart(boundary, headers, start, alternative, forwarded))

    def open(self, multipart: _Multipart) -> None:
        """Begin a multipart and the text before its first part."""
        if multipart.boundary:
            self.levels.setdefault(multipart.boundary, []).append(len(self.multiparts))
        self.multiparts.append(multipart)
        self.loose(multipart.start)

    def loose(self, start: int) -> None:
        """Begin a text that belongs to no part."""
        forwarded = bool(self.multiparts) and self.multiparts[-1].forwarded
        self.leaf = (Part(Headers(), b"", None, forwarded, loose=True), start)

    def level(self, token: bytes) -> int | None:
        """Return the place of the innermost multipart with this boundary."""
        places = self.levels.get(token)
        return places[-1] if places else None

    def end(self, at: int, level: int) -> Iterator[Part]:
        """End the leaf at `at`, and the multiparts inside of that at `level`."""
        without = len(self.multiparts) > level + 1 and not self.multiparts[-1].parts
        if self.leaf is not None and not (self.leaf[0].loose and without):
            part, start = self.leaf
            yield replace(part, body=self.content[start:at].removesuffix(b"\n"))
        self.leaf = None
        while len(self.multiparts) > level + 1:
            ended = self.multiparts.pop()
            if ended.boundary:
                self.levels[ended.boundary].pop()
            if not ended.parts:
                body = self.content[ended.start : at].removesuffix(b"\n")
                yield Part(ended.headers, body, ended.alternative, ended.forwarded)


def leaf_parts(content: bytes) -> Iterator[Part]:
    """Yield the leaves of a mail in their order; lines end with LF.

    A multipart without parts is divided at the boundary that its text shows, or is one leaf. An
    encoded multipart or mail is decoded first.
    """
    passes, read, left = [_parts(content, b"", 0)], len(content) + 1, _MOST_REPEATS
    while passes:
        part = next(passes[-1], None)
        if part is None:
            passes.pop()
            continue
        span = _span_to_read(part) if left else None
        if span is None:
            yield part
            continue
        passes.append(_inside(part, _parts(*span, read)))
        read, left = read + len(span[0]) + 1, left - 1


def _parts(content: bytes, boundary: bytes, number: int) -> Iterator[Part]:
    """Read `content` as a mail or, with a boundary, as the body of a multipart."""
    now = _Pass(content, number)
    if boundary:
        now.open(_Multipart(boundary, Headers(), 0, None, forwarded=False))
    else:
        now.begin(0, None, forwarded=False, mail=False)
    begun = now.leaf[1] if now.leaf else 0
    for found in _DELIMITER.finditer(content, begun):
        token = found[1].rstrip()
        closing = False
        level = now.level(token)
        if level is None and token.endswith(b"--"):
            closing, level = True, now.level(token[:-2].rstrip())
        if level is None:
            continue
        yield from now.end(found.start(), level)
        around = now.multiparts[level]
        if closing:
            # It stays open: some programs write its end before its last part.
            now.loose(found.end())
            continue
        around.parts += 1
        now.begin(
            min(found.end() + 1, len(content)),
            around.alternative,
            forwarded=around.forwarded,
            mail=around.headers.content_type == "multipart/digest",
        )
    yield from now.end(len(content), -1)


def _inside(around: Part, parts: Iterator[Part]) -> Iterator[Part]:
    mail = around.headers.content_type in _MAILS
    for part in parts:
        alternative = part.alternative if around.alternative is None else around.alternative
        if around.content_type == "multipart/alternative" and alternative is None:
            alternative = -1
        yield replace(
            part, forwarded=part.forwarded or around.forwarded or mail, alternative=alternative
        )


def _span_to_read(part: Part) -> tuple[bytes, bytes] | None:
    """Return text and boundary of what is a multipart or a mail after a closer look."""
    if part.loose:
        return None
    if part.headers.content_type in _MAILS:
        return part.decoded(), b""
    if part.headers.content_type.startswith("multipart/"):
        body = part.decoded().replace(b"\r\n", b"\n")
        boundary = (part.headers.parameter("boundary") or "").rstrip().encode()
        if part.encoding and boundary and b"--" + boundary in body:
            return body, boundary
        if _EMPTY_DELIMITER.search(body):
            body = _EMPTY_DELIMITERS.sub(rb"--=\1", body)
        boundary = _visible_boundary(body)
        if boundary:
            return body, boundary
        return (body.lstrip(), b"") if _CONTENT_FIELD.match(body) else None
    if part.headers.raw(b"content-type") is None and not part.encoding:
        boundary = _visible_boundary(part.body)
        return (part.body, boundary) if boundary and _BEFORE_FIELDS.search(part.body) else None
    return None


def _visible_boundary(body: bytes) -> bytes:
    """Return the boundary that the lines of a body show; empty if they show none."""
    seen: set[bytes] = set()
    for found in _DELIMITER.finditer(body):
        token = found[1].rstrip()
        if token.endswith(b"--") and token[:-2] in seen and token.strip(b"-"):
            return token[:-2]
        seen.add(token)
    found_ = _BEFORE_FIELDS.search(body)
    return found_[1].rstrip() if found_ else b""
