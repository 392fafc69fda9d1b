"""A saved mean-pooled model in half precision in transformers: finite for every text, and close to
its scores in fp32.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tamis import TextClassifier
from tamis.gpt2.model import MeanPoolingBlock
from tests import runs
from tests.rows import messages

TEXTS = ["", "k", "!!!!!!!!!", "a\0b", "🎂🎂🎂", *(text for _, text in messages()[:25])]


def saved(folder: Path, tune: str) -> Path:
    """A mean-pooled model whose final LayerNorm is as wide as that of a real backbone."""
    rows = messages()
    given = {"text.pooling": "mean", "train.epochs": 1, "data.validation_share": 0.3}
    classifier = TextClassifier(str(runs.pretrained()), tune, threads=1, settings=given)
    classifier.fit([text for _, text in rows], [label for label, _ in rows]).save(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("half") / "head", "head")


def in_transformers(folder: Path, dtype: torch.dtype, context: Any = None) -> np.ndarray:
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    with torch.no_grad(), context or contextlib.nullcontext():
        for text in TEXTS:
            encoded = tokenizer(text, return_tensors="pt", truncation=True)
            rows.append(model(**encoded).logits[0].float().softmax(-1))
    return torch.stack(rows).numpy()


@pytest.mark.parametrize(
    ("dtype", "autocast", "tolerance"),
    [
        (torch.float16, None, 0.005),
        (torch.float32, torch.float16, 0.005),
        (torch.bfloat16, None, 0.05),
        (torch.float32, torch.bfloat16, 0.05),
    ],
    ids=str,
)
def test_scores_in_half_precision_are_finite_and_close(
    model: Path, dtype: torch.dtype, autocast: torch.dtype | None, tolerance: float
) -> None:
    classifier = TextClassifier.load(model, threads=1)
    block = classifier.predictor_.model.transformer.h[-1]
    assert isinstance(block, MeanPoolingBlock)
    context = None if autocast is None else torch.autocast("cpu", dtype=autocast)
    found = in_transformers(model, dtype, context)
    assert np.isfinite(found).all()
    expected = classifier.predict_proba(TEXTS)
    short = [i for i, text in enumerate(TEXTS) if len(text) < 90]  # within the context
    assert np.abs(found - expected)[short].max() < tolerance
    assert expected[short, 1].std() > 1e-3


def test_with_the_former_factor_the_same_model_overflows(model: Path, tmp_path: Path) -> None:
    classifier = TextClassifier.load(model, threads=1)
    block = classifier.predictor_.model.transformer.h[-1]
    assert isinstance(block, MeanPoolingBlock) and block.factor < 2.0**15
    block.factor = 2.0**15
    classifier.save(tmp_path / "former")
    assert not np.isfinite(in_transformers(tmp_path / "former", torch.float16)).all()


@pytest.mark.slow
def test_a_trained_block_is_finite_too(tmp_path: Path) -> None:
    folder = saved(tmp_path / "blocks", "blocks:1")
    assert np.isfinite(in_transformers(folder, torch.float16)).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_in_fp16_is_finite_and_close(model: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    network = AutoModelForSequenceClassification.from_pretrained(
        model, dtype=torch.float16, attn_implementation="eager"
    )
    network.eval().requires_grad_(False)

    class Logits(torch.nn.Module):
        def forward(self, ids: Any, mask: Any, positions: Any) -> Any:
            return network(
                input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False
            ).logits

    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = tokenizer(TEXTS[-1], return_tensors="pt", truncation=True)["input_ids"]
    inputs = (ids, torch.ones_like(ids), torch.arange(ids.shape[1])[None])
    path = tmp_path / "model.onnx"
    names = ["ids", "mask", "positions"]
    torch.onnx.export(
        Logits(), inputs, str(path), input_names=names, opset_version=17, dynamo=False
    )
    session = onnxruntime.InferenceSession(str(path))
    known = {one.name for one in session.get_inputs()}
    feed = {name: one.numpy() for name, one in zip(names, inputs, strict=True) if name in known}
    (logits,) = session.run(None, feed)
    found = torch.tensor(logits[0].astype(np.float32)).softmax(-1).numpy()
    expected = TextClassifier.load(model, threads=1).predict_proba([TEXTS[-1]])[0]
    assert np.isfinite(logits).all() and np.abs(found - expected).max() < 0.005
