"""PEFT adapters: scores equal peft's own, with its base named in every way that peft allows; what
cannot be merged is refused.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config as HFConfig
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel

from tamis import CheckpointError, TextClassifier
from tamis.gpt2.backbones import load_backbone
from tamis.gpt2.packing import pack
from tests import runs

peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing:FutureWarning",  # peft calls it, not tamis
    "ignore::UserWarning:peft",
)
TEXTS = ["win cash now", "see you at six", "free <b>prize</b>!", "k", "are you home yet?"]


def base(folder: Path, *, classes: int | None = 2, **changes: Any) -> Path:
    """A small GPT-2 of transformers with the tokenizer of a tiny backbone."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(runs.pretrained())
    settings: dict[str, Any] = {
        "n_positions": 64,
        "n_embd": 24,
        "n_layer": 2,
        "n_head": 3,
    } | changes
    if classes is not None:
        settings["num_labels"] = classes
    config = HFConfig(
        vocab_size=len(tokenizer),
        **settings,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    torch.manual_seed(1)
    kind = GPT2LMHeadModel if classes is None else GPT2ForSequenceClassification
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def adapted(folder: Path, of: Path, *, classes: int = 2, **settings: Any) -> Path:
    """An adapter of peft whose numbers are all far from their start."""
    model = GPT2ForSequenceClassification.from_pretrained(
        of, num_labels=classes, ignore_mismatched_sizes=True
    )
    given = {
        "r": 3,
        "lora_alpha": 5,
        "target_modules": ["c_attn", "c_fc", "c_proj"],
        "task_type": "SEQ_CLS",
        "fan_in_fan_out": True,
    } | settings
    model = peft.get_peft_model(model, peft.LoraConfig(**given))
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    return folder


def in_peft(folder: Path, of: Path, *, classes: int = 2) -> np.ndarray:
    from transformers import AutoTokenizer

    model = GPT2ForSequenceClassification.from_pretrained(
        of, num_labels=classes, ignore_mismatched_sizes=True
    )
    model = peft.PeftModel.from_pretrained(model, folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(of)
    with torch.no_grad():
        rows = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in TEXTS]
    return torch.stack(rows).softmax(-1).numpy()


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "head not saved": {"task_type": "FEATURE_EXTRACTION"},
    "rank-stabilized": {"use_rslora": True, "r": 4},
    "dora": {"use_dora": True},
    "all biases": {"bias": "all"},
    "biases of adapted layers": {"bias": "lora_only"},
    "patterns": {
        "rank_pattern": {"c_attn": 2, r"h\.1\.mlp\.c_fc": 5},
        "alpha_pattern": {r"h\.0\.attn\.c_attn": 11, "c_fc": 7},
    },
    "some layers": {"target_modules": ["c_attn"], "layers_to_transform": [1]},
    "embeddings": {"target_modules": ["c_attn", "wte"]},
    "dora on embeddings": {"use_dora": True, "target_modules": ["c_attn", "wte"]},
    "embeddings replaced": {"target_modules": ["c_attn"], "modules_to_save": ["wte", "score"]},
    "head adapted": {"target_modules": ["c_attn", "score"], "task_type": "FEATURE_EXTRACTION"},
    "bias of the product": {"lora_bias": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_scores_equal_pefts_own(kind: str, tmp_path: Path) -> None:
    below = base(tmp_path / "base")
    folder = adapted(tmp_path / "adapter", below, **KINDS[kind])
    found = TextClassifier.load(folder, threads=1)
    expected = in_peft(folder, below)
    before = TextClassifier.load(below, threads=1).predict_proba(TEXTS)
    assert np.abs(found.predict_proba(TEXTS) - expected).max() < 1e-5
    assert np.abs(before - expected).max() > 1e-3  # the adapter changes the scores at all


def test_a_new_head_on_a_language_model_gets_pefts_labels(tmp_path: Path) -> None:
    below = base(tmp_path / "base", classes=None)
    folder = adapted(tmp_path / "adapter", below, classes=3)
    found = TextClassifier.load(folder, threads=1)
    assert found.classes_.tolist() == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert np.abs(found.predict_proba(TEXTS) - in_peft(folder, below, classes=3)).max() < 1e-5


def test_a_saved_adapter_is_a_plain_model(tmp_path: Path) -> None:
    below = base(tmp_path / "base")
    folder = adapted(tmp_path / "adapter", below)
    first = TextClassifier.load(folder, threads=1)
    first.save(tmp_path / "merged")
    shutil.rmtree(below)
    again = TextClassifier.load(tmp_path / "merged", threads=1)
    assert np.array_equal(again.predict_proba(TEXTS), first.predict_proba(TEXTS))


def test_the_base_is_found_from_here_and_from_the_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = base(tmp_path / "base")
    folder = adapted(tmp_path / "adapter", below)
    expected = TextClassifier.load(folder, threads=1).predict_proba(TEXTS)
    settings = json.loads((folder / "adapter_config.json").read_text())
    for place, name in ((tmp_path, "base"), (folder.parent / "base", "../base")):
        monkeypatch.chdir(place)
        (folder / "adapter_config.json").write_text(
            json.dumps(settings | {"base_model_name_or_path": name})
        )
        assert np.array_equal(TextClassifier.load(folder, threads=1).predict_proba(TEXTS), expected)


def test_an_adapter_of_a_language_model_is_a_backbone_and_no_classifier(tmp_path: Path) -> None:
    below = base(tmp_path / "base", classes=None)
    model = GPT2LMHeadModel.from_pretrained(below)
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config)
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape))
    folder = tmp_path / "adapter"
    model.save_pretrained(folder)
    ids = np.arange(1, 20)
    trunk = load_backbone(folder).model.eval()
    with torch.no_grad():
        expected = model.eval().base_model.model.transformer(torch.tensor(ids)[None])
        torch.testing.assert_close(
            trunk(pack([ids])), expected.last_hidden_state[0], atol=1e-5, rtol=1e-5
        )
    with pytest.raises(CheckpointError, match="is a language model, not a classifier"):
        TextClassifier.load(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peft_type": "IA3"}, "expected peft_type 'LORA', got 'IA3'; merge it with PEFT"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights = 'pissa_niter_4' is not"),
        ({"layer_replication": [[0, 2]]}, "layer_replication is not supported"),
        ({"lora_alpha": "x"}, "lora_alpha: expected a number, got 'x'"),
        ({"alpha_pattern": [1]}, r"alpha_pattern: expected an object, got \[1\]"),
        ({"alpha_pattern": {"(": 3}}, r"'\(' is no regular expression"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path: expected the name or folder"),
        ({"base_model_name_or_path": "gone"}, "whose base 'gone' is neither a folder nor a name"),
        ({"base_model_name_or_path": "../adapter"}, "is an adapter itself"),
    ],
    ids=str,
)
def test_what_cannot_be_merged_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = adapted(tmp_path / "adapter", base(tmp_path / "base"))
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=words):
        TextClassifier.load(folder)


def test_another_base_and_unknown_tensors_are_refused(tmp_path: Path) -> None:
    below = base(tmp_path / "base")
    folder = adapted(tmp_path / "adapter", below)
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(
        tensors | {"base_model.model.transformer.wte.trainable_tokens_delta": torch.ones(2, 24)},
        folder / "adapter_model.safetensors",
    )
    with pytest.raises(CheckpointError, match=r"trainable_tokens_delta \(2, 24\) fits no weight"):
        TextClassifier.load(folder)
    save_file(tensors, folder / "adapter_model.safetensors")
    shutil.rmtree(below)
    base(below, n_embd=30)
    with pytest.raises(CheckpointError, match="fits no weight of the base"):
        TextClassifier.load(folder)


def test_a_pickled_adapter_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = adapted(tmp_path / "adapter", base(tmp_path / "base"))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"adapter_model\.bin is a pickle file"):
        TextClassifier.load(folder)
