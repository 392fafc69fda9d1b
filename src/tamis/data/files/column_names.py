"""Known names of columns and known labels, in tables of the field and in several languages.

They are one kind of evidence among others: see `header` and `columns`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# If several known names are present, the first name of the list is used; any other must be the only
# one.
TEXT_NAMES = (
    *(
        "text",
        "message",
        "sms",
        "body",
        "content",
        "v2",
        "texts",
        "messages",
        "msg",
        "sentence",
        "utterance",
        "tweet",
        "review",
    ),
    *(
        "comment",
        "email",
        "mail",
        "document",
        "query",
        "question",
        "input",
        "post",
        "phrase",
        "headline",
        "description",
    ),
    *("text_message", "message_text", "sms_text", "message_body", "email_text", "content_text"),
)
LABEL_NAMES = (
    *(
        "label",
        "class",
        "category",
        "target",
        "spam",
        "v1",
        "labels",
        "classes",
        "is_spam",
        "isspam",
        "spam_or_ham",
        "ham_or_spam",
    ),
    *(
        "sentiment",
        "intent",
        "topic",
        "tag",
        "type",
        "y",
        "classification",
        "verdict",
        "gold",
        "gold_label",
        "label_text",
    ),
)
_TEXTS_ELSEWHERE = frozenset(
    """
    nachricht kommentar feedback texto mensaje texte testo messaggio bericht tekst wiadomość
    """.split()
)
_LABELS_ELSEWHERE = frozenset(
    """
    kategorie klasse categoria categoría etiqueta clase catégorie étiquette classe etichetta
    categorie klasa kategoria
    """.split()
)
_OTHERS = frozenset(
    """
    id ids index idx row row_id uid uuid guid key number nr num unnamed:_0 date datum time zeit
    timestamp zeitstempel datetime created created_at updated_at year month day hour name username
    user user_id author sender recipient receiver from to cc source url link website lang language
    locale country region city phone score rating stars length len confidence prob probability
    subject betreff title split part fold annotator comments
    """.split()
)
COLUMN_NAMES = _OTHERS | _TEXTS_ELSEWHERE | _LABELS_ELSEWHERE
"""Names of other columns, and of texts and labels in other languages."""
LABEL_VALUES = frozenset(
    """
    ham yes no true false pos neg positive negative neutral ja nein oui non si sí
    """.split()
)
"""Values that labels have and columns are hardly ever called."""


def plain_name(cell: str) -> str:
    """Return a name in lower case, with one `_` for white space and hyphens.

    Files that were written one after another may have a byte-order mark before a header.
    """
    return re.sub(r"[\s-]+", "_", cell.strip().strip('\ufeff"').casefold())


def has_name_of(name: str, known: Sequence[str]) -> bool:
    """Return whether a name has the word of a role in it, as "verdict of agent" has; `known` is
    `TEXT_NAMES` or `LABEL_NAMES`.
    """
    elsewhere = _TEXTS_ELSEWHERE if known is TEXT_NAMES else _LABELS_ELSEWHERE
    words = set(re.findall(r"[^\W_]{2,}", _spaced(name))) | {plain_name(name)}
    return bool(words & (set(known) | elsewhere))


def names_something_else(name: str) -> bool:
    """Return whether a name is known to be that of neither texts nor labels, such as "sender"."""
    return plain_name(name) in _OTHERS or bool(
        set(re.findall(r"[^\W_]{2,}", _spaced(name))) & _OTHERS
    )


def _spaced(name: str) -> str:
    """Return a name in lower case, with the words of camelCase apart."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
