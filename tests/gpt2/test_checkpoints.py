"""Folders in the Hugging Face layout: read, written, and refused in words where something is
wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from tamis.errors import CheckpointError
from tamis.gpt2 import checkpoints
from tamis.gpt2.checkpoints import (
    build,
    fingerprint,
    read_checkpoint,
    read_config,
    write_checkpoint,
)
from tamis.gpt2.model import GPT2, GPT2Classifier, GPT2Config, initialise
from tamis.gpt2.pooling import add_mean_pooling

CONFIG = GPT2Config(
    vocab_size=31,
    n_positions=13,
    n_embd=14,
    n_layer=2,
    n_head=7,
    n_inner=22,
    layer_norm_epsilon=3e-6,
)


def trunk(seed: int = 1) -> GPT2:
    model = GPT2(CONFIG)
    generator = torch.Generator().manual_seed(seed)
    initialise(model, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "model", trunk())
    return tmp_path / "model"


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    raw = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in raw.items() if value != "absent"}))


def edit_weights(folder: Path, **changes: Tensor | None) -> None:
    tensors: dict[str, Tensor | None] = {**load_file(folder / "model.safetensors")}
    tensors |= {name.replace("__", "."): tensor for name, tensor in changes.items()}
    save_file(
        {name: t for name, t in tensors.items() if t is not None}, folder / "model.safetensors"
    )


def test_what_is_written_is_read_back_bit_for_bit(folder: Path) -> None:
    model, checkpoint = trunk(), read_checkpoint(folder)
    assert checkpoint.config == CONFIG and checkpoint.score is None
    state = model.state_dict()
    assert checkpoint.state.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(checkpoint.state[name], tensor), name
    for name, tensor in build(CONFIG, checkpoint.state).state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_writing_what_was_read_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(folder)
    write_checkpoint(tmp_path / "again", build(checkpoint.config, checkpoint.state))
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_classifier_keeps_head_labels_and_extra_keys(tmp_path: Path) -> None:
    model = GPT2Classifier(add_mean_pooling(trunk()), 3)
    write_checkpoint(tmp_path, model, labels=["ham", "späm", "<other>"], extra={"pad_token_id": 5})
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.score is not None and torch.equal(checkpoint.score, model.score.weight)
    assert (
        checkpoint.raw["id2label"] == {"0": "ham", "1": "späm", "2": "<other>"}
        and checkpoint.raw["pad_token_id"] == 5
    )
    assert checkpoint.config.n_layer == 3 and checkpoint.raw["architectures"] == [
        "GPT2ForSequenceClassification"
    ]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_files_are_read_as_fp32(dtype: torch.dtype, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, trunk(), dtype=dtype)
    assert load_file(tmp_path / "model.safetensors")["transformer.wte.weight"].dtype == dtype
    state = read_checkpoint(tmp_path).state
    for name, tensor in trunk().state_dict().items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], tensor.to(dtype).float()), name


def test_a_truncated_file_is_reported(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for size in (0, 5, 300, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(
            CheckpointError,
            match=r"model\.safetensors is truncated, altered or not safetensors .*; download or "
            r"save it again",
        ):
            read_checkpoint(folder)


@given(st.binary(max_size=300))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_reported(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError):
        read_checkpoint(folder)


def test_missing_unexpected_and_mismatched_weights_are_listed_together(folder: Path) -> None:
    edit_weights(
        folder,
        transformer__ln_f__bias=None,
        transformer__h__1__mlp__c_fc__weight=torch.zeros(14, 21),
        transformer__h__2__ln_1__bias=torch.zeros(14),
    )
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(folder)
    for words in (
        "missing ln_f.bias (14,)",
        "unexpected h.2.ln_1.bias (14,)",
        "h.1.mlp.c_fc.weight: expected (22, 14), got (21, 14)",
        "use files of the same model",
        str(folder),
    ):
        assert words in str(error.value)


def test_a_long_list_of_problems_is_cut_short(folder: Path) -> None:
    edit(folder, n_layer=3)
    with pytest.raises(
        CheckpointError, match="and 6 more"
    ):  # a block has twelve weights, six are shown
        read_checkpoint(folder)


def test_a_head_of_another_width_is_reported(folder: Path) -> None:
    edit_weights(folder, score__weight=torch.zeros(2, 15))
    with pytest.raises(
        CheckpointError, match=r"score\.weight: expected shape \(classes, 14\), got \(2, 15\)"
    ):
        read_checkpoint(folder)


def test_heads_and_masks_that_are_not_used_are_passed_over(folder: Path) -> None:
    before = read_checkpoint(folder).fingerprint
    edit_weights(
        folder,
        lm_head__weight=torch.zeros(31, 14),
        transformer__h__0__attn__bias=torch.ones(1, 1, 13, 13, dtype=torch.bool),
        transformer__h__1__attn__masked_bias=torch.tensor(-1e4),
    )
    assert read_checkpoint(folder).fingerprint == before


def test_a_pickle_is_never_read(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"not looked at")
    with pytest.raises(
        CheckpointError,
        match=r"pytorch_model\.bin is a pickle file, which tamis does not read; "
        r".*safe_serialization=True",
    ):
        read_checkpoint(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(
        CheckpointError,
        match=r"model\.safetensors is missing; download or save the weights as safetensors",
    ):
        read_checkpoint(folder)


def test_sharded_weights_are_put_together(folder: Path) -> None:
    whole = read_checkpoint(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    where = {name: shards[place % 3] for place, name in enumerate(sorted(tensors))}
    for shard in shards:
        save_file({name: tensors[name] for name in tensors if where[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": where})
    )
    assert read_checkpoint(folder).fingerprint == whole.fingerprint
    (folder / shards[1]).unlink()
    with pytest.raises(
        CheckpointError,
        match=r"model-00002-of-00003\.safetensors is missing, .*index\.json names it",
    ):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "index",
    [
        {},
        {"weight_map": []},
        {"weight_map": {"a": 3}},
        {"weight_map": {"a": "../other/model.safetensors"}},
    ],
)
def test_a_damaged_index_is_reported(folder: Path, index: dict[str, Any]) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(
        CheckpointError,
        match=r"index\.json: weight_map: expected a file in the same folder for every weight",
    ):
        read_checkpoint(folder)


def test_a_folder_that_is_none_is_reported(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"nowhere is not a folder; expected a folder with config\.json"
    ):
        read_checkpoint(tmp_path / "nowhere")
    with pytest.raises(
        CheckpointError,
        match=r"config\.json is missing; a GPT-2 folder in the Hugging Face layout needs it",
    ):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "expected a JSON object, got list"),
        ("\xff", "JSON"),
    ],
)
def test_a_damaged_config_is_reported(folder: Path, content: str, words: str) -> None:
    (folder / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(folder)


def test_an_old_config_with_n_ctx_alone_is_understood(folder: Path) -> None:
    edit(folder, n_positions="absent", n_ctx=13, n_inner="absent")
    assert read_config(folder)[0] == GPT2Config(**{**CONFIG.__dict__, "n_inner": None})
    edit(folder, n_inner=22)
    assert read_checkpoint(folder).config == CONFIG


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "bert"}, "expected model_type 'gpt2', got 'bert'"),
        (
            {"activation_function": "mish"},
            "activation_function: expected one of .*got 'mish'; other variants are not supported",
        ),
        ({"activation_function": None}, "activation_function: expected one of .*got None"),
        ({"scale_attn_weights": "no"}, "scale_attn_weights: expected true or false, got 'no'"),
        ({"add_cross_attention": True}, "add_cross_attention: expected false, got true"),
        ({"n_head": 4}, r"n_embd \(14\) must be a multiple of n_head \(4\)"),
        ({"n_layer": 0}, "n_layer: expected a whole number of at least 1, got 0"),
        ({"n_embd": "14"}, "n_embd"),
        ({"n_embd": 14.5}, "n_embd"),
        ({"vocab_size": None}, "vocab_size"),
        ({"n_inner": -2}, "n_inner"),
        ({"layer_norm_epsilon": "small"}, "layer_norm_epsilon"),
    ],
    ids=str,
)
def test_what_is_not_computed_here_is_refused(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=r"config\.json: .*" + words):
        read_checkpoint(folder)


def test_the_fingerprint_is_of_the_numbers_whatever_file_holds_them(
    folder: Path, tmp_path: Path
) -> None:
    mark = read_checkpoint(folder).fingerprint
    tensors = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("transformer."): t.clone() for name, t in reversed(tensors.items())}
    save_file(bare, folder / "model.safetensors", metadata={"format": "pt", "more": "x" * 100})
    edit(folder, architectures=["GPT2Model"], resid_pdrop=0.3)
    assert read_checkpoint(folder).fingerprint == mark == fingerprint(CONFIG, trunk().state_dict())
    # Written and read again through a classifier: the head is not part of it.
    write_checkpoint(tmp_path / "other", GPT2Classifier(trunk(), 5))
    assert read_checkpoint(tmp_path / "other").fingerprint == mark


def test_one_weight_changed_changes_the_fingerprint(folder: Path) -> None:
    checkpoint = read_checkpoint(folder)
    for name in ("wpe.weight", "h.1.ln_2.bias"):
        state = dict(checkpoint.state)
        state[name] = state[name].clone()
        state[name].view(-1)[-1] += 1e-6
        assert fingerprint(CONFIG, state) != checkpoint.fingerprint
    assert (
        fingerprint(GPT2Config(**{**CONFIG.__dict__, "n_head": 2}), checkpoint.state)
        != checkpoint.fingerprint
    )


def test_a_model_is_read_without_hashing_what_nobody_asks_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = read_checkpoint(folder).fingerprint
    hashed: list[GPT2Config] = []

    def counted(config: GPT2Config, state: dict[str, torch.Tensor]) -> str:
        hashed.append(config)
        return fingerprint(config, state)

    monkeypatch.setattr(checkpoints, "fingerprint", counted)
    checkpoint = read_checkpoint(folder)
    assert not hashed
    assert checkpoint.fingerprint == checkpoint.fingerprint == mark and hashed == [CONFIG]
