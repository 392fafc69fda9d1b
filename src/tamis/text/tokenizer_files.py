"""Reads the tokenizer files of a folder as transformers' AutoTokenizer reads them for a GPT-2.

Added tokens come from `tokenizer.json` or from the older files (`added_tokens.json`,
`special_tokens_map.json`), and `tokenizer_config.json` changes them. For the class GPT2Tokenizer,
which is the default, transformers 5 takes only vocabulary, merges and post-processor from
`tokenizer.json` and ignores its normalizer. Source: transformers 5.24,
tokenization_utils_base.py (`_from_pretrained`), tokenization_utils_tokenizers.py and
models/gpt2/tokenization_gpt2.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as _Tokenizer

from tamis.errors import CheckpointError

END_OF_TEXT = "<|endoftext|>"
"""GPT-2's only special token. Pretraining puts it between documents; in a classifier it is an
optional first token and the padding."""
PIECES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
"""Vocabulary and merges of the Hugging Face layout and of OpenAI's; the files differ in nothing
else, and both readers skip the `#version` line."""
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
)
"""Every file that can change the token ids."""

_NAMED = (
    *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token"),
    "mask_token",
)
_DEFAULTED = ("unk_token", "bos_token", "eos_token")
_GENERIC = ("PreTrainedTokenizer", "TokenizersBackend", "PythonBackend")
"""Classes that take `tokenizer.json` as it is; names without `Fast`."""
_REBUILT = "GPT2Tokenizer"


@dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer as its files describe it."""

    backend: _Tokenizer
    split_special_tokens: bool
    """whether a text that spells a special token is ordinary text"""


