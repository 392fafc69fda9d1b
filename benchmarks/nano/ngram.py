"""An n-gram language model over token ids, the rival of a neural one that reads the same ids;
nothing about texts or files.

Interpolated modified Kneser-Ney: S. F. Chen and J. Goodman, An empirical study of smoothing
techniques for language modeling, Computer Speech and Language 13 (1999); grams that begin a
sequence count as in K. Heafield et al., ACL 2013 (KenLM).
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
"""The discounts of an order whose counts of counts give none, as in KenLM."""


def discounts(counts: NDArray[np.integer]) -> tuple[float, float, float]:
    """What is taken from a gram counted once, twice, three times or more: D1, D2 and D3+ from the
    counts of counts.

    `FALLBACK` where one to four do not all occur among the counts or where a discount would not lie
    between 0 and its count, as in small or odd data.

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
    """The grams of one order, and what they say about a token that stands after their context.

    Shapes (G = grams of this order, C = grams of the order below, which are the contexts; C = 1,
    the empty one, for order 1):
        keys     (G,) int64, rising: context's place in the order below x vocabulary + token; a
                 gram's place is its name above
        share    (G,) discounted share of the gram among those of its context
        backoff  (C,) what the discounts left to the order below; 1 where the context was never
                 followed by anything
    """

    keys: Ints
    share: Floats
    backoff: Floats
    discounts: tuple[float, float, float]

    @classmethod
    def weigh(
        cls, keys: Ints, counts: Ints, weights: Floats, *, contexts: int, vocab_size: int
    ) -> Level:
        """The level of grams with these `counts` (evidence, decides the discount) and `weights`
        (mass); all (G,).
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
    """Interpolated modified Kneser-Ney; below the first order stands the uniform distribution over
    the vocabulary.
    """

    vocab_size: int
    levels: tuple[Level, ...]

    @property
    def order(self) -> int:
        """Tokens of the longest gram: the predicted one and at most `order` - 1 before it."""
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
        """Count every token but the first of each sequence, after what stands before it inside the
        sequence.

        Below the highest order a gram counts once for each different token before it (its
        continuation count), and once for each sequence that it begins, where nothing can stand
        before it.

        `times` (one whole number per sequence, 0 leaves it out) weighs the mass of a sequence and
        adds no evidence: a gram is discounted by how often it occurs in the sequences as given, so
        that equal `times` change nothing and a gram seen once in a sequence that counts tenfold is
        still taken for one seen once. A continuation weighs the mean of its occurrences.

        Raises:
            ConfigError: `order` or `vocab_size` is below 1.
            DataError: an id outside the vocabulary, nothing to predict, or `times` that do not fit
                the sequences.
        """
        if order < 1 or vocab_size < 1:
            raise ConfigError(
                f"order and vocab_size must be at least 1, got order {order} and vocab_size "
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
                f"expected a sequence of two tokens or more that counts, got {len(sequences):,} "
                "shorter ones"
            )
        mass = np.ones(len(tokens)) if times is None else times.astype(np.float64)[rows]

        # Upwards: the grams of each order, those of their occurrences that count one by one, and
        # each gram's last order - 1 tokens.
        keys, tails = (
            [np.arange(vocab_size, dtype=np.int64)],
            [np.zeros(vocab_size, dtype=np.int32)],
        )
        names = tokens.astype(np.int32)  # of the gram that ends at each place
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

        # Downwards: every gram is one continuation of its tail.
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
        """Natural-log loss of each token of `sequence[1:]` after what stands before it in the
        sequence; (T - 1,), finite.

        Raises:
            DataError: an id outside the vocabulary.
        """
        return self._losses(*_flatten([sequence], self.vocab_size)[::2])[1:]

    def text_nats(self, sequences: Sequence[NDArray[np.int32]]) -> Floats:
        """The sum of `nats` of each sequence; (B,), 0 where nothing is to predict.

        Raises:
            DataError: an id outside the vocabulary.
        """
        tokens, rows, places = _flatten(sequences, self.vocab_size)
        predicted = places > 0
        return _sums(rows[predicted], self._losses(tokens, places)[predicted], len(sequences))

    def _losses(self, tokens: Ints, places: Ints) -> Floats:
        """Natural-log loss at every place of the joined sequences; that of a first token means
        nothing.
        """
        chance = np.full(len(tokens), 1 / self.vocab_size)
        # Of the tokens just before each place, one more with every level: their gram's place in the
        # level below; -1 is unseen.
        context = np.zeros(len(tokens), dtype=np.int64)
        for length, level in enumerate(self.levels, start=1):
            # An unseen context says nothing: the chance of the order below stands.
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
    """The sum of `values` in each group from 0 to `size` - 1; (size,)."""
    return np.bincount(groups, weights=values, minlength=size).astype(np.float64, copy=False)


def _flatten(sequences: Sequence[NDArray[np.int32]], vocab_size: int) -> tuple[Ints, Ints, Ints]:
    """Of all tokens, joined: the ids, the number of their sequence, and their place in it from 0;
    each (tokens,).
    """
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    tokens = np.concatenate([np.empty(0, dtype=np.int32), *sequences]).astype(np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    outside = np.flatnonzero((tokens < 0) | (tokens >= vocab_size))
    if len(outside):
        at = outside[0]
        raise DataError(
            f"sequence {rows[at]}, place {places[at]}: expected an id from 0 to "
            f"{vocab_size - 1}, got {tokens[at]}; "
            "read the texts with the tokenizer whose vocabulary the model has"
        )
    return tokens, rows, places
