"""The n-gram rival against a slow second implementation in dictionaries, numbers by hand, and
properties.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.nano.ngram import FALLBACK, KneserNey, discounts
from tamis.errors import ConfigError, DataError

Gram = tuple[int, ...]


def ids(*texts: list[int]) -> list[NDArray[np.int32]]:
    return [np.array(text, dtype=np.int32) for text in texts]


class Slow:
    """The definition, gram by gram: for every order the count and the mass of each gram in a
    dictionary, the recursion as a function.
    """

    def __init__(
        self, texts: list[list[int]], vocab_size: int, order: int, times: list[int]
    ) -> None:
        self.vocab_size, self.order = vocab_size, order
        self.count: list[dict[Gram, int]] = [defaultdict(int) for _ in range(order + 1)]
        self.mass: list[dict[Gram, float]] = [defaultdict(float) for _ in range(order + 1)]
        for length in range(order, 0, -1):
            if length < order:
                for longer in self.count[length + 1]:
                    self.count[length][longer[1:]] += 1
                    self.mass[length][longer[1:]] += (
                        self.mass[length + 1][longer] / self.count[length + 1][longer]
                    )
            for text, often in zip(texts, times, strict=True):
                for end in range(2, len(text) + 1):
                    if often and (end >= length if length == order else end == length):
                        self.count[length][tuple(text[end - length : end])] += 1
                        self.mass[length][tuple(text[end - length : end])] += often

    def taken(self, gram: Gram) -> float:
        counts = self.count[len(gram)]
        n = [sum(count == wanted for count in counts.values()) for wanted in range(5)]
        found = list(FALLBACK)
        if all(n[1:]):
            y = n[1] / (n[1] + 2 * n[2])
            exact = [j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)]
            found = exact if min(exact) > 0 else found
        return found[min(counts[gram], 3) - 1] * self.mass[len(gram)][gram] / counts[gram]

    def chance(self, token: int, context: Gram) -> float:
        lower = self.chance(token, context[1:]) if context else 1 / self.vocab_size
        followers = [gram for gram in self.count[len(context) + 1] if gram[:-1] == context]
        if not followers:
            return lower
        total = sum(self.mass[len(context) + 1][gram] for gram in followers)
        left = sum(self.taken(gram) for gram in followers)
        gram = (*context, token)
        own = self.mass[len(gram)][gram] - self.taken(gram) if gram in followers else 0.0
        return (own + left * lower) / total

    def nats(self, text: list[int]) -> list[float]:
        return [
            -math.log(self.chance(text[end], tuple(text[max(0, end - self.order + 1) : end])))
            for end in range(1, len(text))
        ]


def rows(vocab_size: int, *, texts: int, longest: int) -> st.SearchStrategy[list[list[int]]]:
    """Texts of which at least one predicts something."""
    row = st.lists(st.integers(0, vocab_size - 1), max_size=longest)
    return st.lists(row, min_size=1, max_size=texts).filter(
        lambda found: any(len(text) > 1 for text in found)
    )


def skewed(vocab_size: int, texts: int, seed: int) -> list[list[int]]:
    """Texts whose tokens are rare and frequent, so that all counts of counts occur; each begins
    with token 0, as after a mark.
    """
    generator = np.random.default_rng(seed)
    odds = 1 / np.arange(1, vocab_size) ** 1.1
    lengths = generator.integers(0, 17, texts)
    return [
        [0, *(1 + generator.choice(vocab_size - 1, length, p=odds / odds.sum())).tolist()]
        for length in lengths
    ]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_what_the_definition_says_gram_by_gram(order: int, weighted: bool) -> None:
    vocab_size = 29
    texts = skewed(vocab_size, 41, seed=3)
    times = [index % 4 for index in range(41)] if weighted else [1] * 41
    fast = KneserNey.fit(
        ids(*texts), vocab_size, order, times=np.array(times) if weighted else None
    )
    slow = Slow(texts, vocab_size, order, times)
    # Above single tokens, discounts are estimated.
    assert order == 1 or any(level.discounts != FALLBACK for level in fast.levels)
    for text in (*skewed(vocab_size, 7, seed=4), texts[5], [0, 28, 0, 0, 3], [7, 1, 2]):
        np.testing.assert_allclose(fast.nats(ids(text)[0]), slow.nats(text), rtol=1e-10)


@given(rows(5, texts=7, longest=11), rows(5, texts=2, longest=7), st.integers(1, 4), st.data())
def test_it_is_what_the_definition_says_for_any_texts(
    texts: list[list[int]], new: list[list[int]], order: int, data: st.DataObject
) -> None:
    times = data.draw(st.lists(st.integers(1, 3), min_size=len(texts), max_size=len(texts)))
    fast = KneserNey.fit(ids(*texts), 5, order, times=np.array(times))
    slow = Slow(texts, 5, order, times)
    for text in new:
        np.testing.assert_allclose(fast.nats(ids(text)[0]), slow.nats(text), rtol=1e-10)


def test_a_bigram_model_by_hand() -> None:
    # 0 begins. The bigrams: 01 twice, 12 once, 11 once. The tokens before 1 are 0 and 1, before 2
    # only 1: three continuations. No counts of counts, so once, twice: 0.5, 1.
    model = KneserNey.fit(ids([0, 1, 2], [0, 1, 1]), 4, 2)
    one = (2 - 1) / 3 + (1 + 0.5) / 3 / 4
    two = (1 - 0.5) / 3 + (1 + 0.5) / 3 / 4
    never = (1 + 0.5) / 3 / 4
    assert [level.discounts for level in model.levels] == [FALLBACK, FALLBACK]
    expected = {
        (0, 1): (2 - 1) / 2 + 1 / 2 * one,
        (0, 2): 1 / 2 * two,
        (1, 1): (1 - 0.5) / 2 + (0.5 + 0.5) / 2 * one,
        (1, 3): (0.5 + 0.5) / 2 * never,
        (2, 1): one,  # nothing ever stood after 2
        (3, 0): never,
    }
    for (before, token), chance in expected.items():
        assert math.exp(-model.nats(ids([before, token])[0])[0]) == pytest.approx(chance, rel=1e-12)


def test_a_gram_that_begins_a_sequence_counts_every_time_below_the_highest_order() -> None:
    # 0 1 begins three sequences and nothing can stand before it: its count is 3, not its 0
    # continuations; 0 2 begins one.
    model = KneserNey.fit(ids([0, 1], [0, 1], [0, 1], [0, 2]), 3, 3)
    two = (1 - 0.5) / 2 + (0.5 + 0.5) / 2 / 3  # 1 and 2 have one token before them each
    assert math.exp(-model.nats(ids([0, 2])[0])[0]) == pytest.approx(
        (1 - 0.5) / 4 + (1.5 + 0.5) / 4 * two, rel=1e-12
    )


def test_the_discounts_by_hand() -> None:
    # n = 4, 3, 2, 1: Y = 4 / (4 + 6).
    assert discounts(np.array([1] * 4 + [2] * 3 + [3] * 2 + [4] + [0] * 5 + [9])) == pytest.approx(
        (0.4, 1.2, 2.2), rel=1e-12
    )
    assert discounts(np.array([1, 2, 3])) == FALLBACK
    # n = 5, 1, 3, 1: D2 = 2 - 3 x 5/7 x 3 would give mass to what was seen twice.
    assert discounts(np.array([1] * 5 + [2] + [3] * 3 + [4])) == FALLBACK


@given(
    rows(7, texts=5, longest=13),
    st.lists(st.integers(0, 6), min_size=1, max_size=6),
    st.integers(1, 5),
)
def test_the_chances_of_all_tokens_after_any_context_sum_to_one(
    texts: list[list[int]], context: list[int], order: int
) -> None:
    model = KneserNey.fit(ids(*texts), 7, order)
    losses = np.array([model.nats(ids([*context, token])[0])[-1] for token in range(7)])
    assert np.isfinite(losses).all()
    assert np.exp(-losses).sum() == pytest.approx(1, abs=1e-12)


def test_the_chances_sum_to_one_where_the_discounts_are_estimated() -> None:
    texts = skewed(29, 97, seed=5)
    model = KneserNey.fit(ids(*texts), 29, 4, times=np.arange(97) % 5)
    assert any(level.discounts != FALLBACK for level in model.levels)
    for context in ([0], [0, 1], [0, 1, 2, 1], [1, 2, 1], [28, 28], texts[6] or [0]):
        losses = [model.nats(ids([*context, token])[0])[-1] for token in range(29)]
        assert np.exp(-np.array(losses)).sum() == pytest.approx(1, abs=1e-12)


@given(rows(5, texts=7, longest=9), rows(5, texts=6, longest=9), st.integers(1, 4))
def test_texts_in_a_batch_are_the_sums_of_texts_alone(
    texts: list[list[int]], new: list[list[int]], order: int
) -> None:
    model = KneserNey.fit(ids(*texts), 5, order)
    alone = [model.nats(text).sum() for text in ids(*new)]
    np.testing.assert_allclose(model.text_nats(ids(*new)), alone, rtol=1e-12)
    assert model.order == order


@given(rows(5, texts=7, longest=9), rows(5, texts=4, longest=9), st.integers(1, 4))
def test_neither_the_order_of_the_sequences_nor_equal_times_change_anything(
    texts: list[list[int]], new: list[list[int]], order: int
) -> None:
    expected = KneserNey.fit(ids(*texts), 5, order).text_nats(ids(*new))
    # One more sequence, which counts for nothing.
    more = [*reversed(texts), [4, 3, 2, 1, 0, 3, 3]]
    again = KneserNey.fit(ids(*more), 5, order, times=np.array([3] * len(texts) + [0]))
    np.testing.assert_allclose(again.text_nats(ids(*new)), expected, rtol=1e-10)


def test_times_draw_the_model_to_a_sequence_and_leave_what_is_unseen() -> None:
    texts = ids([0, 1, 2], [0, 1, 3])
    even, drawn = KneserNey.fit(texts, 5, 3), KneserNey.fit(texts, 5, 3, times=np.array([6, 1]))
    assert (drawn.text_nats(texts) - even.text_nats(texts) < 0).tolist() == [True, False]
    # Both grams after 0 1 occur once, so half of either goes to the orders below, whatever they
    # weigh.
    assert drawn.levels[2].backoff[drawn.levels[2].keys // 5].tolist() == [0.5, 0.5]
    assert drawn.levels[2].share.tolist() == pytest.approx([6 / 14, 1 / 14], rel=1e-12)


def test_only_tokens_of_the_same_sequence_are_context() -> None:
    model = KneserNey.fit(ids(*skewed(11, 31, seed=7)), 11, 5)
    first, second = ids([0, 1, 2, 3, 1], [0, 4, 1])
    together = model.text_nats([first, second])
    np.testing.assert_allclose(
        together, [model.nats(first).sum(), model.nats(second).sum()], rtol=1e-12
    )
    assert (
        model.nats(ids([5, 9, 8, 1, 2, 3, 1])[0])[-1] == model.nats(ids([7, 8, 1, 2, 3, 1])[0])[-1]
    )


def test_sequences_without_a_token_to_predict_have_no_loss() -> None:
    model = KneserNey.fit(ids([0], [], [0, 2, 1]), 3, 2)
    assert model.nats(ids([0])[0]).shape == model.nats(ids([])[0]).shape == (0,)
    assert model.text_nats(ids([], [1], [0, 1], []))[[0, 1, 3]].tolist() == [0, 0, 0]
    assert model.text_nats([]).shape == (0,)


def test_it_learns_a_regular_text_and_prefers_it_to_a_lower_order() -> None:
    cycle = [0, *([1, 2, 1, 3, 2, 2, 3] * 23)]
    new = ids([0, *([1, 2, 1, 3, 2, 2, 3] * 5)])
    losses = [KneserNey.fit(ids(cycle), 13, order).text_nats(new)[0] for order in (1, 2, 3)]
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < 0.3 * losses[0]


@pytest.mark.parametrize(("bad", "place"), [(7, 2), (-1, 1)])
def test_an_id_outside_the_vocabulary_is_named_with_its_place(bad: int, place: int) -> None:
    text = [0, 1, 1]
    text[place] = bad
    message = rf"sequence 1, position {place}: expected an id from 0 to 6, got {bad}; use"
    with pytest.raises(DataError, match=message):
        KneserNey.fit(ids([0, 1], text), 7)
    with pytest.raises(DataError, match=message):
        KneserNey.fit(ids([0, 1]), 7).text_nats(ids([0, 1], text))


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ConfigError, match="got order 0 and vocab_size 7"):
        KneserNey.fit(ids([0, 1]), 7, 0)
    with pytest.raises(
        DataError,
        match="expected at least one sequence of two or more tokens with a weight, got 2 shorter",
    ):
        KneserNey.fit(ids([0], [0]), 7)
    with pytest.raises(
        DataError, match=r"each of the 2 sequences, got int64 of shape \(2,\), the least -3"
    ):
        KneserNey.fit(ids([0, 1], [0, 1]), 7, times=np.array([1, -3]))
    with pytest.raises(DataError, match=r"each of the 1 sequences, got int64 of shape \(0,\)$"):
        KneserNey.fit(ids([0, 1]), 7, times=np.array([], dtype=np.int64))
