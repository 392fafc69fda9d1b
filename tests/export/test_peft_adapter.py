"""Adapters under the real PEFT: the logits of the saved model."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tamis import TextClassifier
from tamis.errors import CheckpointError, ConfigError, NotFittedError
from tamis.export.peft_adapter import adapter_of, export_peft
from tests import runs
from tests.rows import messages

peft = pytest.importorskip("peft", reason="peft is not installed")
# peft reads an attribute that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
ROWS = messages()
TEXTS, LABELS = [text for _, text in ROWS], [label for label, _ in ROWS]
SHORT = [text for text in TEXTS if len(text) < 90][:40]

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mean": ("lora:2", {"text.pooling": "mean"}),
    "last token": ("lora:4", {"text.pooling": "last_token"}),
    "attention": ("lora:3", {"text.pooling": "attention"}),
    "averaged with the start": ("lora:2", {"train.wise_ft": 0.5}),
}


@cache
def classifier(variant: str) -> TextClassifier:
    tune, settings = VARIANTS[variant]
    given = {"train.epochs": 1, "train.learning_rate": 0.01, "data.validation_share": 0.3}
    made = TextClassifier(str(runs.pretrained()), tune, threads=1, settings=given | settings)
    return made.fit(TEXTS, LABELS)


def loaded_by_peft(folder: Path) -> tuple[Any, Any]:
    """The model and the tokenizer, made by the program in README.md."""
    program = (folder / "README.md").read_text(encoding="utf-8").split("```python\n")[1]
    program = program.split("logits =")[0].replace(repr(folder.name), repr(str(folder)))
    names: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), names)
    return names["model"], names["tokenizer"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_peft_gives_the_same_logits(variant: str, tmp_path: Path) -> None:
    ours = classifier(variant)
    export_peft(ours, tmp_path / "adapter")
    model, tokenizer = loaded_by_peft(tmp_path / "adapter")
    with torch.no_grad():
        theirs = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in SHORT]
    probabilities = torch.softmax(torch.stack(theirs).double(), 1).numpy()
    assert np.abs(probabilities - ours.predict_proba(SHORT)).max() < 1e-5
    assert model.config.id2label == {0: "ham", 1: "spam"}
    assert probabilities[:, 1].std() > 1e-4


def test_the_adapter_matters(tmp_path: Path) -> None:
    export_peft(classifier("mean"), tmp_path / "adapter")
    model, tokenizer = loaded_by_peft(tmp_path / "adapter")
    row = tokenizer(SHORT[0], return_tensors="pt")
    with torch.no_grad():
        whole = model(**row).logits
        with model.disable_adapter():
            assert (model(**row).logits - whole).abs().max() > 1e-3


def test_a_loaded_run_has_the_same_adapter(tmp_path: Path) -> None:
    ours = classifier("mean")
    ours.save(tmp_path / "model")
    again = adapter_of(TextClassifier.load(tmp_path / "model", threads=1))
    for name, tensor in adapter_of(ours).tensors.items():
        assert torch.equal(tensor, again.tensors[name])


def test_the_rank_is_the_one_that_was_trained(tmp_path: Path) -> None:
    export_peft(classifier("last token"), tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (
        config["r"] == 4
        and config["use_rslora"]
        and config["modules_to_save"]
        == [
            "score",
            "ln_f",
        ]
    )
    assert peft.PeftConfig.from_pretrained(str(tmp_path / "adapter")).r == 4


def test_other_tunings_have_no_adapter(tmp_path: Path) -> None:
    head = TextClassifier.load(runs.head_model(), threads=1)
    with pytest.raises(ConfigError, match="tune = head: only a model tuned with lora:R"):
        export_peft(head, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_random_backbones_have_no_adapter(tmp_path: Path) -> None:
    settings = {"train.epochs": 1, "data.validation_share": 0.3}
    random = TextClassifier("scratch:tiny", "lora:2", threads=1, settings=settings)
    with pytest.raises(ConfigError, match="had random weights"):
        export_peft(random.fit(TEXTS, LABELS), tmp_path / "adapter")


@pytest.mark.parametrize("name", ["wte.weight", "h.0.mlp.c_fc.weight"])
def test_another_backbone_is_noticed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tamis.export import peft_adapter
    from tamis.gpt2.backbones import load_backbone

    other = load_backbone(str(runs.pretrained()))
    with torch.no_grad():
        dict(other.model.named_parameters())[name].add_(
            torch.randn(dict(other.model.named_parameters())[name].shape) / 10
        )
    monkeypatch.setattr(peft_adapter, "load_backbone", lambda name: other)
    with pytest.raises(CheckpointError, match="not the backbone that this model was trained from"):
        export_peft(classifier("mean"), tmp_path / "adapter")


def test_an_unfitted_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        export_peft(TextClassifier(tune="lora:2"), tmp_path / "adapter")
