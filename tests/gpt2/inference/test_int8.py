from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.classifier.text_classifier import TextClassifier
from tamis.compute.int8_kernel import int8_is_here
from tamis.errors import ConfigError
from tamis.gpt2.feature_cache import trunk_fingerprint
from tamis.gpt2.inference.int8 import Int8Linear, int8_trunk
from tamis.gpt2.model import GPT2, GPT2Config, initialise
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import add_mean_pooling

pytestmark = pytest.mark.skipif(
    not int8_is_here(), reason="this torch has no int8 engine for this processor"
)


def trunk(*, mean: bool) -> GPT2:
    model = GPT2(GPT2Config(vocab_size=101, n_positions=32, n_embd=48, n_layer=2, n_head=3))
    initialise(model, torch.Generator().manual_seed(3))
    return (add_mean_pooling(model) if mean else model).eval()


def messages() -> list[np.ndarray]:
    random = np.random.default_rng(7)
    return [random.integers(0, 101, length) for length in (5, 2, 17, 5, 11)]


@pytest.mark.parametrize("mean", [False, True])
def test_scores_are_near_those_of_fp32_and_depend_on_no_batch_mate(mean: bool) -> None:
    model = trunk(mean=mean)
    small, batch = int8_trunk(model), pack(messages())
    with torch.inference_mode():
        exact = model.normed(model.last(model.embed(batch), batch))
        found = small.normed(small.last(small.embed(batch), batch))
        # The last token by the short way is the last token of all.
        everything = small(batch).index_select(0, batch.last).index_select(0, batch.inverse)
        alone = torch.cat(
            [
                small.normed(small.last(small.embed(one), one))
                for one in (pack([m]) for m in messages())
            ]
        )
    assert 0 < (found - exact).norm() / exact.norm() < 0.05
    torch.testing.assert_close(found, everything, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found, alone, atol=1e-4, rtol=1e-4)


def test_the_trunk_given_is_left_as_it_was_and_tables_are_shared() -> None:
    model = trunk(mean=True)
    before = trunk_fingerprint(model)
    small = int8_trunk(model)
    assert trunk_fingerprint(model) == before != trunk_fingerprint(small)
    assert small.wte.weight is model.wte.weight
    assert {type(m) for m in small.modules() if hasattr(m, "out_features")} == {Int8Linear}
    assert sum(p.numel() for p in small.h.parameters()) < 0.05 * sum(
        p.numel() for p in model.h.parameters()
    )


def test_kept_states_of_other_weights_are_others() -> None:
    one, other = trunk(mean=True), trunk(mean=True)
    assert trunk_fingerprint(int8_trunk(one)) == trunk_fingerprint(int8_trunk(other))
    with torch.no_grad():
        other.h[0].mlp.c_fc.weight[0, 0] += 1e-3  # type: ignore[union-attr, index, operator]
    assert trunk_fingerprint(int8_trunk(one)) != trunk_fingerprint(int8_trunk(other))


def test_a_model_on_a_gpu_is_refused() -> None:
    with torch.device("meta"):
        model = GPT2(GPT2Config(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    with pytest.raises(ConfigError, match="int8 runs on the CPU, but the model is on meta"):
        int8_trunk(model)


def test_a_classifier_serves_int8_and_saves_the_fp32_it_was_loaded_from(tmp_path: Path) -> None:
    texts = [f"win a prize {i}" for i in range(8)] + [f"see you at {i}" for i in range(8)]
    labels = ["spam"] * 8 + ["ham"] * 8
    fitted = TextClassifier("scratch:tiny", "head", dtype="int8").fit(texts, labels)
    fitted.save(tmp_path / "model")
    exact = TextClassifier.load(tmp_path / "model")
    small = TextClassifier.load(tmp_path / "model", dtype="int8")
    np.testing.assert_allclose(small.predict_proba(texts), fitted.predict_proba(texts), atol=1e-6)
    assert 0 < np.abs(small.predict_proba(texts) - exact.predict_proba(texts)).max() < 0.05
    assert np.array_equal(
        small.predict_proba(texts),
        TextClassifier.load(tmp_path / "model", dtype="int8").predict_proba(texts),
    )
    assert small.fingerprint() == exact.fingerprint()
    small.save(tmp_path / "again")
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("model", "again")]
    assert files[0] == files[1]
    assert (
        small.predictor_.model is small.predictor_.scorer
    )  # the fp32 matrices are not kept beside
