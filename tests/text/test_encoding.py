"""Texts as windows: repeats once, long texts whole, means over windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.text.encoding import EncodedTexts
from tamis.text.tokenizer import Tokenizer
from tests.tiny import messages, windowed


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["ab cd ef", "call now"] * 3, vocab_size=290).prepared(add_bos=True)


def test_repeats_are_encoded_once(tokenizer: Tokenizer) -> None:
    of = EncodedTexts.encode(["ab", "call now", "ab", "", "call now"], tokenizer, context=9)
    assert of.distinct_of.tolist() == [0, 1, 0, 2, 1] and of.first.tolist() == [0, 1, 2, 3]
    assert [ids.tolist() for ids in of.windows] == [
        ids.tolist() for ids in tokenizer.encode(["ab", "call now", ""])
    ]
    assert of.windows_of(np.array([4, 0, 2])).tolist() == [1, 0, 0]
    assert of.tokens.tolist() == [len(of.windows[i]) for i in (0, 1, 0, 2, 1)]


def test_no_texts_are_no_windows(tokenizer: Tokenizer) -> None:
    of = EncodedTexts.encode([], tokenizer, context=9)
    assert of.windows == () and len(of.tokens) == len(of.lengths) == 0


def test_a_long_text_keeps_all_its_tokens(tokenizer: Tokenizer) -> None:
    long = "zyxwvutsrqponmlkjihgfedcba" * 3
    of = EncodedTexts.encode(["ab", long, "ab cd"], tokenizer, context=11)
    (ids,) = tokenizer.encode([long])
    mine = of.windows_of(np.array([1]))
    assert len(mine) > 6 and max(of.lengths) == 11
    assert {int(i) for w in mine for i in of.windows[w]} == set(ids.tolist())
    assert of.tokens[1] == sum(len(of.windows[w]) for w in mine)
    assert of.windows_of(np.array([2, 1, 0])).tolist() == [len(of.windows) - 1, *mine, 0]


def test_only_some_texts_keep_their_windows_and_their_numbers(tokenizer: Tokenizer) -> None:
    long = "zyxwvutsrqponmlkjihgfedcba" * 3
    of = EncodedTexts.encode(["ab", long, "call now", "ab", "cd"], tokenizer, context=11)
    rows = np.array([3, 1])
    part = of.only(rows)
    assert len(part.windows) == len(of.windows) - 2
    for row in (0, 1, 3):  # row 0 has the text of row 3
        mine, theirs = (x.windows_of(np.array([row])) for x in (part, of))
        assert [part.windows[w].tolist() for w in mine] == [of.windows[w].tolist() for w in theirs]
    with pytest.raises(IndexError):
        part.windows_of(np.array([2]))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=7), st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_means_are_over_each_texts_own_windows(counts: list[int], data: st.DataObject) -> None:
    of = windowed([[2] * n for n in counts])
    rows = np.array(data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1, max_size=9)))
    values = torch.randn(
        len(of.windows), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    means = of.mean_over_windows(values[of.windows_of(rows)], rows)
    ends = np.cumsum(counts)
    expected = torch.stack([values[ends[r] - counts[r] : ends[r]].mean(0) for r in rows])
    torch.testing.assert_close(means, expected)


def test_the_fingerprint_is_of_the_windows() -> None:
    same, other, order = messages([3, 5]), messages([3, 5], seed=2), messages([5, 3])
    assert messages([3, 5]).fingerprint == same.fingerprint
    assert len({same.fingerprint, other.fingerprint, order.fingerprint}) == 3
    # The same ids cut elsewhere are other messages.
    flat = np.concatenate(same.windows)
    cut = EncodedTexts((flat[:4], flat[4:]), same.first, same.distinct_of)
    assert cut.fingerprint != same.fingerprint
