"""Divides a mailbox file into mails: mbox in its dialects, and MMDF. One mail is in memory.

A separator is a line "From " with a date as C's `ctime` writes it (the year, the seconds and the
time zone may be missing), or one that header fields follow. Sources: RFC 4155, and the
descriptions of mboxo, mboxrd and mboxcl by Daniel Bernstein and Rahul Dhesi.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

from tamis.data.files.mail_headers import usual_fields

MMDF = b"\x01\x01\x01\x01"
_FROM = b"From "
_MONTH = rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DATE = re.compile(
    rb"From .*?\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +"
    + (rb"(%b +\d{1,2},? +(\d{4} +)?|\d{1,2}[ -]%b[ -](\d{2,4} +)?)" % (_MONTH, _MONTH))
    + rb"\d{1,2}:\d\d|From \S+ +\d{4}-\d\d-\d\d[T ]\d\d:\d\d",
    re.IGNORECASE,
)
_AFTER_DATE = re.compile(
    rb"(:\d\d)?(\s+([+-]?\d{4}|\(?[A-Z]{1,5}\)?|[A-Z]\w+/\w+|remote from \S+))*\s*$", re.IGNORECASE
)
_SENDER = re.compile(rb"From ((-|\S+@\S+)(\s.*\d\d.*)?)?\s*$")
"""The sender, and what may be a date of another language or order."""
_LENGTH = re.compile(rb"content-length[ \t]*:[ \t]*(\d{1,9})\s*$", re.IGNORECASE)
_AHEAD = 40  # lines of a header that are looked at
_LONGEST = 1 << 26  # largest Content-Length that is looked at
_MOST_WRONG = 8  # wrong lengths after which no length of the file is looked at


def is_mbox(head: bytes) -> bool:
    """Return whether a file that begins with `head` is an mbox or MMDF mailbox."""
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    lines = re.split(rb"\r\n|\n|\r", head[: 1 << 16], maxsplit=_AHEAD + 1)
    if lines[0].rstrip() == MMDF:
        return len(lines) > 1 and usual_fields(_without_from(lines[1:])) is not None
    if not lines[0].startswith(_FROM):
        return False
    # A mail without a header has an empty line there.
    bare = bool(_DATE.match(lines[0])) and not b"".join(lines[1:2]).strip()
    return bare or _has_header(lines[1:])


def divide_mailbox(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the 1-based line and the content of each mail, without its separator.

    `lines` keep their ends. ">From " at the start of a line is read as "From ".
    """
    reading = _Lines(lines)
    held: list[bytes] = []
    # The first mail may lack its separator.
    header = reading.header()
    lacks = bool(header) and not header[0].startswith(_FROM) and _has_header(header)
    start, blank = int(lacks), True
    while (line := reading.next()) is not None:
        bare = line.rstrip(b"\r\n")
        if reading.mmdf:
            found = bare == MMDF
        else:
            found = line.startswith(_FROM) and _is_separator(bare, reading, blank=blank)
        if found:
            if start and (held or not reading.mmdf):
                yield start, b"".join(held)
            held, start = [], reading.number
            if not reading.mmdf:
                held = reading.counted()
        elif start:
            held.append(line[1:] if re.match(rb">+From ", line) else line)
        blank = not bare.strip()
    if start and (held or not reading.mmdf):
        yield start, b"".join(held)


class _Lines:
    """Lines with their numbers, of which some can be looked at before they are taken."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._rest = iter(lines)
        self._ahead: deque[bytes] = deque()
        self.number = 0
        self._wrong_lengths = 0
        first = self.ahead(0)
        if first is not None:
            self._ahead[0] = first.removeprefix(b"\xef\xbb\xbf")
        place = 0
        while (first := self.ahead(place)) is not None and not first.strip() and place < _AHEAD:
            place += 1
        self.mmdf = first is not None and first.strip() == MMDF

    def ahead(self, place: int) -> bytes | None:
        """Return the line `place` lines after the next one; None after the end."""
        while len(self._ahead) <= place:
            line = next(self._rest, None)
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[place]

    def next(self) -> bytes | None:
        line = self.ahead(0)
        if line is not None:
            self._ahead.popleft()
            self.number += 1
        return line

    def header(self) -> list[bytes]:
        lines: list[bytes] = []
        while len(lines) < _AHEAD and (line := self.ahead(len(lines))) is not None:
            lines.append(line.rstrip(b"\r\n"))
            if not line.strip():
                break
        return lines

    def counted(self) -> list[bytes]:
        """Take the mail that follows if its Content-Length leads to a separator or to the end."""
        size, place, wanted = 0, 0, None
        while (line := self.ahead(place)) is not None and line.strip():
            found = _LENGTH.match(line)
            wanted = int(found[1]) if found else wanted
            place, size = place + 1, size + len(line)
            if size > 1 << 18:
                return []
        if not wanted or wanted > _LONGEST or line is None:
            return []
        if self._wrong_lengths == _MOST_WRONG:
            return []
        self._wrong_lengths += 1
        place, size = place + 1, 0
        while size < wanted:
            line = self.ahead(place)
            if line is None:
                return []
            place, size = place + 1, size + len(line)
        blanks = 0
        while (line := self.ahead(place + blanks)) is not None and not line.strip():
            blanks += 1
        if size != wanted or not (line is None or line.startswith(_FROM)):
            return []
        self._wrong_lengths -= 1
        return [self.next() or b"" for _ in range(place)]


def _is_separator(line: bytes, reading: _Lines, *, blank: bool) -> bool:
    date = _DATE.match(line)
    if date and blank and _AFTER_DATE.match(line, date.end()):
        return True
    # Without an empty line before it, a separator has a date, or begins with a sender.
    likely = blank or date or _SENDER.match(line)
    return bool(likely) and _has_header(reading.header())


def _has_header(lines: list[bytes]) -> bool:
    """Return whether lines begin with the header of a mail."""
    lines = _without_from(lines)
    usual = usual_fields(lines)
    return bool(usual) or (usual == 0 and b"".join(lines[:1])[:2].lower() == b"x-")


def _without_from(lines: list[bytes]) -> list[bytes]:
    """Return the lines of a header without a second separator, as some programs add it."""
    return [line for line in lines if not re.match(rb">?From ", line)]
