"""The text of a mail's parts: which parts a reader sees, and what they say.

Owns the choice between plain text and HTML, and the order of what counts if there is neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from tamis.data.files.binary_formats import binary_format
from tamis.data.files.charsets import codec_of, decode_text
from tamis.data.files.html_text import declared_charset, strip_html
from tamis.data.files.mime_parts import Part

_SHOWN, _FORWARDED, _OTHER_TEXT, _ATTACHED, _UNKNOWN, _LOOSE, _NEVER = range(7)
_HTML_START = re.compile(rb"\s*<(!doctype html|html|head|body)\b", re.IGNORECASE)
_NO_TEXT = re.compile(
    r"(image|audio|video|font|model)/|application/(pdf|x-pdf|.*zip|msword|rtf|vnd\.|java|postscript"
    r"|(x-)?pkcs|pgp-|(vnd\.)?ms-|x-(rar|tar|msdownload|shockwave))"
)
_VISIBLE = re.compile(r"[^\s\u00ad\u034f\u115f\u180e\u200b-\u200f\u2028-\u202f\u2060-\u2064\ufeff]")
_ADDRESS = re.compile(r"https?://\S+|www\.\S+|\S+@\S+")
_WORD = re.compile(r"\w+")
# What a plain part says that stands for no text: that the mail is HTML, has pictures, or is shown
# elsewhere.
_NOTICE = re.compile(
    r"\b(html|mime|multi-?part|browser|navigateur|navegador|plain[ -]?text|text[ -]?version"
    r"|(web|online)[ -]?version|webmail|(e-?)?mail[ -]?(client|reader|program|app|software)\w*"
    r"|client (de|di) (messagerie|correo|posta)|web ?pages?|graphics|images?|pictures|bilder"
    r"|grafiken|view(ing)? (it|this|the)|click (here|below)|hier klicken|klicken sie"
    r"|cliquez (ici|sur)|(haga|haz) clic|clicca(re)? (qui|su)|visualizz\w+|affich\w+"
    r"|anzeigen|angezeigt|dargestellt|darstellung)\b",
    re.IGNORECASE,
)
_NOTICE_WORDS = 60
_FULLER = 4
"""HTML that has this many times the words of the plain part is the mail; the plain part is its
beginning."""


def body_text(parts: Iterable[Part], *, utf8: bool = False) -> str:
    """Return the text that a reader of the mail sees.

    Of a multipart/alternative it is the plain text, or the HTML if the plain text is blank, a
    notice that there is HTML, or only the beginning of it. Other parts follow each other. If no
    part shows a text, these are tried in turn: forwarded mails, other text types, attached texts,
    parts of other types whose content is text, and text outside of all parts.

    Args:
        parts: the leaves of the mail.
        utf8: the mail was transcoded to UTF-8, so labels do not hold for unencoded parts.
    """
    ranked = sorted(((_rank(part), part) for part in parts), key=lambda each: each[0])
    for rank, group in groupby(ranked, key=lambda each: each[0]):
        if rank == _NEVER:
            break
        text = _joined([part for _, part in group], utf8=utf8)
        if not is_blank(text):
            return text
    return ""


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character."""
    return _VISIBLE.search(text) is None


def _rank(part: Part) -> int:
    kind = part.content_type
    if part.loose:
        return _LOOSE
    if _NO_TEXT.match(kind):
        return _NEVER
    readable = kind.startswith("multipart/") or kind in (
        "text/plain",
        "text/html",
        "application/xhtml+xml",
    )
    if part.attached:
        return _ATTACHED if readable or kind.startswith("text/") else _UNKNOWN
    if readable:
        return _FORWARDED if part.forwarded else _SHOWN
    return _OTHER_TEXT if kind.startswith("text/") else _UNKNOWN


def _joined(parts: Sequence[Part], *, utf8: bool) -> str:
    texts: list[str] = []
    seen: set[str] = set()
    groups: dict[object, list[Part]] = {}
    for place, part in enumerate(parts):
        key = ("part", place) if part.alternative is None else part.alternative
        groups.setdefault(key, []).append(part)
    for group in groups.values():
        plain: list[str] = []
        markup: list[str] = []
        for part in group:
            text, is_html = _text_of(part, utf8=utf8)
            (markup if is_html else plain).append(text)
        text = _choice("\n".join(plain).strip(), "\n".join(markup).strip())
        if is_blank(text):
            continue
        words = set(_WORD.findall(text.lower())) if len(groups) > 1 else set()
        if words and words <= seen:
            continue  # the same text again, as HTML beside a plain text without an alternative
        seen |= words
        texts.append(text)
    return "\n".join(texts)


def _text_of(part: Part, *, utf8: bool) -> tuple[str, bool]:
    """Return the text of a part, and whether it was HTML."""
    content = part.decoded()
    kind = part.content_type
    if _rank(part) == _UNKNOWN and binary_format(content) is not None:
        return "", False
    is_html = "html" in kind or kind in ("text/enriched", "text/richtext")
    # A part without a valid type, such as "html" alone, counts as plain text.
    declared = part.headers.content_type == "text/plain"
    is_html = is_html or (not declared and bool(_HTML_START.match(content)))
    label = part.headers.parameter("charset")
    if utf8 and not part.encoding:
        label = "utf-8"
    if is_html and (label is None or codec_of(label) is None):
        label = declared_charset(content) or label
    text = decode_text(content, label).replace("\0", "").replace("\r\r\n", "\n")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if is_html:
        return strip_html(text), True
    if (part.headers.parameter("format") or "").lower() == "flowed":
        text = _unflowed(text, joined=(part.headers.parameter("delsp") or "").lower() == "yes")
    return text, False


def _unflowed(text: str, *, joined: bool) -> str:
    """Join the soft line breaks of RFC 3676; `joined`: the space before them is not text."""
    lines: list[str] = []
    flows = False
    for line in text.split("\n"):
        line = line.removeprefix(" ")
        if flows and line != "-- ":
            lines[-1] += line
        else:
            lines.append(line)
        flows = line.endswith(" ") and line != "-- "
        if flows and joined:
            lines[-1] = lines[-1][:-1]
    return "\n".join(lines)


def _choice(plain: str, markup: str) -> str:
    """Return the plain text, or the text of the HTML if the plain one does not stand for it."""
    if not plain or not markup or is_blank(markup):
        return plain or markup
    here = set(_WORD.findall(_ADDRESS.sub(" ", plain).lower()))
    there = set(_WORD.findall(_ADDRESS.sub(" ", markup).lower()))
    if not here:
        return markup if there else plain
    differs = 2 * len(here & there) < len(here)
    notice = len(here) <= _NOTICE_WORDS and bool(_NOTICE.search(plain))
    if differs and (notice or len(there) > len(here)):
        return markup
    return markup if len(there) >= _FULLER * len(here) else plain
