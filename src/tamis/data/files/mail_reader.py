"""Mail as text: one message (.eml) or an mbox. The text is the subject and the body; HTML is
stripped if there is no plain part.

Attachments are ignored. Sources: RFC 5322, RFC 4155 (mbox), the standard library's `email` with
`policy.default`.
"""

from __future__ import annotations

import email
import re
from collections.abc import Iterable, Iterator
from email import policy
from email.message import EmailMessage, Message
from html.parser import HTMLParser
from typing import NamedTuple

_MBOX_START = re.compile(rb"From \S.*\d{4}")
_HEADER = re.compile(rb"([!-9;-~]+):[ \t\r\n]")
_USUAL = frozenset(
    (
        b"from",
        b"to",
        b"subject",
        b"date",
        b"received",
        b"message-id",
        b"mime-version",
        b"return-path",
        b"delivered-to",
        b"content-type",
    )
)
_BLOCKS = frozenset(
    (
        "p",
        "div",
        "br",
        "tr",
        "li",
        "ul",
        "ol",
        "table",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "blockquote",
        "hr",
        "pre",
    )
)
_UNSEEN = frozenset(("script", "style", "head", "title", "template"))


class Mail(NamedTuple):
    """One mail: its 1-based first line, selected headers, and subject and body as one text."""

    line: int
    headers: dict[str, str]
    text: str


def is_mbox(head: bytes) -> bool:
    """Return whether a file that begins with `head` is an mbox: a "From " line, then headers."""
    first, _, rest = head.partition(b"\n")
    return bool(_MBOX_START.match(first)) and bool(_HEADER.match(rest))


def is_mail(head: bytes) -> bool:
    """Return whether a file that begins with `head` is a mail.

    A mail has only header lines, at least two of them common ones, then an empty line or the end.
    """
    usual: set[bytes] = set()
    for line in head.split(b"\n"):
        if not line.strip():
            break
        if line[:1] in (b" ", b"\t") and usual:
            continue
        header = _HEADER.match(line + b"\n")
        if header is None:
            return False
        usual.update({header.group(1).lower()} & _USUAL)
    return len(usual) > 1


def mbox_mails(lines: Iterable[bytes]) -> Iterator[Mail]:
    """Yield the mails of an mbox; one at a time is in memory. ">From " is read as "From "."""
    held: list[bytes] = []
    start, blank = 0, True
    for number, line in enumerate(lines, 1):
        if blank and _MBOX_START.match(line):
            if start:
                yield read_mail(b"".join(held), start)
            held, start = [], number
        elif start:
            held.append(line[1:] if re.match(rb">+From ", line) else line)
        blank = not line.strip()
    if start:
        yield read_mail(b"".join(held), start)


def read_mail(content: bytes, line: int = 1) -> Mail:
    """Return subject and body of one mail. Never raises, because real mail often is malformed."""
    message = email.message_from_bytes(content, policy=policy.default)
    headers = {
        name: value
        for name in ("from", "date", "subject")
        if (value := _header(message, content, name)) is not None
    }
    body = _body(message).strip()
    subject = " ".join(headers.get("subject", "").split())
    return Mail(line, headers, f"{subject}\n{body}" if subject and body else subject or body)


def strip_html(html: str) -> str:
    """Return the text of HTML: without tags, scripts and styles, entities resolved, each block
    element on its own line.
    """
    parser = _Words()
    parser.feed(html)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.words).split("\n"))
    return "\n".join(line for line in lines if line)


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._unseen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen.append(tag)
        elif tag == "body":
            self._unseen.clear()  # an element that was never closed must not hide the body
        elif tag in _BLOCKS:
            self.words.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unseen:
            del self._unseen[self._unseen.index(tag) :]
        elif tag in _BLOCKS:
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.words.append(re.sub(r"\s+", " ", data))


def _header(message: EmailMessage, content: bytes, name: str) -> str | None:
    try:
        value = message[name]
        return None if value is None else _clean(str(value))
    except Exception:
        # The standard library's header parsers raise many kinds of errors on malformed headers.
        raw = email.message_from_bytes(content, policy=policy.compat32)[name]
        return None if raw is None else _clean(str(raw))


def _body(message: EmailMessage) -> str:
    try:
        part: Message | None = message.get_body(preferencelist=("plain", "html"))
    except Exception:
        part = None
    if part is None and not message.is_multipart() and message.get_content_maintype() == "text":
        part = message
    if part is None:
        part = next(
            (
                each
                for each in message.walk()
                if each.get_content_type() in ("text/plain", "text/html")
            ),
            None,
        )
    if part is None:
        return ""
    text = _content(part)
    return strip_html(text) if part.get_content_type() == "text/html" else text


def _content(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return _clean(str(part.get_payload()))
    for charset in (part.get_content_charset() or "utf-8", "utf-8", "cp1252"):
        try:
            return payload.decode(charset).replace("\r\n", "\n")
        except (LookupError, ValueError):
            continue
    return payload.decode("latin-1").replace("\r\n", "\n")


def _clean(text: str) -> str:
    """Replace the half surrogates that the parser uses for undecodable bytes by U+FFFD."""
    return (
        text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if not text.isascii()
        else text
    )
