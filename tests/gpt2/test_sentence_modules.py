"""Saved models and backbones under SentenceTransformer: the same vectors as tamis's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tamis.gpt2
from tamis import TextClassifier
from tamis.gpt2.backbones import load_backbone
from tamis.gpt2.model import GPT2, GPT2Config, initialise
from tamis.gpt2.packing import pack
from tamis.gpt2.sentence_modules import MODULES, write_last_token_modules, write_mean_modules
from tamis.training.pretraining.losses import pooled
from tests import runs
from tests.rows import messages

pytest.importorskip("sentence_transformers", reason="the extra teacher is not installed")

ROWS = messages()
TEXTS, LABELS = [text for _, text in ROWS], [label for label, _ in ROWS]
SHORT = [text for text in TEXTS if len(text) < 90][:40]
ODD = ["k", "<|endoftext|>", "ｆｕｌｌ width <|endoftext|> 🎂", "a\0b", "  two  spaces ", "e\u0301"]
NANO = Path(tamis.gpt2.__file__).parent / "embedded" / "nano"

VARIANTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "full": ("scratch:tiny", "full", {}),
    "full, last token": ("scratch:tiny", "full", {"text.pooling": "last_token"}),
    "head": ("pretrained", "head", {}),
    "head, last token, nfkc": (
        "pretrained",
        "head",
        {"text.pooling": "last_token", "text.normalize": "nfkc"},
    ),
    "head, robust": ("pretrained", "head", {"text.normalize": "robust"}),
    "head, without a first token": ("pretrained", "head", {"text.add_bos": False}),
    "blocks": ("pretrained", "blocks:1", {}),
    "nano, fewer blocks": ("nano", "head", {"text.layers": 2}),
}


def encoded(folder: Path, texts: list[str]) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    assert model[0].model.dtype == torch.float32
    return np.asarray(model.encode(texts, batch_size=7))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_model_gives_the_vectors_of_embed(variant: str, tmp_path: Path) -> None:
    backbone, tune, settings = VARIANTS[variant]
    name = str(runs.pretrained()) if backbone == "pretrained" else backbone
    given = {"train.epochs": 1, "data.validation_share": 0.3, **settings}
    classifier = TextClassifier(name, tune, threads=1, settings=given).fit(TEXTS, LABELS)
    classifier.save(tmp_path / "model")
    texts = [*SHORT, *ODD]
    ours, theirs = classifier.embed(texts), encoded(tmp_path / "model", texts)
    assert np.abs(ours - theirs).max() < 1e-5
    assert np.abs(np.linalg.norm(theirs, axis=1) - 1).max() < 0.02
    assert np.abs(ours[0] - ours[1]).max() > 1e-3  # texts differ, so the comparison means something


def test_a_text_longer_than_the_context_is_truncated_to_it(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(runs.head_model()), device="cpu")
    context = TextClassifier.load(runs.head_model(), threads=1).predictor_.encoder.context
    assert model.max_seq_length == context
    ids = model.tokenize(["word " * 500])["input_ids"]
    assert ids.shape == (1, context) and ids[0, 0] == model.tokenizer.bos_token_id


def test_a_fixed_length_without_padding_is_the_longest_there(tmp_path: Path) -> None:
    settings = {
        "text.padding": "fixed:12",
        "text.pooling": "last_token",
        "train.head_solver": "adamw",
    }
    classifier = TextClassifier(str(runs.pretrained()), "head", threads=1, settings=settings)
    classifier.fit(TEXTS, LABELS).save(tmp_path / "model")
    assert np.abs(classifier.embed(TEXTS) - encoded(tmp_path / "model", TEXTS)).max() < 1e-5


def test_a_model_that_reads_padding_has_no_modules(tmp_path: Path) -> None:
    padded = {
        "text.padding": "fixed:30",
        "text.pooling": "last_position",
        "text.add_bos": False,
        "train.head_solver": "adamw",
    }
    classifier = TextClassifier(str(runs.pretrained()), "head", threads=1, settings=padded)
    classifier.fit(TEXTS, LABELS).save(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert MODULES not in names and "sentence_bert_config.json" not in names


def trunk(weight: dict[int, float], bias: dict[int, float]) -> GPT2:
    """A random trunk whose ln_f has some given weights."""
    model = GPT2(GPT2Config(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    initialise(model, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for place, value in weight.items():
            model.ln_f.weight[place] = value
        for place, value in bias.items():
            model.ln_f.bias[place] = value
    return model


@pytest.mark.parametrize(
    ("weight", "bias"),
    [({}, {}), ({2: 0.0}, {2: 1.0}), ({0: 3.0, 4: -0.5, 5: 1e-6}, {0: 2.0, 1: -1.0, 5: 7.0})],
)
def test_the_final_norm_is_undone(
    weight: dict[int, float], bias: dict[int, float], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    model = trunk(weight, bias)
    assert write_last_token_modules(tmp_path, model, max_length=8)
    dense = load_file(tmp_path / "2_Dense" / "model.safetensors")
    rows = torch.randn(5, 6, generator=torch.Generator().manual_seed(2)) * 9 + 4
    undone = model.normed(rows) @ dense["linear.weight"].T + dense["linear.bias"]
    plain = torch.nn.functional.layer_norm(rows, (6,)) / 6**0.5
    assert (undone - plain).abs().max() < 1e-6


def test_a_norm_that_deletes_two_channels_cannot_be_undone(tmp_path: Path) -> None:
    assert not write_last_token_modules(tmp_path, trunk({1: 0.0, 3: 0.0}, {1: 1.0}), max_length=8)
    assert list(tmp_path.iterdir()) == []


def test_nano_gives_its_pooled_state_in_fp32() -> None:
    backbone = load_backbone("nano")
    texts = [*SHORT, *ODD]
    ids = backbone.tokenizer.prepared(add_bos=True).encode(texts)
    with torch.inference_mode():
        packed = pack(ids)
        states = packed.restore(pooled(backbone.model.eval()(packed), packed))
    ours = (states / states.shape[1] ** 0.5).numpy()
    theirs = encoded(NANO, texts)
    advice = (
        'write its modules again: python -c "from tamis.gpt2 import sentence_modules as m, '
        "checkpoints as c; f = '.../embedded/nano'; m.write_mean_modules(f, "
        'c.read_checkpoint(f).config, begins=True)"'
    )
    assert np.abs(ours - theirs).max() < 1e-5, advice
    settings = {"text.layers": backbone.model.config.n_layer, "text.pooling": "mean"}
    head = TextClassifier("nano", "head", threads=1, settings=settings).fit(TEXTS, LABELS)
    # The LayerNorm of sentence-transformers adds 1e-5 to a variance of about 1e-3, so its vectors
    # are a little shorter than one; the direction is the head's.
    lengths = np.linalg.norm(theirs, axis=1)
    assert lengths.min() > 0.99 and lengths.max() < 1.00001
    assert ((head.embed(texts) * theirs).sum(1) / lengths).min() > 0.999


def test_a_backbone_whose_vocabulary_has_no_end_of_text_gets_no_first_token(
    tmp_path: Path,
) -> None:
    config = GPT2Config(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2)
    write_mean_modules(tmp_path, config, begins=False)
    told = json.loads((tmp_path / "sentence_bert_config.json").read_text(encoding="utf-8"))
    assert told["tokenizer_args"] == {} and told["max_seq_length"] == 8
    assert told["model_args"] == {"torch_dtype": "float32"}


def test_sentence_transformers_saves_what_it_loaded(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(runs.head_model()), device="cpu").save(str(tmp_path / "copy"))
    ours = TextClassifier.load(runs.head_model(), threads=1).embed(SHORT)
    assert np.abs(encoded(tmp_path / "copy", SHORT) - ours).max() < 1e-5
