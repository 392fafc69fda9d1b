"""Weights in oneDNN's layout: the same scores, the plain weights still to be had, and nothing of
the trunk given is changed.
"""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.classifier.text_classifier import TextClassifier
from tamis.compute.int8_kernel import int8_is_here
from tamis.gpt2.feature_cache import trunk_fingerprint
from tamis.gpt2.freezing import freeze
from tamis.gpt2.inference import onednn
from tamis.gpt2.inference.int8 import Int8Linear, int8_trunk
from tamis.gpt2.inference.onednn import PrepackedLinear, prepacked_trunk, prepacking_pays
from tamis.gpt2.linear import Linear
from tamis.gpt2.linear_swap import MakeLinear, exchanged
from tamis.gpt2.model import GPT2, GPT2Classifier, GPT2Config, initialise
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import add_mean_pooling

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"
)

TEXTS = [f"win prize {i}, call now" for i in range(12)] + [
    f"see you at {i} then" for i in range(12)
]
LABELS = ["spam"] * 12 + ["ham"] * 12


def trunk(width: int = 51, *, mean: bool = False) -> GPT2:
    model = GPT2(GPT2Config(vocab_size=101, n_positions=40, n_embd=width, n_layer=3, n_head=3))
    initialise(model, torch.Generator().manual_seed(3))
    for name, parameter in model.named_parameters():
        if name.endswith(
            "bias"
        ):  # zero at the start: a bias left out, or cut wrongly, would not show
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(len(name)))
    return (add_mean_pooling(model) if mean else model).eval()


def messages() -> list[np.ndarray]:
    random = np.random.default_rng(7)
    return [random.integers(0, 101, length) for length in (5, 1, 2, 37, 5, 11)]


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("count", [1, 6])
def test_scores_are_those_of_the_plain_trunk(mean: bool, count: int) -> None:
    plain, batch = trunk(mean=mean), pack(messages()[-count:])
    other = prepacked_trunk(plain)
    assert sum(isinstance(m, PrepackedLinear) for m in other.modules()) == 12
    with torch.inference_mode():
        torch.testing.assert_close(other(batch), plain(batch), atol=1e-5, rtol=1e-5)
        found = other.last(other.embed(batch), batch)
        torch.testing.assert_close(
            other.normed(found),
            plain.normed(plain.last(plain.embed(batch), batch)),
            atol=1e-5,
            rtol=1e-5,
        )


def test_a_layer_has_the_plain_weights_whatever_its_cut() -> None:
    linear = Linear(51, 153)
    torch.nn.init.normal_(linear.weight, generator=torch.Generator().manual_seed(2))
    torch.nn.init.normal_(linear.bias, generator=torch.Generator().manual_seed(3))
    rows = torch.randn(7, 51, generator=torch.Generator().manual_seed(1))
    for cut in (None, 51):
        layer = PrepackedLinear(linear, cut)
        assert torch.equal(layer.weight, linear.weight) and "out_features=153" in repr(layer)
        with torch.inference_mode():
            first, second = layer.halves(rows[5:], rows, 51)
            torch.testing.assert_close(layer(rows), linear(rows), atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(first, linear(rows[5:])[:, :51], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(second, linear(rows)[:, 51:], atol=1e-5, rtol=1e-5)


def test_it_can_be_copied_and_pickled_and_names_the_plain_weights() -> None:
    plain = trunk(mean=True)
    other, batch = prepacked_trunk(plain), pack(messages())
    state, wanted = other.state_dict(), plain.state_dict()
    assert state.keys() == wanted.keys() and all(
        torch.equal(state[name], wanted[name]) for name in wanted
    )
    with torch.inference_mode():
        found = other(batch)
        for twin in (copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
            assert torch.equal(twin(batch), found)


def test_its_kept_states_are_its_own() -> None:
    one, other = trunk(), trunk()
    assert (
        trunk_fingerprint(prepacked_trunk(one))
        == trunk_fingerprint(prepacked_trunk(other))
        != trunk_fingerprint(one)
    )
    assert trunk_fingerprint(one) == trunk_fingerprint(other)


@pytest.mark.parametrize("make", [PrepackedLinear, Int8Linear])
def test_what_is_trained_of_the_trunk_given_still_is(make: MakeLinear) -> None:
    if make is Int8Linear and not int8_is_here():
        pytest.skip("this torch has no int8 engine for this processor")
    model = GPT2Classifier(trunk(), 2)
    freeze(model, blocks=1)
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    assert any(before.values()) and not all(before.values())
    exchanged(model.transformer, make)
    assert {name: p.requires_grad for name, p in model.named_parameters()} == before


def test_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = trunk(onednn.FROM_WIDTH + 1)
    assert prepacking_pays(wide) and not prepacking_pays(trunk(onednn.FROM_WIDTH - 2))
    assert not prepacking_pays(prepacked_trunk(wide))  # done already
    assert not prepacking_pays(copy.deepcopy(wide).cast(torch.bfloat16))
    if int8_is_here():
        assert not prepacking_pays(int8_trunk(wide))
    with torch.device("meta"):
        assert not prepacking_pays(GPT2(wide.config))
    held = sum(
        p.numel() * 4
        for name, p in wide.h.named_parameters()
        if name.endswith("weight") and "ln_" not in name
    )
    monkeypatch.setattr(onednn, "MOST_BYTES", held)
    assert prepacking_pays(wide)
    monkeypatch.setattr(onednn, "MOST_BYTES", held - 1)
    assert not prepacking_pays(wide)
    monkeypatch.undo()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not prepacking_pays(wide)


@pytest.mark.parametrize("tune", ["head", "blocks:1", "full"])
def test_a_classifier_is_the_same_with_it(
    tune: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = TextClassifier("scratch:tiny", tune).fit(TEXTS, LABELS)
    monkeypatch.setattr(onednn, "FROM_WIDTH", 1)
    fitted = TextClassifier("scratch:tiny", tune).fit(TEXTS, LABELS)
    assert any(isinstance(m, PrepackedLinear) for m in fitted.predictor_.scorer.modules())
    np.testing.assert_allclose(fitted.predict_proba(TEXTS), plain.predict_proba(TEXTS), atol=1e-4)
    fitted.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model")
    assert (
        loaded.predictor_.model is loaded.predictor_.scorer
    )  # the plain matrices are not kept beside
    np.testing.assert_allclose(loaded.predict_proba(TEXTS), fitted.predict_proba(TEXTS), atol=1e-6)
    np.testing.assert_allclose(
        loaded.ood_detector_.bits_per_byte(TEXTS),
        fitted.ood_detector_.bits_per_byte(TEXTS),
        atol=1e-5,
    )
    assert loaded.fingerprint() == fitted.fingerprint()
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "model" / "model.safetensors"
    ).read_bytes()
    monkeypatch.undo()
    np.testing.assert_allclose(
        TextClassifier.load(tmp_path / "model").predict_proba(TEXTS),
        fitted.predict_proba(TEXTS),
        atol=1e-5,
    )
