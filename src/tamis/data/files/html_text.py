"""HTML as text: what a reader sees, also where elements, tags or comments are never closed.

A few regular expressions, because only words are wanted, no tree. The standard library's
`html.parser` takes seconds for a large mail, and reads broken markup in another way from one
version of Python to the next.
"""

from __future__ import annotations

import html
import re

_UNSEEN = ("script", "style", "title", "template", "noembed", "noframes")
_OPENING = re.compile(rf"<!--|<[!?]|<({'|'.join(_UNSEEN)})(?=[\s/>])", re.IGNORECASE)
_CLOSING = {name: re.compile(rf"</{name}(?=[\s/>])[^>]*>", re.IGNORECASE) for name in _UNSEEN}
_COMMENT_END = re.compile(r"--!?>")
_TAG = re.compile(
    r"""</?([a-zA-Z][^\s<>/]*)(?:[^<>"']|"[^"]*"|'[^']*')*+>"""
    r"|</?([a-zA-Z][^\s<>/]*)[^<>]*>"  # a quote that is never closed
)
_ALT = re.compile(
    r"""<(?:img|area|input)(?=\s)[^<>]*?\salt\s*=\s*("([^"]*)"|'([^']*)'|([^\s<>"']+))""",
    re.IGNORECASE,
)
_OPEN_TAG = re.compile(r"<[/a-zA-Z][^<]*")
_TAG_NAME = re.compile(r"<!\[CDATA\[|</?[a-zA-Z!?][^\s<>]*|[<>]")
_META = re.compile(
    rb"""<meta\s[^<>]*?charset\s*=\s*["']?\s*([^\s"'/>;]+)|<\?xml[^<>]*?encoding\s*=\s*["']([^"']+)""",
    re.IGNORECASE,
)
_HEAD_BYTES = 1 << 16
_BLOCKS = frozenset(
    "address article aside blockquote body br caption center dd details dialog dir div dl dt "
    "fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li main menu nav ol option "
    "p pre section summary table tbody textarea tfoot thead title tr ul".split()
)
_CELLS = frozenset(("td", "th", "button", "select"))


def strip_html(markup: str) -> str:
    """Return the text of HTML: without tags, scripts and styles, entities resolved, each block
    element on its own line.

    If no text would be left, the descriptions of images count, then the title, then all words
    outside of tag names.
    """
    visible, titles = _visible(markup)
    visible = " ".join(visible.split())
    last = visible.rfind(">") + 1
    # After the last ">" no tag is complete.
    words = _TAG.sub(_break, visible[:last]) + _OPEN_TAG.sub("", visible[last:])
    hidden = _TAG.sub(_break, "\n".join(titles))
    for text in (_lines(words), _lines(_descriptions(markup)), _lines(hidden)):
        if text:
            return text
    return _lines(_TAG_NAME.sub(" ", markup))


def declared_charset(content: bytes) -> str | None:
    """Return the charset that HTML names in <meta> or in its XML declaration.

    UTF-16 counts as UTF-8 there, as in browsers: the name could not be read otherwise.
    """
    found = _META.search(content, 0, _HEAD_BYTES)
    if found is None:
        return None
    label = (found[1] or found[2]).decode("latin-1")
    return "utf-8" if label.lower().startswith(("utf-16", "unicode")) else label


def _visible(markup: str) -> tuple[str, list[str]]:
    """Return the markup without comments, declarations and elements that nobody sees, and the
    texts of titles and the like.

    Of a comment or an element that is never closed only the beginning is removed: what follows
    would be lost otherwise. No end is searched twice in vain, so the time stays linear.
    """
    pieces: list[str] = []
    titles: list[str] = []
    never: set[str] = set()
    position = 0
    while found := _OPENING.search(markup, position):
        pieces += [markup[position : found.start()], " " if found[1] else ""]
        name = (found[1] or found[0]).lower()
        position = found.end()
        if name == "<!--":
            # "<!-->" is a whole comment.
            end = None if name in never else _COMMENT_END.search(markup, position - 2)
            position = end.end() if end else position
        else:
            close = markup.find(">", position)
            if not found[1]:
                opened = markup.find("<", position)
                position = position if close < 0 or 0 <= opened < close else close + 1
                continue
            position = close + 1 if close >= 0 else len(markup)
            if markup.endswith("/", found.end(), position - 1):
                continue
            end = None if name in never else _CLOSING[name].search(markup, position)
            if end:
                if name not in ("script", "style"):
                    titles.append(markup[position : end.start()])
                position = end.end()
            elif name in ("script", "style"):
                opened = markup.find("<", position)
                position = opened if opened >= 0 else len(markup)
        if end is None:
            never.add(name)
    return "".join(pieces) + markup[position:], titles


def _break(tag: re.Match[str]) -> str:
    name = (tag[1] or tag[2]).lower()
    return "\n" if name in _BLOCKS else " " if name in _CELLS else ""


def _descriptions(markup: str) -> str:
    found = (each[2] or each[3] or each[4] or "" for each in _ALT.finditer(markup))
    return "\n".join(found)


def _lines(markup: str) -> str:
    lines = (" ".join(line.split()) for line in html.unescape(markup).split("\n"))
    return "\n".join(line for line in lines if line)
