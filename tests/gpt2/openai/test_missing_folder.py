"""`read_openai` with something else than a folder of OpenAI's says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tamis.errors import CheckpointError
from tamis.gpt2 import read_openai
from tamis.gpt2.hub import NAMED_BACKBONES
from tamis.gpt2.openai.missing_folder import SIZES

FIXTURE = Path(__file__).parents[2] / "fixtures" / "openai_tiny"


def message(path: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_openai(path)
    return str(caught.value)


def test_the_sizes_are_those_of_the_named_backbones() -> None:
    assert {name: named.openai for name, named in NAMED_BACKBONES.items() if named.openai} == SIZES


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("gpt2", "gpt2"),
        ("GPT2-Medium", "gpt2-medium"),
        ("openai-community/gpt2-xl", "gpt2-xl"),
        ("124M", "gpt2"),
        ("774m", "gpt2-large"),
        ("gpt2-355M", "gpt2-medium"),
    ],
)
def test_a_name_says_how_to_get_the_files(
    name: str, backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = message(name)
    assert said.startswith(f"{name}: expected a folder with OpenAI's files (hparams.json,")
    assert f'read_openai(fetch_backbone("{backbone}", source="openai"))' in said
    assert f"GPT-2 {SIZES[backbone]}" in said and f'load_backbone("{backbone}")' in said
    assert "pass the path of their folder" in said


@pytest.mark.parametrize("name", ["nano", "distilgpt2"])
def test_a_name_that_is_not_openais_names_load_backbone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = message(name)
    assert f'load_backbone("{name}")' in said and "fetch_backbone" not in said


def test_a_path_that_does_not_exist_is_no_name(tmp_path: Path) -> None:
    for path in (tmp_path / "gpt2", Path("models/124M"), Path("my-model")):
        assert "found no such folder. Check the path" in message(path)


def test_the_folder_above_names_the_folder_below(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE / "openai", tmp_path / "gpt2" / "124M")
    assert f"pass that folder: read_openai('{tmp_path}/gpt2/124M')" in message(tmp_path / "gpt2")
    assert read_openai(tmp_path / "gpt2" / "124M")[0]["n_layer"] > 0


def test_one_file_of_the_folder_names_the_folder() -> None:
    folder = FIXTURE / "openai"
    assert f"got a file; pass its folder, '{folder}'" in message(folder / "hparams.json")


def test_a_folder_of_hugging_face_names_load_backbone() -> None:
    folder = FIXTURE / "hugging_face"
    assert f"load_backbone('{folder}')" in message(folder)


def test_an_empty_folder_says_how_to_download(tmp_path: Path) -> None:
    assert 'read_openai(fetch_backbone("gpt2", source="openai"))' in message(tmp_path)
