"""A fit, a prediction and a load change nothing global, and a fitted classifier remembers no
text.
"""

from __future__ import annotations

import locale
import logging
import os
import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rich.style  # noqa: F401 - draws a random number when it is imported first
import sklearn
import torch

from tamis import TextClassifier
from tests import runs
from tests.rows import messages

TEXTS, LABELS = [text for _, text in messages()], [label for label, _ in messages()]
MARK = "zebra quartz meets the violet lighthouse keeper at half past nine"


def state() -> dict[str, Any]:
    """What a library call must leave as it is."""
    return {
        "python": random.getstate(),
        "numpy": [str(part) for part in np.random.get_state()],
        "torch": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warns": torch.get_deterministic_debug_mode(),
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "interop": torch.get_num_interop_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "environment": dict(os.environ),
        "filters": list(warnings.filters),
        "floats": np.geterr(),
        "log": (logging.getLogger().level, len(logging.getLogger().handlers)),
        "sklearn": sklearn.get_config(),
        "directory": os.getcwd(),
        "locale": locale.setlocale(locale.LC_ALL),
    }


@pytest.mark.parametrize("tune", ["head", "full", "blocks:1", "lora:2"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_fit_predict_and_load_change_nothing_global(tune: str, dtype: str, tmp_path: Path) -> None:
    settings = runs.settings() if tune != "head" else None
    # What libraries change when they are imported first is theirs.
    TextClassifier("scratch:tiny", "head", threads=1).fit(TEXTS, LABELS).partial_fit(["a"], ["ham"])
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    torch.set_num_threads(2)
    before = state()
    classifier = TextClassifier(
        "scratch:tiny", tune, threads=1, seed=9, settings=settings, dtype=dtype
    )
    classifier.fit(TEXTS, LABELS)
    assert state() == before
    classifier.predict_proba(TEXTS)
    classifier.predict(TEXTS[:3])
    classifier.verdicts(TEXTS[:3], ood=True)
    classifier.embed(TEXTS[:3])
    classifier.explain(TEXTS[0])
    classifier.transform(TEXTS[:3])
    classifier.score(TEXTS[:3], LABELS[:3])
    classifier.set_params(max_fpr=0.5).predict(TEXTS[:3])
    classifier.partial_fit(TEXTS[:2], LABELS[:2])
    assert state() == before
    classifier.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1, dtype=dtype)
    loaded.predict_proba(TEXTS[:5])
    loaded.set_params(positive="ham", threads=2).predict(TEXTS[:3])
    assert state() == before


def test_a_fit_that_fails_changes_nothing_global_either() -> None:
    torch.set_num_threads(2)
    before = state()
    settings = {**runs.settings(), "train.learning_rate": 1e30, "train.head_learning_rate": 1e30}
    with pytest.raises(ValueError, match="loss became"):
        TextClassifier("scratch:tiny", threads=1, seed=9, settings=settings).fit(TEXTS, LABELS)
    assert state() == before


def test_the_threads_that_were_asked_for_are_the_ones_that_compute() -> None:
    classifier = TextClassifier("scratch:tiny", "head", threads=2).fit(TEXTS, LABELS)
    seen: list[int] = []
    handle = classifier.predictor_.model.transformer.wte.register_forward_hook(
        lambda *_: seen.append(torch.get_num_threads())
    )
    with classifier.predictor_.computing():
        classifier.predictor_.model.transformer.wte(torch.zeros(1, dtype=torch.long))
    handle.remove()
    assert seen == [2] and torch.get_num_threads() == 1


@pytest.mark.parametrize("tune", ["head", "full"])
def test_a_pickled_classifier_holds_none_of_the_texts_it_was_fitted_on(tune: str) -> None:
    texts = [*TEXTS, MARK, "free prize " + MARK]
    settings = {"train.epochs": 1, "train.augment_positives": 1.0, "train.augment_negatives": 1.0}
    backbone = str(runs.pretrained())  # with a tokenizer that was not trained on these texts
    classifier = TextClassifier(backbone, tune, threads=1, settings=settings)
    classifier.fit(texts, [*LABELS, "ham", "spam"])
    classifier.predict_proba([MARK])
    content = pickle.dumps(classifier)
    for text in (MARK, *(text for text in TEXTS if len(text) > 30)):
        assert text.encode() not in content and text.encode("utf-16-le") not in content
    again = pickle.loads(content)
    assert again.training_.labelled_texts is None and len(again.suggest(TEXTS, 3)) == 3
    again.evaluate(TEXTS, LABELS)
    assert again.verdicts(TEXTS[:2], ood=True)[0].ood is None  # its limit was never asked for
    expected = classifier.predict_proba([MARK])
    np.testing.assert_allclose(again.predict_proba([MARK]), expected, atol=1e-6)


@pytest.mark.parametrize("tune", ["head", "full", "blocks:1"])
def test_a_prediction_is_the_same_whether_or_not_the_text_was_fitted(
    tune: str, tmp_path: Path
) -> None:
    settings = {**runs.settings(), "train.epochs": 1} if tune != "head" else None
    classifier = TextClassifier("scratch:tiny", tune, threads=1, settings=settings)
    classifier.fit(TEXTS, LABELS)
    classifier.save(tmp_path / "model")
    stranger = TextClassifier.load(tmp_path / "model", threads=1)  # has seen no text
    for some in (TEXTS, TEXTS[:1], [MARK, *TEXTS[:5]]):
        expected = stranger.predict_proba(some)
        np.testing.assert_allclose(classifier.predict_proba(some), expected, atol=1e-6)
