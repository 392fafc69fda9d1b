"""OpenAI's checkpoint against its Hugging Face twin, bit for bit, and against transformers built
from that twin.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tamis.errors import CheckpointError, ConfigError
from tamis.gpt2.openai.checkpoint import (
    from_state_dict,
    is_openai_folder,
    model_config,
    read_openai,
    settings_from_config,
    to_state_dict,
)

FIXTURE = Path(__file__).parents[2] / "fixtures" / "openai_tiny"
SETTINGS = {"n_vocab": 263, "n_ctx": 11, "n_embd": 12, "n_head": 3, "n_layer": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE / "openai", tmp_path / "openai"))


@pytest.fixture(scope="module")
def twin() -> dict[str, np.ndarray]:
    return load_file(FIXTURE / "hugging_face" / "model.safetensors")


def edit_settings(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "hparams.json").read_text()) | changes
    kept = {key: value for key, value in content.items() if value is not None}
    (folder / "hparams.json").write_text(json.dumps(kept))


def test_the_tensors_are_those_of_the_twin_bit_for_bit(twin: dict[str, np.ndarray]) -> None:
    state = to_state_dict(*read_openai(FIXTURE / "openai"))
    assert {f"transformer.{name}" for name in state} == set(twin)
    for name, array in state.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, twin[f"transformer.{name}"], strict=True)


def test_transformers_computes_the_same_from_our_state_dict_as_from_the_twin() -> None:
    from transformers import GPT2LMHeadModel

    expected = GPT2LMHeadModel.from_pretrained(FIXTURE / "hugging_face").eval()
    ours = GPT2LMHeadModel(expected.config).eval()
    state = to_state_dict(*read_openai(FIXTURE / "openai"))
    ours.transformer.load_state_dict(
        {name: torch.from_numpy(array) for name, array in state.items()}
    )
    ids = torch.tensor([[262, 5, 77, 131, 258, 9, 260]])
    with torch.no_grad():
        logits = expected(ids).logits
        assert torch.equal(ours(ids).logits, logits)
    assert logits.std() > 0.1


def test_params_are_nested_as_in_the_book(twin: dict[str, np.ndarray]) -> None:
    settings, params = read_openai(str(FIXTURE / "openai"))
    assert settings == SETTINGS and list(settings) == list(SETTINGS)
    assert set(params) == {"blocks", "b", "g", "wpe", "wte"}
    assert params["wte"].shape == (263, 12) and params["wpe"].shape == (11, 12)
    assert params["g"].shape == params["b"].shape == (12,)
    assert len(params["blocks"]) == 2
    for layer, block in enumerate(params["blocks"]):
        assert set(block) == {"attn", "ln_1", "ln_2", "mlp"}
        assert set(block["attn"]) == {"c_attn", "c_proj"} and set(block["mlp"]) == {
            "c_fc",
            "c_proj",
        }
        assert block["attn"]["c_attn"]["w"].shape == (12, 36) and block["mlp"]["c_proj"][
            "w"
        ].shape == (48, 12)
        assert set(block["ln_1"]) == {"g", "b"} and set(block["attn"]["c_proj"]) == {"w", "b"}
        np.testing.assert_array_equal(
            block["ln_2"]["g"], twin[f"transformer.h.{layer}.ln_2.weight"]
        )


def test_model_config_has_the_references_keys_and_leads_back() -> None:
    config = model_config(SETTINGS)
    assert config == {
        "vocab_size": 263,
        "emb_dim": 12,
        "context_length": 11,
        "n_layers": 2,
        "n_heads": 3,
        "dropout": 0.0,
    }
    assert settings_from_config(config) == SETTINGS
    with pytest.raises(ConfigError, match=r"missing \['n_head'\]"):
        model_config({key: value for key, value in SETTINGS.items() if key != "n_head"})
    with pytest.raises(ConfigError, match=r"missing \['emb_dim'\]"):
        settings_from_config({key: value for key, value in config.items() if key != "emb_dim"})


def test_from_state_dict_is_the_way_back_from_any_gpt2(twin: dict[str, np.ndarray]) -> None:
    extra: dict[str, Any] = {
        "lm_head.weight": twin["transformer.wte.weight"],
        "score.weight": np.zeros((2, 12), np.float32),
        "transformer.h.0.attn.bias": np.ones((1, 1, 11, 11), np.float32),
        "transformer.h.0.attn.masked_bias": np.float32(-1e4),
    }
    settings, params = from_state_dict(twin | extra, n_head=3)
    assert settings == SETTINGS
    again = to_state_dict(settings, params)
    assert list(again) == list(to_state_dict(*read_openai(FIXTURE / "openai")))
    assert all(
        np.array_equal(again[name.removeprefix("transformer.")], array)
        for name, array in twin.items()
    )


def test_a_state_dict_that_does_not_fit_is_listed(twin: dict[str, np.ndarray]) -> None:
    with pytest.raises(CheckpointError, match=r"found no matrix \['wte.weight'\]"):
        from_state_dict({"wpe.weight": twin["transformer.wpe.weight"]}, n_head=3)
    broken = dict(twin)
    del broken["transformer.h.1.ln_2.bias"]
    broken["transformer.odd"] = np.zeros(3, np.float32)
    broken["transformer.ln_f.weight"] = np.zeros(13, np.float32)
    with pytest.raises(CheckpointError) as caught:
        from_state_dict(broken, n_head=3)
    assert str(caught.value) == (
        "state dict: 3 tensors do not match: missing h.1.ln_2.bias [12]; unexpected odd [3]; "
        "ln_f.weight is [13], expected [12]"
    )


def test_params_that_do_not_fit_the_settings_are_listed() -> None:
    settings, params = read_openai(FIXTURE / "openai")
    with pytest.raises(CheckpointError, match=r"model/wpe is \[11, 12\], expected \[7, 12\]"):
        to_state_dict(settings | {"n_ctx": 7}, params)
    del params["blocks"][1]["mlp"]["c_fc"]["b"]
    with pytest.raises(CheckpointError, match=r"missing model/h1/mlp/c_fc/b \[48\]"):
        to_state_dict(settings, params)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_layer": 3}, r"12 tensors do not match: missing model/h2/ln_1/g \[12\]"),
        ({"n_layer": 1}, r"12 tensors do not match: unexpected model/h1/"),
        (
            {"n_ctx": 13, "n_vocab": 5},
            r"2 tensors do not match: model/wte is \[263, 12\], expected \[5, 12\]; model/wpe",
        ),
        (
            {"n_head": None, "n_ctx": None},
            r"hparams.json: expected the keys .* missing \['n_ctx', 'n_head'\]",
        ),
        ({"n_head": 5}, "n_embd 12 is not a multiple of n_head 5"),
        (
            {"n_head": "3", "n_ctx": 0},
            r"expected whole numbers of at least 1, got \{'n_ctx': 0, 'n_head': '3'\}",
        ),
    ],
)
def test_settings_that_do_not_fit_the_weights_are_refused(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    edit_settings(folder, **changes)
    with pytest.raises(CheckpointError, match=words):
        read_openai(folder)


@pytest.mark.parametrize(
    "name", ["hparams.json", "checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001"]
)
def test_a_missing_or_garbled_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\xff\xfe nonsense")
    with pytest.raises(CheckpointError, match=name):
        read_openai(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        read_openai(folder)


def test_the_file_checkpoint_names_the_prefix_whatever_folder_it_was_written_in(
    folder: Path,
) -> None:
    for suffix in ("index", "data-00000-of-00001"):
        (folder / f"model.ckpt.{suffix}").rename(folder / f"model-500.{suffix}")
    (folder / "checkpoint").write_text('model_checkpoint_path: "/home/someone/run1/model-500"\n')
    assert read_openai(folder)[0] == SETTINGS
    (folder / "checkpoint").write_text("all_model_checkpoint_paths: 3\n")
    with pytest.raises(CheckpointError, match="expected a line model_checkpoint_path"):
        read_openai(folder)


def test_a_flipped_byte_of_the_weights_is_noticed(folder: Path) -> None:
    path = folder / "model.ckpt.data-00000-of-00001"
    good = path.read_bytes()
    for place in range(0, len(good), 997):
        bad = bytearray(good)
        bad[place] ^= 1
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match="tensor model/"):
            read_openai(folder)


def test_openais_folder_is_told_from_hugging_faces(folder: Path) -> None:
    assert is_openai_folder(folder) and not is_openai_folder(FIXTURE / "hugging_face")
    assert not is_openai_folder(folder / "absent")
    (folder / "checkpoint").unlink()
    assert is_openai_folder(folder)  # incomplete, so that reading it can say what is missing
