"""A text encoder against the tokenizer and the windows that it puts together."""

from __future__ import annotations

import numpy as np

from tamis.text.encoder import TextEncoder
from tamis.text.encoding import EncodedTexts
from tamis.text.tokenizer import Tokenizer
from tamis.text.windows import OVERLAP, WindowAggregation
from tests.rows import messages

TEXTS = [text for _, text in messages()]
TOKENIZER = Tokenizer.train(TEXTS, vocab_size=300).prepared(add_bos=True)
LONG = " ".join(TEXTS[:9])


def test_it_encodes_as_the_tokenizer_cuts_windows_and_keeps_the_rule() -> None:
    rule = WindowAggregation(1, 0.7)
    encoder = TextEncoder(TOKENIZER, 64, 32, rule)
    found = encoder.encode([TEXTS[0], LONG, TEXTS[0]])
    expected = EncodedTexts.encode(
        [TEXTS[0], LONG, TEXTS[0]], TOKENIZER, context=64, window=32, aggregation=rule
    )
    assert found.fingerprint == expected.fingerprint and found.aggregation == rule
    assert found.long == [False, True, False]
    ids = TOKENIZER.encode([LONG])[0]
    for ours, theirs in zip(encoder.windows(ids), found.windows[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert encoder.window_spans(len(ids)) == TOKENIZER.window_spans(
        len(ids), 64, size=32, overlap=OVERLAP
    )


def test_without_a_window_size_the_context_is_one() -> None:
    assert max(map(len, TextEncoder(TOKENIZER, 64).encode([LONG]).windows)) == 64


def test_another_penalty_changes_nothing_else() -> None:
    encoder = TextEncoder(TOKENIZER, 64, 32, WindowAggregation(1))
    other = encoder.with_penalty(0.5)
    assert other.aggregation == WindowAggregation(1, 0.5) and encoder.aggregation.penalty == 1.0
    assert (other.tokenizer, other.context, other.window) == (TOKENIZER, 64, 32)
