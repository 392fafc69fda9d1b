"""BPE-dropout: what is left out, and that only the cuts change."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.text.bpe_dropout import DroppedMerges
from tamis.text.tokenizer import Tokenizer
from tests.rows import messages

TEXTS = [
    "You have won a guaranteed prize, call 08712 460324 now",
    "Are you coming home for dinner tonight? x",
    "",
    "Ünïcode — 漢字 \U0001f600",
    "<|endoftext|> spelled out",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    trained = Tokenizer.train([text for _, text in messages()], vocab_size=400)
    return trained.prepared(add_bos=True, normalize="none")


def test_texts_come_back_whole_however_they_are_cut(tokenizer: Tokenizer) -> None:
    for epoch in range(3):
        cut = DroppedMerges(tokenizer, 0.3, seed=1).of_epoch(epoch)
        assert [cut.decode(ids[1:].tolist()) for ids in cut.encode(TEXTS)] == TEXTS
        assert all(ids[0] == tokenizer.end_of_text for ids in cut.encode(TEXTS))


def test_nothing_left_out_cuts_as_the_tokenizer_and_everything_left_out_gives_bytes(
    tokenizer: Tokenizer,
) -> None:
    whole, bytes_ = (
        DroppedMerges(tokenizer, share, seed=1).of_epoch(0).encode(TEXTS) for share in (0.0, 1.0)
    )
    for plain, same in zip(tokenizer.encode(TEXTS), whole, strict=True):
        assert np.array_equal(plain, same)
    assert [len(ids) - 1 for ids in bytes_[:4]] == [len(text.encode()) for text in TEXTS[:4]]


def test_a_share_left_out_makes_more_pieces_and_the_more_the_larger_it_is(
    tokenizer: Tokenizer,
) -> None:
    texts = TEXTS * 40
    pieces = [
        sum(map(len, DroppedMerges(tokenizer, share, seed=5).of_epoch(0).encode(texts)))
        for share in (0.0, 0.1, 0.3, 0.9)
    ]
    assert pieces == sorted(pieces) and len(set(pieces)) == 4


def test_epochs_and_texts_differ_in_their_cuts_and_the_seed_decides_them(
    tokenizer: Tokenizer,
) -> None:
    texts = TEXTS[:1] * 250

    def cuts(seed: int, epoch: int) -> list[tuple[int, ...]]:
        return [
            tuple(ids.tolist())
            for ids in DroppedMerges(tokenizer, 0.2, seed=seed).of_epoch(epoch).encode(texts)
        ]

    first = cuts(7, 0)
    assert len(set(first)) > 2  # groups
    assert cuts(7, 0) == first
    assert cuts(7, 1) != first and cuts(8, 0) != first
    both = DroppedMerges(tokenizer, 0.2, seed=7)
    both.of_epoch(3)
    assert [
        tuple(ids.tolist()) for ids in both.of_epoch(0).encode(texts)
    ] == first  # an epoch does not depend on those before
