"""Bits per byte against transformers' own loss and arithmetic by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tamis.gpt2.checkpoints import write_checkpoint
from tamis.gpt2.packing import pack
from tamis.training.pretraining.evaluation import bits_per_byte, measure, text_nats
from tamis.training.pretraining.losses import pooled
from tests.training.pretraining import small


def test_nats_of_each_text_equal_transformers_loss(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    training = small.pretraining(None, {"schedule.tokens": 500})
    training.run()
    write_checkpoint(tmp_path, training.student.trunk)
    other = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    found = text_nats(training.student.trunk, training.sequences)
    assert any(
        len(training.sequences.inputs(i)) == 24 for i in range(40)
    )  # one that was cut is among them
    for row in range(40):
        ids = torch.from_numpy(training.sequences.inputs(row).astype(np.int64))[None]
        with torch.no_grad():
            mean = float(other(ids, labels=ids).loss)
        assert found[row] == pytest.approx(mean * (ids.shape[1] - 1), rel=1e-4)


def test_a_model_that_knows_nothing_needs_the_logarithm_of_the_vocabulary_for_each_token() -> None:
    training = small.pretraining()
    with torch.no_grad():
        training.student.trunk.wte.weight.zero_()
    vocabulary = training.student.trunk.config.vocab_size
    nats = text_nats(training.student.trunk, training.sequences)
    np.testing.assert_allclose(
        nats, (training.sequences.lengths - 1) * math.log(vocabulary), rtol=1e-5
    )
    assert bits_per_byte(np.array([math.log(2) * 30, 0.0]), np.array([8, 2])) == pytest.approx(3.0)


def test_figures_by_source_weigh_to_the_whole_and_training_mode_is_kept(tmp_path: Path) -> None:
    training = small.pretraining(tmp_path)
    training.student.train()
    source = np.array([0] * 13 + [2] * 27, dtype=np.int16)
    vectors = training.store.of(training.corpus.texts)  # type: ignore[union-attr]
    found = measure(training.student, training.sequences, source, ["one", "none", "two"], vectors)
    assert training.student.trunk.training
    assert list(found["by_source"]) == ["one", "two"]
    sizes = training.sequences.text_bytes
    weighed = (
        found["by_source"]["one"] * sizes[:13].sum() + found["by_source"]["two"] * sizes[13:].sum()
    ) / sizes.sum()
    assert found["bits_per_byte"] == pytest.approx(weighed)
    cosines = []
    for row in range(40):
        with torch.no_grad():
            packed = pack([training.sequences.inputs(row)])
            mapped = (
                pooled(training.student.trunk(packed), packed)[0] @ training.student.to_teacher.T  # type: ignore[union-attr]
            )
        cosines.append(float(F.cosine_similarity(mapped, torch.from_numpy(vectors[row]), dim=0)))
    assert found["cosine"] == pytest.approx(np.mean(cosines), abs=1e-5)
    assert "cosine" not in measure(
        training.student, training.sequences, source, ["one", "none", "two"], None
    )
