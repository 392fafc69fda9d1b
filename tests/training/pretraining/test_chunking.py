"""Texts cut to the context: nothing is lost, everything fits, pieces stand where their text
stood.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining.chunking import cut_to_context, fitted
from tamis.training.pretraining.corpus import Corpus, SourceCounts
from tamis.training.pretraining.sequences import encode
from tests.training.pretraining import small

TOKENIZER = Tokenizer.train([*small.texts(200), "é ß 日本語 " * 3], vocab_size=400).prepared(
    add_bos=True
)
WORDS = st.sampled_from(
    ["free", "prize", "station", "é", "日本語", "\U0001f600", "x" * 40, "!!", "12345", "\n"]
)


def letters(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=60).map(" ".join), st.sampled_from([8, 13, 24]))
def test_every_piece_fits_and_nothing_but_white_space_is_lost(text: str, context: int) -> None:
    (pieces,) = cut_to_context([text], TOKENIZER, context)
    assert max(map(len, TOKENIZER.encode(pieces))) <= context
    assert letters("".join(pieces)) == letters(text)
    if len(TOKENIZER.encode([text])[0]) <= context:
        assert pieces == [text]


def test_pieces_end_between_words_and_are_about_equal() -> None:
    text = " ".join(small.texts(30))
    (pieces,) = cut_to_context([text], TOKENIZER, 24)
    assert " ".join(pieces) == text
    sizes = [len(ids) for ids in TOKENIZER.encode(pieces)]
    assert len(sizes) > 5 and min(sizes) > 24 / 3


@pytest.mark.parametrize("line", ["x" * 100_000, "日" * 20_000, "\U0001f600" * 9000])
def test_a_long_line_without_spaces_is_cut_between_characters(line: str) -> None:
    (pieces,) = cut_to_context([line], TOKENIZER, 64)
    assert "".join(pieces) == line and max(map(len, TOKENIZER.encode(pieces))) <= 64


def long_corpus() -> Corpus:
    texts = [
        "short one",
        " ".join(small.texts(20)),
        "another",
        " ".join(small.texts(9, seed=7)),
        "last",
    ]
    held = [" ".join(small.texts(8, seed=3)), "held"]
    counts = {
        name: SourceCounts(lines=9, texts=n, words=50, held_out=h)
        for name, n, h in (("a", 3, 1), ("b", 2, 1))
    }
    sources = np.array([0, 0, 0, 1, 1], dtype=np.int16), np.array([0, 1], dtype=np.int16)
    return Corpus(texts, sources[0], held, sources[1], ["a", "b"], np.array([1.0, 2.0]), counts)


def test_a_corpus_keeps_order_and_sources_and_counts_its_pieces() -> None:
    corpus = long_corpus()
    cut = fitted(corpus, TOKENIZER, 24)
    expected = [piece for pieces in cut_to_context(corpus.texts, TOKENIZER, 24) for piece in pieces]
    assert (
        cut.texts == expected
        and len(expected) > 12
        and " ".join(cut.texts) == " ".join(corpus.texts)
    )
    assert " ".join(cut.held_out) == " ".join(corpus.held_out)
    assert (len(cut.source), len(cut.held_out_source)) == (len(cut.texts), len(cut.held_out))
    assert (
        cut.source.tolist() == sorted(cut.source.tolist())
        and cut.texts[int((cut.source == 0).sum()) - 1] == "another"
    )
    for i, name in enumerate(cut.names):
        assert (
            cut.counts[name].texts == (cut.source == i).sum()
            and cut.counts[name].held_out == (cut.held_out_source == i).sum()
        )
    assert [counts.texts for counts in corpus.counts.values()] == [3, 2], (
        "the corpus that was read stays as it was"
    )
    sequences = encode(cut.texts, TOKENIZER, 24)
    assert all((sequences.targets(row) >= 0).all() for row in range(len(cut.texts))), (
        "every text ends with its end"
    )
    assert int(sequences.text_bytes.sum()) == sum(len(text.encode()) for text in cut.texts)
    assert fitted(corpus, TOKENIZER, 2000) is corpus