def read_tokenizer(folder: Path, *, class_defaults: bool = True) -> TokenizerFiles:
    """Read `tokenizer.json`, else `vocab.json` + `merges.txt`, else OpenAI's `encoder.json` +
    `vocab.bpe`, with the tokens that the other files add.

    Args:
        folder: the folder.
        class_defaults: GPT2Tokenizer adds `<|endoftext|>` even to a vocabulary without it.

    Raises:
        CheckpointError: none of these files exists, or one of them cannot be read.
    """
    settings = _read(folder / "tokenizer_config.json")
    kind = _class_name(folder, settings)
    whole = folder / "tokenizer.json"
    pieces = next(
        (pair for pair in PIECES if all((folder / name).is_file() for name in pair)), None
    )
    if not whole.is_file() and (pieces is None or kind not in (*_GENERIC, _REBUILT)):
        raise CheckpointError(_missing(folder, kind, pieces))
    if not whole.is_file() and pieces == PIECES[1]:
        settings = {}  # OpenAI's folders hold no other file
    try:
        if kind == _REBUILT or not whole.is_file():
            backend, added = _rebuilt(folder, settings, pieces)
        else:
            backend = _Tokenizer.from_file(str(whole))
            # Without added_tokens.json, the backend holds them already.
            older = (folder / "added_tokens.json").is_file()
            added = _listed(_read(whole)) if older else {}
        known = class_defaults or backend.token_to_id(END_OF_TEXT) is not None
        tokens = _AddedTokens(folder, settings, added, default=kind == _REBUILT and known)
        tokens.add_to(backend)
        if not whole.is_file():
            backend.post_processor = _post_processor(backend, settings, tokens.named)
    except CheckpointError:
        raise
    except Exception as error:  # `tokenizers` raises a bare Exception for any error in a file
        raise CheckpointError(
            f"{folder}: the tokenizer files cannot be read ({error}); download or save them again"
        ) from error
    return TokenizerFiles(backend, bool(settings.get("split_special_tokens", False)))


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder holds the files of a tokenizer."""
    pieces = any(all((folder / name).is_file() for name in pair) for pair in PIECES)
    return pieces or (folder / "tokenizer.json").is_file()


def _missing(folder: Path, kind: str, pieces: tuple[str, str] | None) -> str:
    if kind not in (*_GENERIC, _REBUILT) and (pieces or any(folder.glob("*vocab*"))):
        return (
            f"{folder}: its tokenizer is a {kind}, which is read from tokenizer.json, and that "
            "file is missing; write it with transformers: "
            f"AutoTokenizer.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
        )
    wanted = " or ".join(["tokenizer.json", *(f"{v} with {m}" for v, m in PIECES)])
    return f"{folder} has no tokenizer: expected {wanted}"


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(
            f"{path.parent}: the tokenizer files cannot be read ({path.name}: {error}); download "
            "or save them again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path.parent}: the tokenizer files cannot be read ({path.name}: expected a JSON "
            f"object, got {type(value).__name__}); download or save them again"
        )
    return value


def _class_name(folder: Path, settings: dict[str, Any]) -> str:
    """Return the class that transformers would choose, without `Fast`."""
    name = settings.get("tokenizer_class")
    if not isinstance(name, str) and (folder / "config.json").is_file():
        name = _read(folder / "config.json").get("tokenizer_class")
    return name.removesuffix("Fast") if isinstance(name, str) and name else _REBUILT


def _rebuilt(
    folder: Path, settings: dict[str, Any], pieces: tuple[str, str] | None
) -> tuple[_Tokenizer, dict[int, AddedToken]]:
    """Return GPT-2's byte-level BPE with a folder's vocabulary and merges, without added tokens,
    and the added tokens of its `tokenizer.json`.
    """
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=settings.get("add_prefix_space") is True)
    path = folder / "tokenizer.json"
    if not path.is_file():
        assert pieces is not None
        vocabulary, merges = (str(folder / name) for name in pieces)
        backend = _Tokenizer(models.BPE.from_file(vocabulary, merges))
        backend.pre_tokenizer, backend.decoder = byte_level, decoders.ByteLevel()
        return backend, {}
    whole = _read(path)
    model = whole.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        return _Tokenizer.from_file(str(path)), {}  # no GPT-2 tokenizer: taken as it is
    own = {"type": "BPE", "vocab": model["vocab"], "merges": model["merges"]}
    rebuilt = whole | {"model": own, "added_tokens": [], "normalizer": None}
    backend = _Tokenizer.from_str(json.dumps(rebuilt))
    backend.pre_tokenizer, backend.decoder = byte_level, decoders.ByteLevel()
    return backend, _listed(whole)


def _listed(whole: dict[str, Any]) -> dict[int, AddedToken]:
    """Return the added tokens of a `tokenizer.json` by the ids it states."""
    tokens = whole.get("added_tokens") or []
    return {int(token["id"]): _token(_without(token, "id")) for token in tokens}


def _post_processor(
    backend: _Tokenizer, settings: dict[str, Any], named: dict[str, AddedToken]
) -> Any:
    """Return the post-processor of a folder without `tokenizer.json`: a first and a last token if
    the settings ask for them.
    """
    steps: list[Any] = [processors.ByteLevel(trim_offsets=False)]
    ends = {
        part: named[f"{part}_token"].content
        for part in ("bos", "eos")
        if settings.get(f"add_{part}_token") is True and f"{part}_token" in named
    }
    if ends:
        single = " ".join(filter(None, [ends.get("bos"), "$A", ends.get("eos")]))
        ids = [(token, backend.token_to_id(token)) for token in dict.fromkeys(ends.values())]
        steps.append(processors.TemplateProcessing(single=single, special_tokens=ids))
    return processors.Sequence(steps)


class _AddedTokens:
    """The tokens that the files of a folder add to a vocabulary, in transformers' order."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        listed: dict[int, AddedToken],
        *,
        default: bool,
    ) -> None:
        """Collect the tokens; `listed` are those of `tokenizer.json`. With `default`, those that no
        file names are `<|endoftext|>`.
        """
        decoder = settings.get("added_tokens_decoder")
        older = not isinstance(decoder, dict)  # the older files count only where this key is absent
        further = _read(folder / "special_tokens_map.json") if older else {}
        extra = settings.get("extra_special_tokens") or settings.get("additional_special_tokens")
        own: dict[str, Any] = {}  # names of the model's own, such as url_token
        if isinstance(extra, dict):
            own, extra = extra, (settings | further).get("additional_special_tokens")
        stated = [_special(token) for token in extra or [] if token]
        if isinstance(further.get("extra_special_tokens"), list):
            stated += [_special(token) for token in further["extra_special_tokens"] if token]
        named: dict[str, Any] = {
            key: value
            for key, value in {**settings, **further, **own}.items()
            if (key.endswith("_token") or key in own) and isinstance(value, (str, dict)) and value
        }
        if default:
            named = dict.fromkeys(_DEFAULTED, END_OF_TEXT) | named
        named = {key: named[key] for key in (*_NAMED, *named) if key in named}
        numbered: dict[int, AddedToken] = {}
        if isinstance(decoder, dict):
            numbered = {int(number): _token(token) for number, token in decoder.items()}
        else:
            specials = {_special(named[key]).content for key in _NAMED if key in named}
            if default:  # transformers knows its class's defaults only later
                specials -= {END_OF_TEXT} - _contents(settings, further)
            specials |= {token.content for token in stated}
            for text, number in _read(folder / "added_tokens.json").items():
                special = text in specials
                numbered[int(number)] = AddedToken(text, special=special, normalized=not special)
            numbered |= listed
        if not stated:
            later = further.get("additional_special_tokens")
            stated = [_special(token) for token in later or [] if token]
        known = {token.content: token for token in numbered.values()}
        self.named = {
            key: known.get(_special(token).content, _special(token)) for key, token in named.items()
        }
        self._numbered = [numbered[number] for number in sorted(numbered)]
        self._extras = stated

    def add_to(self, backend: _Tokenizer) -> None:
        """Add the tokens; those without an id in the vocabulary get the next ones."""
        present = {token.content for token in backend.get_added_tokens_decoder().values()}
        present |= {token.content for token in self._numbered}
        names = {token.content for token in self.named.values()}
        tokens = list(self._numbered)
        for token in (*self.named.values(), *self._extras):
            if token.content not in present:
                present.add(token.content)
                tokens.append(token)
        if tokens:
            backend.add_tokens([_marked(token, names) for token in tokens])


def _contents(*files: dict[str, Any]) -> set[str]:
    """Return the texts of the named special tokens that files state."""
    return {_special(file[key]).content for file in files for key in _NAMED if file.get(key)}


def _marked(token: AddedToken, names: Iterable[str]) -> AddedToken:
    """Return the token, special if it has a name such as `pad_token`."""
    if not token.special and token.content in names:
        token.special = True
    return token


def _special(token: Any) -> AddedToken:
    """Return a special token from its text or its JSON object."""
    if isinstance(token, str):
        return AddedToken(token, special=True)
    return _token(_without(token, "special") | {"special": True})


def _token(token: Any) -> AddedToken:
    return AddedToken(**_without(token, "__type"))


def _without(token: Any, key: str) -> dict[str, Any]:
    if not isinstance(token, dict) or not isinstance(token.get("content"), str):
        raise CheckpointError(
            f"an added token of the tokenizer files is {token!r:.80}; expected an object with "
            "content, lstrip, rstrip, single_word, normalized and special; save the folder again"
        )
    return {name: value for name, value in token.items() if name != key}
