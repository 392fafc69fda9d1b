"""Lines of raw text to clean lines: white space, control characters, and what a source's recipe
asks for.
"""

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
    """NFC, no control characters, single blanks, none at the ends; the words and their spelling
    stay as they are.
    """
    # NFC last: what is dropped can bring a letter and its accent together.
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", _CONTROL.sub("", line))).strip()


def close_spacing(line: str) -> str:
    """Blanks before closing and after opening punctuation closed up, as corpora that were split
    into words need it.
    """
    return _AFTER_OPENING.sub(r"\1", _BEFORE_PUNCTUATION.sub(r"\1", line))


def plain_markdown(line: str) -> str:
    """Links to their text, headings and emphasis without their marks."""
    return _EMPHASIS.sub(r"\2", _HEADING.sub("", _LINK.sub(r"\1", line)))


RULES: dict[str, Callable[[str], str]] = {"spacing": close_spacing, "markdown": plain_markdown}
"""What `clean` in a source's recipe may name."""


def has_content(line: str) -> bool:
    """Whether a line says anything: at least one letter or digit."""
    return any(character.isalnum() for character in line)


def cut(line: str, longest_words: int) -> list[str]:
    """A line as parts of at most `longest_words` words, cut at the ends of sentences where there
    are any, else between words.
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
