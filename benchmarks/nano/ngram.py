"""An n-gram language model over token ids, for comparison with a neural model on the same ids. It
does not read texts or files.

Interpolated modified Kneser-Ney smoothing: S. F. Chen and J. Goodman, An empirical study of
smoothing techniques for language modeling, Computer Speech and Language 13 (1999); n-grams at the
start of a sequence are counted as in K. Heafield et al., ACL 2013 (KenLM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.errors import ConfigError, DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts of an order for which they cannot be estimated, as in KenLM."""


def discounts(counts: NDArray[np.integer]) -> tuple[float, float, float]:
    """Return the discounts D1, D2 and D3+ for n-grams with count 1, 2, and 3 or more.

    They are estimated from the counts of counts. Returns `FALLBACK` if the counts one to four do
    not all occur, or if a discount is not between 0 and its count, as in small or unusual data.

    Source: Chen and Goodman 1999, modified Kneser-Ney smoothing.
    """
    once, twice, thrice, four = (int(np.count_nonzero(counts == count)) for count in (1, 2, 3, 4))
    if min(once, twice, thrice, four) == 0:
        return FALLBACK
    share = once / (once + 2 * twice)
    first, second, third = (
        1 - 2 * share * twice / once,
        2 - 3 * share * thrice / twice,
        3 - 4 * share * four / thrice,
    )
    return (first, second, third) if min(first, second, third) > 0 else FALLBACK


@dataclass(frozen=True)
class Level:
    """The n-grams of one order, and the probabilities of a token after their contexts.

    Shapes (G = n-grams of this order, C = n-grams of the order below, which are the contexts; C =
    1,
    the empty one, for order 1):
        keys     (G,) int64, increasing: index of the context in the order below x vocabulary +
                 token;
                 the index of an n-gram is its context number in the order above
        share    (G,) discounted share of the n-gram among those of its context
        backoff  (C,) probability mass left to the order below; 1 if nothing ever followed the
                 context
    """

    keys: Ints
    share: Floats
    backoff: Floats
    discounts: tuple[float, float, float]

    @classmethod
    def weigh(
        cls, keys: Ints, counts: Ints, weights: Floats, *, contexts: int, vocab_size: int
    ) -> Level:
        """Create the level from n-grams with `counts` (they determine the discount) and `weights`
        (mass), all (G,).
        """
        context = keys // vocab_size
        off = discounts(counts)
        taken = weights * np.array((0.0, *off))[np.minimum(counts, 3)] / np.maximum(counts, 1)
        mass, left = _sums(context, weights, contexts), _sums(context, taken, contexts)
        followed = mass > 0
        backoff = np.divide(left, mass, out=np.ones(contexts), where=followed)
        share = (weights - taken) / np.where(followed, mass, 1.0)[context]
        return cls(keys=keys, share=share, backoff=backoff, discounts=off)


