"""Few texts in ONNX Runtime: the logits of the plain path, whatever the head, the pooling, the
thread or the mix of lengths; made only when it is worth it.
"""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tamis.compute.parallel import own_threads
from tamis.decision.calibration import softmax
from tamis.gpt2.inference import small_batches
from tamis.gpt2.inference.onednn import prepacked_trunk
from tamis.gpt2.inference.small_batches import FROM_CALL, MOST_TOKENS, SmallBatches
from tamis.gpt2.model import GPT2, GPT2Classifier, GPT2Config, initialise
from tamis.gpt2.pooling import add_mean_pooling
from tamis.gpt2.scoring import window_logits
from tamis.head.refit import LinearHead, with_head
from tests.tiny import CONFIG, classifier, trunk

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Ids = NDArray[np.int32]


def windows(*lengths: int, vocabulary: int = 37) -> list[Ids]:
    random = np.random.default_rng(5)
    return [random.integers(0, vocabulary, length).astype(np.int32) for length in lengths]


def pooled() -> GPT2Classifier:
    model = GPT2Classifier(add_mean_pooling(trunk()), 2)
    return model.requires_grad_(False).eval()


def warmed(model: GPT2Classifier, threads: int = 1) -> SmallBatches:
    small = SmallBatches()
    small.warm(model, threads)
    return small


def assert_equal_scores(small: SmallBatches, model: GPT2Classifier, some: list[Ids]) -> None:
    found = small.logits(model, some, 1)
    assert found is not None and found.dtype == np.float64
    plain = window_logits(model, some)
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-4)
    np.testing.assert_allclose(softmax(found), softmax(plain), rtol=0, atol=1e-5)


@pytest.mark.parametrize("lengths", [(1,), (23,), (7, 1, 23, 7, 2), (3,) * 40, (23,) * 11])
@pytest.mark.parametrize("mean", [True, False])
def test_scores_are_those_of_the_plain_path(lengths: tuple[int, ...], mean: bool) -> None:
    model = pooled() if mean else classifier(3)
    assert_equal_scores(warmed(model), model, windows(*lengths))


def test_a_wide_prepacked_trunk_has_the_same_scores() -> None:
    config = GPT2Config(vocab_size=90, n_positions=40, n_embd=512, n_layer=2, n_head=8)
    plain = GPT2(config)
    initialise(plain, torch.Generator().manual_seed(1))
    model = GPT2Classifier(prepacked_trunk(plain), 2).requires_grad_(False).eval()
    small = warmed(model, threads=2)

    def work() -> None:
        own_threads(1)  # a wide trunk has one graph, also for such callers
        assert_equal_scores(small, model, windows(9, 33, vocabulary=90))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def test_large_batches_are_left_to_torch_and_padding_is_cut_into_parts() -> None:
    model = pooled()
    small = warmed(model)
    assert small.logits(model, windows(*([16] * (MOST_TOKENS // 16)), 1), 1) is None
    assert_equal_scores(small, model, windows(*([16] * (MOST_TOKENS // 16))))
    mixed = windows(23, *([1] * 100))  # 2,323 tokens with padding
    assert_equal_scores(small, model, mixed)


def test_another_head_shares_the_graph() -> None:
    model = pooled()
    small = warmed(model)
    random = np.random.default_rng(2)
    other = with_head(model, LinearHead(random.normal(size=(4, CONFIG.n_embd)), np.arange(4.0)))
    assert_equal_scores(small, other, windows(4, 9))
    assert_equal_scores(small, model, windows(4, 9))


def test_another_trunk_is_left_to_torch() -> None:
    small = warmed(pooled())
    assert small.logits(pooled(), windows(4), 1) is None


def test_the_graph_is_made_at_the_call_from_which_it_pays() -> None:
    model, small = pooled(), SmallBatches()
    for _ in range(FROM_CALL - 1):
        assert small.logits(model, windows(4), 1) is None
        assert not small.ready
    assert_equal_scores(small, model, windows(4))
    assert small.ready


def test_copies_start_anew() -> None:
    small = warmed(pooled())
    for other in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        assert not other.ready
        assert other.logits(pooled(), windows(4), 1) is None


@pytest.mark.parametrize("fault", ["row type", "half tables", "size"])
def test_what_a_graph_cannot_hold_is_left_to_torch(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pooled()
    if fault == "row type":
        model.transformer.cast(torch.bfloat16)
    elif fault == "half tables":
        model.transformer.wte.to(torch.float16)
    else:
        monkeypatch.setattr(small_batches, "MOST_BYTES", 10)
    assert warmed(model).logits(model, windows(4), 1) is None


def test_threads_of_their_own_are_answered_at_the_same_time() -> None:
    model = pooled()
    small, some = warmed(model, threads=2), windows(5, 17, 23, 2)
    expected, found = window_logits(model, some), {}

    def work(number: int) -> None:
        own_threads(1)
        found[number] = [small.logits(model, some, 2) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for answers in found.values():
        for answer in answers:
            assert answer is not None
            np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-4)


def test_one_block_without_pooling() -> None:
    model = GPT2Classifier(trunk(replace(CONFIG, n_layer=1)), 2).requires_grad_(False).eval()
    assert_equal_scores(warmed(model), model, windows(1, 6, 20))
