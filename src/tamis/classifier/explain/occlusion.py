"""Contribution of each word to a verdict, by leaving it out: alone and in runs of neighbouring
words, because the words of a phrase support each other.

Contributions are differences of log-odds, log P / (1 - P), because probabilities near 0 and 1
hardly change. Source: occlusion (Zeiler and Fergus, arXiv:1311.2901), for text "leave-one-out" (Li
et al., arXiv:1612.08220).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.explain.explanation import WordAttribution
from tamis.classifier.explain.subject import ExplainedClassifier
from tamis.decision.verdict import Window

RUNS = (1, 3, 5, 8)
"""Words left out together. On planted phrases single words alone found 3 to 10 of 100 fewer."""
MOST_TOKENS = 2**17
"""Tokens that may be scored for every word of a text to be left out by itself; a longer text is
taken apart part by part."""
PARTS = 8
"""Parts that a longer text is cut into at a time."""

_UNSPACED = "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_WORD = re.compile(rf"{_UNSPACED}[^\w\s]*|(?:(?!{_UNSPACED})\S)+")

Span = tuple[int, int]
Score = Callable[[list[str]], NDArray[np.float64]]


@dataclass(frozen=True)
class Attributions:
    """Contributions of words, in log-odds of one label."""

    words: tuple[WordAttribution, ...]
    log_odds: float
    empty_log_odds: float
    notes: list[str] = field(default_factory=list)


def word_attributions(
    classifier: ExplainedClassifier, text: str, place: int, *, tokens: int
) -> Attributions:
    """Return the contributions of all words of a text to the log-odds of class number `place`.

    The contribution of a word is the mean over run lengths L in `RUNS` of the mean, over the runs
    of L words that contain it, of the log-odds lost without the run, divided by L. A run is never
    the whole text, unless the text is one word.

    If this would score more than `MOST_TOKENS` tokens, the text (with its number of `tokens`) is
    first cut into `PARTS` runs of equal numbers of words, each left out once. The run with the
    largest contribution is cut again, until its words can be left out one by one within the limit
    or there are at most `PARTS` of them. The words of the other runs share the contribution of
    their run equally. The text is scored fewer than 4 times per word if it is not cut; otherwise 8
    times for each factor of eight in the number of words, plus 19 times or `MOST_TOKENS` tokens for
    the remaining words.
    """

    def log_odds(texts: list[str]) -> NDArray[np.float64]:
        return _log_odds(classifier, texts, place)

    words = words_of(text)
    whole, empty = log_odds([text, ""]).tolist()
    values, notes = np.zeros(len(words)), []
    first, stop = 0, len(words)
    while stop - first > PARTS and len(RUNS) * (stop - first) * tokens > MOST_TOKENS:
        edges = np.linspace(first, stop, PARTS + 1).astype(int).tolist()
        parts = list(itertools.pairwise(edges))
        lost = whole - log_odds([leave_out_words(text, words, *part) for part in parts])
        for (a, b), loss in zip(parts, lost, strict=True):
            values[a:b] = loss / (b - a)
        first, stop = parts[int(np.argmax(values[edges[:-1]]))]
    if stop - first < len(words):
        a, b = words[first][0], words[stop - 1][1]
        notes.append(
            f"The text is long: only the words at characters {a} to {b} were left out one by "
            "one, the others in larger parts."
        )
    values[first:stop] = _word_by_word(
        lambda runs: whole - log_odds([leave_out_words(text, words, *run) for run in runs]),
        first,
        stop,
        len(words),
    )
    found = tuple(
        WordAttribution(*word, share) for word, share in zip(words, values.tolist(), strict=True)
    )
    return Attributions(found, whole, empty, notes)


def window_attributions(
    classifier: ExplainedClassifier, text: str, place: int, window: Window
) -> Attributions:
    """Return the contributions if one window of a long text determines the verdict: the words of
    the window are treated as the whole text, and all others contribute 0.

    Leaving out words of the whole text would move all following windows, which changes more than
    the words do. A window is no longer than the context, so the limit on scored tokens is kept.
    """
    words = words_of(text)
    inside = [
        number
        for number, (start, end) in enumerate(words)
        if end > window.start and start < window.end
    ]
    if not inside:  # a window of white space
        empty = word_attributions(classifier, "", place, tokens=1)
        return replace(
            empty,
            words=tuple(WordAttribution(*word, 0.0) for word in words),
            log_odds=float(_log_odds(classifier, [text], place)[0]),
        )
    first, last = (
        words[inside[0]][0],
        words[inside[-1]][1],
    )  # whole words, where the window begins or ends in one
    own = word_attributions(
        classifier, text[first:last], place, tokens=window.stop_token - window.first_token
    )
    found = [WordAttribution(start, end, 0.0) for start, end in words]
    for number, word in zip(inside, own.words, strict=True):
        found[number] = WordAttribution(word.start + first, word.end + first, word.attribution)
    return Attributions(
        tuple(found), float(_log_odds(classifier, [text], place)[0]), own.empty_log_odds, own.notes
    )


def _log_odds(classifier: ExplainedClassifier, texts: list[str], place: int) -> NDArray[np.float64]:
    probabilities = classifier.predict_proba(
        texts
    )  # (N, K); the other classes are summed, as 1 - P has no digits near 1
    chosen, others = probabilities[:, place], np.delete(probabilities, place, axis=1).sum(1)
    if classifier.rule_.multi_label:
        others = 1.0 - chosen
    smallest = np.finfo(np.float64).tiny
    return np.asarray(np.log(np.maximum(chosen, smallest)) - np.log(np.maximum(others, smallest)))


def _word_by_word(
    lost: Callable[[list[Span]], NDArray[np.float64]], first: int, stop: int, words: int
) -> NDArray[np.float64]:
    """(stop - first,) shares of words `first` to `stop` of `words`, from the log-odds lost without
    each run of them.
    """
    count = stop - first
    lengths = [length for length in RUNS if length <= count and (length < words or words == 1)]
    runs = [(a, a + length) for length in lengths for a in range(first, stop - length + 1)]
    losses = iter(lost(runs).tolist() if runs else [])
    total = np.zeros(count)
    for length in lengths:
        sums, counts = np.zeros(count), np.zeros(count)
        for a in range(count - length + 1):
            sums[a : a + length] += next(losses) / length
            counts[a : a + length] += 1
        # Every length counts alike for every word: by the number of runs, words at the ends would
        # lean on the short ones.
        total += sums / counts
    return total / max(1, len(lengths))


def words_of(text: str) -> list[Span]:
    """Return (start, end) of every word: what is between white space (Unicode), including
    punctuation.

    Each Han character and each kana is a word of its own, with the following punctuation.
    """
    return [match.span() for match in _WORD.finditer(text)]


def leave_out_words(text: str, words: Sequence[Span], first: int, stop: int) -> str:
    """Return the text without words `first` to `stop` and the following white space (at the end of
    the text, the preceding one).
    """
    if stop < len(words):
        return text[: words[first][0]] + text[words[stop][0] :]
    return text[: words[first - 1][1]] + text[words[-1][1] :] if first else ""
