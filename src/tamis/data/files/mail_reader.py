"""Mail as text: one message (.eml) or a mailbox (mbox). The text is the subject and the body.

Owns what a mail looks like as bytes: byte-order marks, UTF-16 and line ends. `mail_headers` reads
the header, `mime_parts` finds the parts, `mail_body` chooses the text, `mbox` divides mailboxes.
Attachments are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tamis.data.files.binary_formats import utf16_without_mark
from tamis.data.files.encoding import wide_encoding
from tamis.data.files.html_text import strip_html
from tamis.data.files.mail_body import body_text
from tamis.data.files.mail_headers import read_headers, usual_fields
from tamis.data.files.mbox import divide_mailbox, is_mbox
from tamis.data.files.mime_parts import leaf_parts

__all__ = ["COLUMNS", "Mail", "is_mail", "is_mbox", "mbox_mails", "read_mail", "strip_html"]

COLUMNS = ("from", "date", "subject")
"""Header fields that are columns of the output, whether a mail has them or not."""
_HEAD_BYTES = 1 << 12


class Mail(NamedTuple):
    """One mail: its 1-based first line, the fields of `COLUMNS` that it has, and subject and body
    as one text.
    """

    line: int
    headers: dict[str, str]
    text: str


def is_mail(head: bytes) -> bool:
    """Return whether a file that begins with `head` is a mail.

    A mail has only header fields, at least two of them common ones, then an empty line or the end.
    Lines may end with LF, CR LF or CR; a byte-order mark or UTF-16 is no obstacle.
    """
    lines = _plain(head)[0].split(b"\n")
    if lines[0].startswith(b"From "):
        lines = lines[1:]
    return (usual_fields(lines, certain=True) or 0) > 1


def mbox_mails(lines: Iterable[bytes], *, utf8: bool = False) -> Iterator[Mail]:
    """Yield the mails of a mailbox; one at a time is in memory. For `utf8` see `read_mail`."""
    for line, content in divide_mailbox(lines):
        yield read_mail(content, line, utf8=utf8)


def read_mail(content: bytes, line: int = 1, *, utf8: bool = False) -> Mail:
    """Return subject and body of one mail. Never raises, because real mail often is malformed.

    `utf8`: the mail was transcoded to UTF-8, so its charset labels do not hold for unencoded text.
    """
    content, wide = _plain(content)
    header, _ = read_headers(content)
    parts = list(leaf_parts(content))
    charset = next(
        (found for part in parts if (found := part.headers.parameter("charset"))),
        header.parameter("charset"),
    )
    headers = {
        name: value
        for name in COLUMNS
        if (value := header.text(name.encode(), charset)) is not None
    }
    body = body_text(parts, utf8=utf8 or wide).strip()
    subject = headers.get("subject", "")
    return Mail(line, headers, f"{subject}\n{body}" if subject and body else subject or body)


def _plain(content: bytes) -> tuple[bytes, bool]:
    """Return a mail in an ASCII-compatible encoding whose lines end with LF, and whether it was
    transcoded to UTF-8.
    """
    name = wide_encoding(content) or utf16_without_mark(content[:_HEAD_BYTES])
    if name:
        content = content.decode(name, "replace").encode("utf-8", "replace")
    content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\r\n", b"\n")
    content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    header, empty, body = content.partition(b"\n\n")
    content = header.replace(b"\0", b"") + empty + body
    begin = content.lstrip(b"\n \t")
    # Empty lines before the header are no body.
    if begin != content and usual_fields(begin[:_HEAD_BYTES].split(b"\n")[:40]):
        content = begin
    return content, name is not None
