"""Messages from lines of text and from mails; `table_messages` makes those from tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tamis.data.files import mail_reader
from tamis.data.files.byte_sources import local_file, pieces_of
from tamis.data.files.messages import Message, Messages
from tamis.errors import DataError


def line_messages(
    lines: Iterable[str], name: str, notes: tuple[str, ...] = (), *, returns: bool = False
) -> Messages:
    """Return a message per line. `returns`: a line may end with a single CR."""

    def messages() -> Iterator[Message]:
        for number, line in enumerate(lines, 1):
            text = line
            if line.endswith("\n"):
                text = line.removesuffix("\n").removesuffix("\r")
            elif returns:
                text = line.removesuffix("\r")
            yield Message(text, {"text": text}, number)

    return Messages("text", "text", name, notes, messages())


def mail_messages(format_: str, name: str, mails: Iterable[mail_reader.Mail]) -> Messages:
    """Return a message per mail, with the same columns for all: from, date, subject, text."""

    def messages() -> Iterator[Message]:
        for mail in mails:
            columns: dict[str, object] = {
                column: mail.headers.get(column, "") for column in mail_reader.COLUMNS
            }
            yield Message(mail.text, columns | {"text": mail.text}, mail.line)

    return Messages(format_, "text", name, (), messages())


def mailbox_messages(lines: Iterable[bytes], name: str, *, utf8: bool = False) -> Messages:
    """Return the mails of a mailbox file.

    Args:
        lines: with their ends.
        name: the name of the file.
        utf8: the lines were transcoded to UTF-8.

    Raises:
        DataError: while reading: the file is not empty and has no mail.
    """

    def mails() -> Iterator[mail_reader.Mail]:
        some = False
        found = False

        def seen() -> Iterator[bytes]:
            nonlocal some
            for line in lines:
                some = some or bool(line.strip())
                yield line

        for mail in mail_reader.mbox_mails(seen(), utf8=utf8):
            found = True
            yield mail
        if some and not found:
            raise DataError(
                f'{name}: expected a mailbox (mbox), whose mails begin with a line "From ", found '
                "no mail; give one mail as .eml, or lines of text as .txt"
            )

    return mail_messages("mbox", name, mails())


def is_maildir(path: Path) -> bool:
    """Return whether a folder is a Maildir mailbox."""
    return (path / "cur").is_dir() and (path / "new").is_dir()


def maildir_messages(path: Path) -> Messages:
    """Return the mails of a Maildir folder, in the order of their file names."""
    files = sorted(
        (
            file
            for folder in ("new", "cur")
            for file in (path / folder).iterdir()
            if file.is_file() and not file.name.startswith(".")
        ),
        key=lambda file: file.name,
    )

    def mails() -> Iterator[mail_reader.Mail]:
        for file in files:
            local = local_file(file)
            with local.path.open("rb") as opened:
                yield mail_reader.read_mail(b"".join(pieces_of(opened)))

    return mail_messages("maildir", str(path), mails())


def ends_lines_with_returns(start: str | bytes) -> bool:
    """Return whether a text that begins with `start` ends its lines with CR alone."""
    return isinstance(start, str) and "\n" not in start and "\r" in start


def split_at_returns(line: bytes) -> list[bytes]:
    """Return the lines of the only line of a stream, which may end its lines with CR alone."""
    return re.findall(rb"[^\r]*\r|[^\r]+", line) if not line.endswith(b"\n") else [line]
