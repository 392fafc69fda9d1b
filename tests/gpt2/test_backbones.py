"""Backbones by folder and from scratch. Named ones: test_hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tamis.errors import CheckpointError, ConfigError
from tamis.gpt2.backbones import SCRATCH, is_scratch, load_backbone, names, scratch_backbone
from tamis.gpt2.packing import pack

FIXTURE = Path(__file__).parents[1] / "fixtures" / "openai_tiny"
TEXTS = ["hello the hello", "win £500 now!!", "naïve 🙂"]


def test_openais_folder_equals_its_hugging_face_twin() -> None:
    theirs, twin = load_backbone(FIXTURE / "openai"), load_backbone(str(FIXTURE / "hugging_face"))
    assert theirs.fingerprint == twin.fingerprint and theirs.pretrained and twin.pretrained
    assert theirs.tokenizer.fingerprint == twin.tokenizer.fingerprint
    ids = theirs.tokenizer.encode(["hello t", "the", "!"])
    assert ids[1].tolist() == twin.tokenizer.encode(["the"])[0].tolist()
    with torch.inference_mode():
        assert torch.equal(theirs.model(pack(ids)), twin.model(pack(ids)))
    assert theirs.model.config == twin.model.config


def test_every_weight_of_a_loaded_backbone_can_be_trained() -> None:
    model = load_backbone(FIXTURE / "openai").model
    assert all(p.requires_grad and not p.is_meta for p in model.parameters())
    model(pack(load_backbone(FIXTURE / "openai").tokenizer.encode(["hello"]))).sum().backward()


def test_a_vocabulary_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURE / "hugging_face", tmp_path / "mixed"))
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    (folder / "vocab.json").write_text(json.dumps(vocabulary | {"zz": 263}), "utf-8")
    with pytest.raises(
        CheckpointError,
        match="ids up to 263, but the model's vocabulary ends at 262; use files of the same model",
    ):
        load_backbone(folder)


def test_an_unknown_name_is_told_the_nearest_known_one() -> None:
    with pytest.raises(
        ConfigError,
        match=r"'gpt2-medum' is neither a folder nor a known name; .*did you mean 'gpt2-medium'\?",
    ):
        load_backbone("gpt2-medum")


def test_a_folder_wins_over_a_known_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FIXTURE / "hugging_face", tmp_path / "gpt2")
    monkeypatch.chdir(tmp_path)
    assert load_backbone("gpt2").model.config.n_embd == 12


def test_a_random_backbone_has_its_shape_and_a_tokenizer_of_the_rows() -> None:
    backbone = scratch_backbone("scratch:tiny", TEXTS * 9, seed=5)
    config, shape = backbone.model.config, SCRATCH["tiny"]
    assert (config.n_positions, config.n_embd, config.n_layer, config.n_head) == (64, 32, 2, 2)
    assert (
        config.vocab_size == backbone.tokenizer.size <= shape.vocab_size and not backbone.pretrained
    )


def test_the_seed_decides_a_random_backbone() -> None:
    once, again, other = (
        scratch_backbone("scratch:tiny", TEXTS * 9, seed=seed) for seed in (5, 5, 6)
    )
    assert once.fingerprint == again.fingerprint != other.fingerprint
    assert once.tokenizer.fingerprint == other.tokenizer.fingerprint


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"backbone 'scratch:tinny': expected one of scratch:small, scratch:nano, "
        r"scratch:tiny; did you mean 'scratch:tiny'\?",
    ):
        scratch_backbone("scratch:tinny", TEXTS, seed=1)


def test_the_names_are_those_that_are_taken() -> None:
    assert {
        "scratch:small",
        "scratch:tiny",
        "gpt2",
        "gpt2-medium",
        "gpt2-large",
        "gpt2-xl",
        "distilgpt2",
    } <= set(names())
    assert (
        is_scratch("scratch:small") and not is_scratch("gpt2") and not is_scratch(Path("scratch"))
    )
