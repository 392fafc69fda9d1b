"""The same training twice: both sides must draw the same loss curve, or their seconds are of
different work.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import exact, shared
from benchmarks.speed.shared import Rows, written
from tamis.gpt2.model import GPT2Config
from tamis.text.tokenizer import Tokenizer
from tests.rows import messages

TEXTS = [text for _, text in messages()][:70]
LABELS = np.array([label == "spam" for label, _ in messages()][:70], dtype=np.int64)


@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)
@pytest.mark.parametrize("tune", ["full", "blocks:1"])
def test_both_draw_the_same_curve(tmp_path: Path, tune: str) -> None:
    tokenizer = Tokenizer.train(TEXTS, vocab_size=300)
    config = GPT2Config(vocab_size=tokenizer.size, n_positions=128, n_embd=24, n_layer=2, n_head=2)
    folder = written(tmp_path, shared.trunk(config), tokenizer, pad=0)
    rows = exact.usable(Rows(TEXTS, LABELS, TEXTS[:2], LABELS[:2]))
    assert (
        len(rows.train_texts) % exact.BATCH == 0
        and len(set(rows.train_texts)) == len(rows.train_texts) >= 48
    )
    ours, theirs = (side(folder, rows, tune, epochs=2) for side in (exact.ours, exact.theirs))
    assert len(ours.losses) == len(theirs.losses) == 2 * len(rows.train_texts) // exact.BATCH
    np.testing.assert_allclose(ours.losses, theirs.losses, atol=1e-3)
    np.testing.assert_allclose(ours.losses[0], theirs.losses[0], atol=1e-5)
    assert len({round(loss, 6) for loss in ours.losses}) == len(ours.losses)
    assert min(ours.seconds, theirs.seconds) > 0
