"""Cleans lines of raw text: white space, control characters, and a recipe's steps."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffd\u200b\u2060]")
_BLANKS = re.compile(r"[ \t\u00a0\u2000-\u200a\u202f\u3000]+")
_BEFORE_PUNCTUATION = re.compile(r" +([,.!?%)\]}]|[;:](?![-)(\]DP]))(?=\s|$|[\"'\u201d\u2019)])")
_AFTER_OPENING = re.compile(r"([(\[{]) +")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3}|_{2,3})(?=\S)(.+?)(?<=\S)\1(?!\w)")
_SENTENCE_END = re.compile(r"(?<=[.!?…][\"'\u201d\u2019)]) +|(?<=[.!?…]) +")


def tidy(line: str) -> str:
    """Apply NFC, drop control characters, fold white space to single blanks, none at the ends.

    Words and their spelling do not change.
    """
    # NFC comes last: removing characters can put a letter next to its accent.
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", _CONTROL.sub("", line))).strip()


def close_spacing(line: str) -> str:
    """Remove blanks around punctuation, as in corpora that were split into words."""
    return _AFTER_OPENING.sub(r"\1", _BEFORE_PUNCTUATION.sub(r"\1", line))


def plain_markdown(line: str) -> str:
    """Replace links by their text, and remove the marks of headings and emphasis."""
    return _EMPHASIS.sub(r"\2", _HEADING.sub("", _LINK.sub(r"\1", line)))


RULES: dict[str, Callable[[str], str]] = {"spacing": close_spacing, "markdown": plain_markdown}
"""The names that `clean` in a source's recipe may use."""


def has_content(line: str) -> bool:
    """Return whether a line has at least one letter or digit."""
    return any(character.isalnum() for character in line)


def cut(line: str, longest_words: int) -> list[str]:
    """Split a line into parts of at most `longest_words` words, at ends of sentences if possible,
    else between words.
    """
    words = line.count(" ") + 1
    if words <= longest_words:
        return [line]
    parts: list[str] = []
    kept: list[str] = []
    count = 0
    for sentence in _SENTENCE_END.split(line):
        tokens = sentence.split(" ")
        if kept and count + len(tokens) > longest_words:
            parts.append(" ".join(kept))
            kept, count = [], 0
        while len(tokens) > longest_words:
            parts.append(" ".join(tokens[:longest_words]))
            tokens = tokens[longest_words:]
        kept.append(" ".join(tokens))
        count += len(tokens)
    parts.append(" ".join(kept))
    return [part for part in parts if part]