@dataclass(frozen=True)
class KneserNey:
    """Interpolated modified Kneser-Ney; the order below the first is the uniform distribution over
    the vocabulary.
    """

    vocab_size: int
    levels: tuple[Level, ...]

    @property
    def order(self) -> int:
        """Tokens of the longest n-gram: the predicted one and at most `order` - 1 before it."""
        return len(self.levels)

    @classmethod
    def fit(
        cls,
        sequences: Sequence[NDArray[np.int32]],
        vocab_size: int,
        order: int = 5,
        *,
        times: NDArray[np.int64] | None = None,
    ) -> KneserNey:
        """Count every token except the first of each sequence, given the tokens before it in the
        sequence.

        Below the highest order an n-gram is counted once for each different token before it (its
        continuation count), and once for each sequence that it begins.

        `times` (one whole number per sequence; 0 ignores the sequence) weights the mass of a
        sequence but does not change the counts for the discounts: equal `times` have no effect, and
        an n-gram seen once in a sequence of weight ten is still discounted as seen once. A
        continuation has the mean weight of its occurrences.

        Raises:
            ConfigError: `order` or `vocab_size` is below 1.
            DataError: an id outside the vocabulary, nothing to predict, or `times` that do not
                match the sequences.
        """
        if order < 1 or vocab_size < 1:
            raise ConfigError(
                f"order and vocab_size: expected at least 1, got order {order} and vocab_size "
                f"{vocab_size}"
            )
        if times is not None:
            if (
                times.shape != (len(sequences),)
                or times.dtype.kind not in "iu"
                or (len(times) and times.min() < 0)
            ):
                raise DataError(
                    "times: expected one whole number from 0 up for each of the "
                    f"{len(sequences):,} sequences, "
                    f"got {times.dtype} of shape "
                    f"{times.shape}{f', the least {times.min()}' if times.size else ''}"
                )
            sequences, times = (
                [sequence for sequence, often in zip(sequences, times, strict=True) if often],
                times[times > 0],
            )
        tokens, rows, places = _flatten(sequences, vocab_size)
        if not places.any():
            raise DataError(
                "expected at least one sequence of two or more tokens with a weight, got "
                f"{len(sequences):,} shorter ones"
            )
        mass = np.ones(len(tokens)) if times is None else times.astype(np.float64)[rows]

        # Upwards: the n-grams of each order, their occurrences that count individually, and each
        # n-gram's last order - 1 tokens.
        keys, tails = (
            [np.arange(vocab_size, dtype=np.int64)],
            [np.zeros(vocab_size, dtype=np.int32)],
        )
        names = tokens.astype(np.int32)  # index of the n-gram that ends at each position
        counts: list[Ints] = []
        weights: list[Floats] = []
        for length in range(1, order + 1):
            if length > 1:
                ends = np.flatnonzero(places >= length - 1)
                grams, first, inverse = np.unique(
                    names[ends - 1].astype(np.int64) * vocab_size + tokens[ends],
                    return_index=True,
                    return_inverse=True,
                )
                keys.append(grams)
                tails.append(names[ends[first]])
                names = np.full(len(tokens), -1, dtype=np.int32)
                names[ends] = inverse
                del ends, first, inverse
            single = np.flatnonzero(
                (places > 0)
                & ((places >= length - 1) if length == order else (places == length - 1))
            )
            counts.append(np.bincount(names[single], minlength=len(keys[-1])))
            weights.append(_sums(names[single], mass[single], len(keys[-1])))

        # Downwards: every n-gram is one continuation of its suffix.
        levels: list[Level] = []
        for below in range(order - 2, -2, -1):
            grams, tail, count, weight = keys.pop(), tails.pop(), counts.pop(), weights.pop()
            contexts = len(keys[-1]) if keys else 1
            levels.insert(
                0, Level.weigh(grams, count, weight, contexts=contexts, vocab_size=vocab_size)
            )
            if below >= 0:
                counts[below] += np.bincount(tail, minlength=contexts)
                weights[below] += _sums(tail, weight / np.maximum(count, 1), contexts)
        return cls(vocab_size=vocab_size, levels=tuple(levels))

    def nats(self, sequence: NDArray[np.int32]) -> Floats:
        """Return the loss (natural log) of each token of `sequence[1:]` given the tokens before it,
        (T - 1,), finite.

        Raises:
            DataError: an id outside the vocabulary.
        """
        return self._losses(*_flatten([sequence], self.vocab_size)[::2])[1:]

    def text_nats(self, sequences: Sequence[NDArray[np.int32]]) -> Floats:
        """Return the sum of `nats` of each sequence, (B,); 0 if there is nothing to predict.

        Raises:
            DataError: an id outside the vocabulary.
        """
        tokens, rows, places = _flatten(sequences, self.vocab_size)
        predicted = places > 0
        return _sums(rows[predicted], self._losses(tokens, places)[predicted], len(sequences))

    def _losses(self, tokens: Ints, places: Ints) -> Floats:
        """Return the loss (natural log) at every position of the joined sequences; undefined for
        first tokens.
        """
        chance = np.full(len(tokens), 1 / self.vocab_size)
        # For the tokens before each position, one more per level: index of their n-gram in the
        # level below; -1 if unseen.
        context = np.zeros(len(tokens), dtype=np.int64)
        for length, level in enumerate(self.levels, start=1):
            # For an unseen context, the probability of the order below is used.
            known = np.flatnonzero((places >= length - 1) & (context >= 0))
            key = context[known] * self.vocab_size + tokens[known]
            found = np.minimum(np.searchsorted(level.keys, key), len(level.keys) - 1)
            seen = (
                level.keys[found] == key if len(level.keys) else np.zeros(len(key), dtype=np.bool_)
            )
            chance[known] *= level.backoff[context[known]]
            chance[known[seen]] += level.share[found[seen]]
            context = np.full(len(tokens), -1, dtype=np.int64)
            follows = known[seen] + 1
            inside = follows < len(tokens)
            context[follows[inside]] = found[seen][inside]
        losses: Floats = -np.log(chance)
        return losses


def _sums(groups: NDArray[np.integer], values: Floats, size: int) -> Floats:
    """Return the sum of `values` in each group from 0 to `size` - 1, (size,)."""
    return np.bincount(groups, weights=values, minlength=size).astype(np.float64, copy=False)


def _flatten(sequences: Sequence[NDArray[np.int32]], vocab_size: int) -> tuple[Ints, Ints, Ints]:
    """Return all tokens joined: ids, sequence number, and position in the sequence from 0; each
    (tokens,).
    """
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    tokens = np.concatenate([np.empty(0, dtype=np.int32), *sequences]).astype(np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    outside = np.flatnonzero((tokens < 0) | (tokens >= vocab_size))
    if len(outside):
        at = outside[0]
        raise DataError(
            f"sequence {rows[at]}, position {places[at]}: expected an id from 0 to "
            f"{vocab_size - 1}, got {tokens[at]}; use the tokenizer that belongs to the model's "
            "vocabulary"
        )
    return tokens, rows, places
