"""Texts as token ids against the tokenizer, text by text, and inputs and targets written out by
hand.
"""

from __future__ import annotations

import numpy as np
import pytest

from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining import sequences as module
from tamis.training.pretraining.sequences import encode

CONTEXT = 7
TEXTS = [
    "ab ab",
    "",
    "abab cd abab cd\nabab cd xyz",
    "cdcd",
    "é ß",
    "one two three four five six seven eight",
    "<|endoftext|>",
    "q",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["abab cd", "abab cd", "ab cd cdcd"] * 3, vocab_size=265).prepared(
        add_bos=True
    )


def alone(tokenizer: Tokenizer, text: str) -> list[int]:
    return [int(i) for i in tokenizer.encode([text])[0]]


def test_inputs_are_the_tokenizers_ids_as_far_as_the_context_goes(tokenizer: Tokenizer) -> None:
    sequences = encode(TEXTS, tokenizer, CONTEXT)
    assert len(sequences) == len(TEXTS) == 8
    for row, text in enumerate(TEXTS):
        ids = alone(tokenizer, text)
        assert ids[0] == tokenizer.end_of_text
        assert sequences.inputs(row).tolist() == ids[:CONTEXT]
        assert sequences.lengths[row] == min(len(ids), CONTEXT) >= 1
    assert sequences.flat.dtype == np.int32
    assert (sequences.starts[0], sequences.starts[-1]) == (0, len(sequences.flat))


def test_targets_are_the_next_ids_then_the_end_or_minus_one_where_the_text_was_cut(
    tokenizer: Tokenizer,
) -> None:
    sequences = encode(TEXTS, tokenizer, CONTEXT)
    cut = 0
    for row, text in enumerate(TEXTS):
        ids = alone(tokenizer, text)
        ended = (
            [*ids, tokenizer.end_of_text, -1][1 : len(ids) + 1]
            if len(ids) <= CONTEXT
            else [*ids[1:CONTEXT], -1]
        )
        assert sequences.targets(row).tolist() == ended
        assert len(sequences.targets(row)) == len(sequences.inputs(row)), "a target for every input"
        cut += len(ids) > CONTEXT
    assert cut >= 2, "some texts are cut, and not only the last"


def test_by_hand(tokenizer: Tokenizer) -> None:
    """Bytes without merges: the alphabet's ids are those of its characters in GPT-2's order, '!'
    first, after the special token.
    """
    end = 0
    q, z = (alone(tokenizer, letter)[1] for letter in "qz")
    assert tokenizer.end_of_text == end and (q, z) == (
        1 + ord("q") - ord("!"),
        1 + ord("z") - ord("!"),
    )
    sequences = encode(["q", "zqzqz", "", "qz"], tokenizer, 3)
    assert sequences.flat.tolist() == [end, q, end, end, z, q, end, end, end, q, z, end]
    assert sequences.starts.tolist() == [0, 3, 6, 8, 12]
    assert sequences.lengths.tolist() == [2, 3, 1, 3]
    assert [sequences.inputs(i).tolist() for i in range(4)] == [
        [end, q],
        [end, z, q],
        [end],
        [end, q, z],
    ]
    assert [sequences.targets(i).tolist() for i in range(4)] == [
        [q, end],
        [z, q, -1],
        [end],
        [q, z, end],
    ]
    assert sequences.text_bytes.tolist() == [1, 2, 0, 2]


def test_bytes_are_those_of_the_text_or_of_the_part_that_fits(tokenizer: Tokenizer) -> None:
    sequences = encode(TEXTS, tokenizer, CONTEXT)
    for row, text in enumerate(TEXTS):
        whole = len(alone(tokenizer, text)) <= CONTEXT
        kept = tokenizer.decode(sequences.inputs(row)[1:].tolist())
        assert text.startswith(kept) and (kept == text) == whole
        assert sequences.text_bytes[row] == len(kept.encode("utf-8"))


def test_more_texts_than_are_encoded_at_once_come_out_the_same(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encode(TEXTS, tokenizer, CONTEXT)
    monkeypatch.setattr(module, "TEXTS_AT_ONCE", 3)
    parts = encode(TEXTS, tokenizer, CONTEXT)
    for name in ("flat", "starts", "lengths", "text_bytes"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_no_texts_are_no_sequences(tokenizer: Tokenizer) -> None:
    sequences = encode([], tokenizer, CONTEXT)
    assert (
        len(sequences) == 0
        and sequences.starts.tolist() == [0]
        and sequences.flat.dtype == np.int32
    )
