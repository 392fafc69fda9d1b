"""Known names of columns and known labels, in tables of the field and in several languages.

They are one kind of evidence among others: see `header` and `columns`.
"""

from __future__ import annotations

import re

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
COLUMN_NAMES = frozenset(
    """
    id ids index idx row row_id uid uuid guid key number nr num unnamed:_0 date datum time zeit
    timestamp zeitstempel datetime created created_at updated_at year month day hour name username
    user user_id author sender recipient receiver from to cc source url link website lang language
    locale country region city phone score rating stars length len confidence prob probability
    subject betreff title split part fold nachricht kategorie klasse texto mensaje categoria
    categoría etiqueta clase texte catégorie étiquette classe categoria messaggio
    testo etichetta bericht categorie klasa kategoria tekst wiadomość annotator comments
    """.split()
)
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
