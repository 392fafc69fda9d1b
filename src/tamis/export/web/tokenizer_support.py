"""Which tokenizers the page can run: `static/tokenizer.js` and `static/normalizer.js` know GPT-2's
byte-level BPE and the normalizers around it, not every part of the library `tokenizers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tamis.errors import ConfigError

_NORMALIZERS = (
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Lowercase",
    "StripAccents",
    "Prepend",
    "Strip",
    "Replace",
    "Sequence",
)
_SPLITTERS = ("Sequence", "ByteLevel", "Digits", "Split")
_PROCESSORS = ("Sequence", "ByteLevel", "TemplateProcessing")
_KNOWN = {
    "normalizer": _NORMALIZERS,
    "pre_tokenizer": _SPLITTERS,
    "post_processor": _PROCESSORS,
}
_CHILDREN = ("normalizers", "pretokenizers", "processors")
_UNUSED = {
    "dropout": (None, 0, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
}
"""Settings of the BPE that tokenizer.js does not have, and the values that mean they are unused."""


def check_tokenizer(file: Mapping[str, Any]) -> bool:
    """Check that the page can run a tokenizer; return whether it has regular expressions, which
    need Oniguruma.

    Args:
        file: content of tokenizer.json.

    Raises:
        ConfigError: a part is unknown to the page.
    """
    model = file.get("model") or {}
    if model.get("type") != "BPE":
        _refuse("model", model.get("type"), ("BPE",))
    for name, values in _UNUSED.items():
        if model.get(name) not in values:
            _refuse(f"model.{name}", model[name], values)
    regular = False
    for place, known in _KNOWN.items():
        for part in _parts(file.get(place)):
            if part.get("type") not in known:
                _refuse(place, part.get("type"), known)
            regular |= "Regex" in (part.get("pattern") or {})
    if not any(part.get("type") == "ByteLevel" for part in _parts(file.get("pre_tokenizer"))):
        _refuse("pre_tokenizer", "no ByteLevel", ("ByteLevel",))
    padding = file.get("padding") or {}
    if padding.get("pad_to_multiple_of") is not None:
        _refuse("padding.pad_to_multiple_of", padding["pad_to_multiple_of"], (None,))
    return regular


def _parts(settings: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield a part and all parts inside it."""
    if settings is None:
        return
    yield settings
    for name in _CHILDREN:
        for inner in settings.get(name) or ():
            yield from _parts(inner)


def _refuse(place: str, found: Any, known: tuple[Any, ...]) -> None:
    raise ConfigError(
        f"tokenizer.json: {place}: the web page knows {', '.join(map(str, known))}, got {found}; "
        "use --to onnx for this model"
    )
