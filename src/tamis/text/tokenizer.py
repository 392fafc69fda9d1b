"""GPT-2's byte-level BPE through `tokenizers`, read from a checkpoint's files or trained on texts.

`tokenizer.json` stores everything that affects scores: the normalizer, the leading `<|endoftext|>`,
and the fixed length of the reference. In a folder of tamis a text that contains the name of a
special token is ordinary text, here and in transformers (`split_special_tokens`); in a folder of
transformers it is that token, as there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import (
    AddedToken,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenizers import Tokenizer as _Tokenizer

from tamis.config import Recipe
from tamis.errors import ConfigError, DataError
from tamis.files import write_text
from tamis.text.normalizer import robust_normalizer
from tamis.text.tokenizer_files import END_OF_TEXT, read_tokenizer
from tamis.text.words_normalizer import words_normalizer

_PART_OF_WORD = re.compile(r"\S{256}(?=\S)")


class Tokenizer:
    """Converts texts to token ids."""

    def __init__(
        self,
        backend: _Tokenizer,
        *,
        split_special_tokens: bool = True,
        dropped: int | None = None,
    ) -> None:
        """Wrap a `tokenizers.Tokenizer`, which must not be changed afterwards.

        Args:
            backend: the tokenizer.
            split_special_tokens: a text that spells a special token is ordinary text; otherwise it
                is that token.
            dropped: id that is removed from the end of every text, though never the only token: the
                padding of a model that reads the last token that is no padding. None: none.
        """
        backend.encode_special_tokens = split_special_tokens
        self.backend = backend
        self.split_special_tokens, self.dropped = split_special_tokens, dropped

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore from a pickle, which does not contain how special tokens are read."""
        self.__dict__.update(state)
        self.backend.encode_special_tokens = self.split_special_tokens

    @classmethod
    def from_folder(cls, folder: Path | str, *, as_saved: bool = False) -> Tokenizer:
        """Load `tokenizer.json`, else `vocab.json` + `merges.txt`, else OpenAI's files, with the
        tokens that the other files of the folder add.

        Args:
            folder: the folder of a model or backbone.
            as_saved: a text that spells a special token is read as the folder says, as in
                transformers; by default it is ordinary text.

        Raises:
            CheckpointError: none of these files exists, or they cannot be read.
        """
        files = read_tokenizer(Path(folder), class_defaults=as_saved)
        split = files.split_special_tokens or not as_saved
        return cls(files.backend, split_special_tokens=split)

    @classmethod
    def train(cls, texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
        """Train a new byte-level BPE: all 256 bytes, `<|endoftext|>`, and merges from `texts`, up
        to `vocab_size` tokens.

        Words of more than 256 characters are split for training, because the time for a word grows
        with the square of its length.
        """
        backend = _byte_level(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[AddedToken(END_OF_TEXT, special=True, normalized=False)],
        )
        backend.train_from_iterator(
            (_PART_OF_WORD.sub(r"\g<0>\n", text) for text in texts), trainer
        )
        return cls(backend)

    def prepared(
        self,
        *,
        add_bos: bool,
        normalize: str = "none",
        fixed_length: int | None = None,
        pad: bool = False,
    ) -> Tokenizer:
        """Return a copy that prepares messages in the given way.

        Args:
            add_bos: put `<|endoftext|>` before every message.
            normalize: "none", "nfkc" (NFKC, and invisible format characters removed), "robust"
                (also undoes homoglyphs, spaced letters and letters written as digits; see
                normalizer.py), or "words" (lower-case letters and single spaces only; see
                words_normalizer.py).
            fixed_length: truncate messages to this many tokens, as the reference does.
            pad: with `fixed_length`, also pad shorter messages to it with `<|endoftext|>`.

        Raises:
            ConfigError: `normalize` is unknown, or the vocabulary has no `<|endoftext|>` for
                `add_bos` or `pad`.
        """
        backend = _Tokenizer.from_str(self.backend.to_str())
        end = backend.token_to_id(END_OF_TEXT)
        if (add_bos or pad) and end is None:
            raise ConfigError(
                f"the tokenizer has no {END_OF_TEXT}; set text.add_bos=false and "
                "text.padding=none for this backbone"
            )
        steps: list[Any] = [processors.ByteLevel(trim_offsets=False)]
        if add_bos:
            steps.append(
                processors.TemplateProcessing(
                    single=f"{END_OF_TEXT} $A", special_tokens=[(END_OF_TEXT, end)]
                )
            )
        backend.post_processor = processors.Sequence(steps)
        if normalize == "nfkc":
            backend.normalizer = normalizers.Sequence(
                [normalizers.NFKC(), normalizers.Replace(Regex(r"\p{Cf}"), "")]
            )
        elif normalize == "robust":
            backend.normalizer = robust_normalizer()
        elif normalize == "words":
            backend.normalizer = words_normalizer()
        elif normalize != "none":
            raise ConfigError(
                f"text.normalize: expected 'none', 'nfkc', 'robust' or 'words', got {normalize!r}"
            )
        if fixed_length is None:
            backend.no_truncation()
            backend.no_padding()
        else:
            backend.enable_truncation(fixed_length)
            if pad:
                backend.enable_padding(pad_id=end, pad_token=END_OF_TEXT, length=fixed_length)
        return Tokenizer(backend)

    def without_padding(self) -> Tokenizer:
        """Return a tokenizer that neither pads nor truncates, or self if it already does neither.

        Batches need no padding here, and long texts are scored in windows.
        """
        if self.backend.padding is None and self.backend.truncation is None:
            return self
        backend = _Tokenizer.from_str(self.backend.to_str())
        backend.no_padding()
        backend.no_truncation()
        return self._with(backend)

    def dropping(self, id: int | None) -> Tokenizer:
        """Return a tokenizer that removes a padding id from the end of texts (see `__init__`)."""
        other = Tokenizer.__new__(Tokenizer)
        other.__dict__.update(self.__dict__)
        other.dropped = id
        return other

    def within(self, vocab_size: int) -> Tokenizer:
        """Return a tokenizer without the special tokens at the end of the vocabulary that the
        model's embedding does not contain, such as a `[PAD]` that was never trained.

        Such a token cannot be scored, so a text that spells it is ordinary text. Other tokens
        beyond the embedding stay, and `size` shows them.
        """
        whole = json.loads(self.backend.to_str())
        kept = [
            token
            for token in whole["added_tokens"]
            if token["id"] < vocab_size or not token["special"]
        ]
        if len(kept) == len(whole["added_tokens"]):
            return self
        return self._with(_Tokenizer.from_str(json.dumps(whole | {"added_tokens": kept})))

    def without_special_tokens(self) -> Tokenizer:
        """Return a tokenizer with the same ids for which it does not matter how special tokens are
        read: if a text that spells one is that token, it becomes an ordinary added token.
        """
        if self.split_special_tokens:
            return self
        whole = json.loads(self.backend.to_str())
        tokens = [token | {"special": False} for token in whole["added_tokens"]]
        return self._with(_Tokenizer.from_str(json.dumps(whole | {"added_tokens": tokens})))

    def _with(self, backend: _Tokenizer) -> Tokenizer:
        return Tokenizer(
            backend, split_special_tokens=self.split_special_tokens, dropped=self.dropped
        )

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the token ids of each text, (T,) each; without tokens, one `<|endoftext|>`.

        Raises:
            DataError: a text is not valid Unicode (a lone surrogate).
        """
        try:
            encoded = self.backend.encode_batch(list(texts))
        except (UnicodeEncodeError, TypeError):
            for i, text in enumerate(texts):
                if not isinstance(text, str):
                    raise DataError(
                        f"text {i}: expected a string, got {type(text).__name__}"
                    ) from None
                try:
                    text.encode("utf-8")
                except UnicodeEncodeError as error:
                    raise DataError(
                        f"text {i} is not valid Unicode ({error.reason} at character "
                        f"{error.start}); remove it"
                    ) from error
            raise
        nothing = np.array([self.end_of_text or 0], dtype=np.int32)
        return [
            np.array(e.ids, dtype=np.int32)[: self._kept(e.ids)] if e.ids else nothing
            for e in encoded
        ]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Return the (start, end) characters of each token of `encode`; (0, 0) for a token without
        characters, such as a leading `<|endoftext|>`.
        """
        encoded = self.backend.encode(text)
        return list(encoded.offsets[: self._kept(encoded.ids)]) or [(0, 0)]

    def _kept(self, ids: Sequence[int]) -> int:
        """Return the number of tokens before padding that the text itself spells."""
        count = len(ids)
        while count > 1 and ids[count - 1] == self.dropped:
            count -= 1
        # Of a text of padding alone, transformers reads the first token.
        return count

    def normalized(self, text: str) -> str:
        """Return the text after normalization, before it is split into tokens."""
        return (
            text
            if self.backend.normalizer is None
            else str(self.backend.normalizer.normalize_str(text))
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids, with special tokens written out."""
        return str(self.backend.decode([int(i) for i in ids], skip_special_tokens=False))

    def windows(
        self,
        ids: NDArray[np.int32],
        context: int,
        *,
        size: int | None = None,
        overlap: float = 0.25,
    ) -> list[NDArray[np.int32]]:
        """Split a message longer than `context` into windows of `size` tokens (default: `context`).

        A shorter message is returned as one window. Each window overlaps the previous one by at
        least the share `overlap`. Every token is in a window, and every window begins as the
        message does (with `<|endoftext|>` if messages do).
        """
        spans = self.window_spans(len(ids), context, size=size, overlap=overlap)
        if len(spans) == 1:
            return [ids]
        head = ids[:1] if self.begins else ids[:0]
        return [np.concatenate([head, ids[first:stop]]) for first, stop in spans]

    def window_spans(
        self, tokens: int, context: int, *, size: int | None = None, overlap: float = 0.25
    ) -> list[tuple[int, int]]:
        """Return the (first, stop) tokens of the message in each window of `windows`.

        A leading `<|endoftext|>`, which all windows repeat, is not counted.
        """
        if tokens <= context:
            return [(0, tokens)]
        head = int(self.begins)
        body, room = tokens - head, min(size or context, context) - head
        count = 1 + -(-(body - room) // max(1, room - int(overlap * room)))
        starts = np.linspace(head, head + body - room, count).astype(int)
        return [(start, start + room) for start in starts.tolist()]

    @property
    def end_of_text(self) -> int | None:
        """Id of `<|endoftext|>`; None if the vocabulary has none."""
        return self.backend.token_to_id(END_OF_TEXT)

    @property
    def begins(self) -> bool:
        """Whether messages get a leading special token, `<|endoftext|>` in tamis's own folders."""
        added = bool(self.backend.num_special_tokens_to_add(is_pair=False))
        return added and bool(self.backend.encode("a").special_tokens_mask[0])

    @property
    def size(self) -> int:
        """The largest id plus one."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the whole `tokenizer.json`, and of how special tokens are read."""
        reading = "" if self.split_special_tokens else f"special tokens, {self.dropped}"
        return hashlib.sha256((self.backend.to_str() + reading).encode()).hexdigest()

    def save(self, folder: Path | str, *, max_length: int) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` for transformers' AutoTokenizer.

        AutoTokenizer then gives the same ids as this tokenizer.

        transformers pads and truncates only on request: use `padding="max_length", truncation=True`
        for a fixed length.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # not backend.save: its error for a full disk is no OSError
        write_text(folder / "tokenizer.json", self.backend.to_str(pretty=True))
        # transformers v5's GPT2Tokenizer would rebuild itself from vocabulary and merges and drop
        # the normalizer and the template.
        settings: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "split_special_tokens": self.split_special_tokens,
            "clean_up_tokenization_spaces": False,
            "model_max_length": max_length,
            "padding_side": "right",
        }
        if self.backend.truncation is not None:
            settings["model_max_length"] = self.backend.truncation["max_length"]
        if self.backend.padding is not None:
            # The model reads padding as text here, as in the reference; a mask would hide it from
            # the last position.
            settings["model_input_names"] = ["input_ids"]
        if self.end_of_text is not None:
            settings |= {f"{part}_token": END_OF_TEXT for part in ("bos", "eos", "unk", "pad")}
        padding = None if self.dropped is None else self.backend.id_to_token(self.dropped)
        if padding is not None:
            settings["pad_token"] = padding
        write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")


def _byte_level(model: models.BPE) -> _Tokenizer:
    backend = _Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    return backend


def prepared_tokenizer(recipe: Recipe, tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer with the recipe's text settings applied."""
    text = recipe.text
    pad = text.fixed_length is not None and text.pooling == "last_position"
    return tokenizer.prepared(
        add_bos=text.add_bos, normalize=text.normalize, fixed_length=text.fixed_length, pad=pad
    )
