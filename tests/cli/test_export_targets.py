"""`tamis export --to web` and `--to peft` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import runs
from tests.export import exported
from tests.export.web.conftest import NODE_MODULES, runtime


def test_a_run_becomes_a_page_with_weights_of_eight_bits(tmp_path: Path) -> None:
    runtime()
    out = tmp_path / "page"
    said = runs.tamis(
        "export",
        runs.finished_run(),
        "--to",
        "web",
        "--node-modules",
        NODE_MODULES,
        "-o",
        out,
        "--json",
    )
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert told["folder"] == str(out) and told["precision"]["type"] == "int8"
    assert told["files"]["index.html"] == (out / "index.html").stat().st_size
    assert "data/model.js" in told["files"] and "index.html in a browser" in said.err
    again = ("export", runs.finished_run(), "--to", "web", "--node-modules", NODE_MODULES)
    assert f"{out} exists; choose another folder" in runs.tamis(*again, "-o", out).error
    (out / "stray.txt").write_text("x")
    assert runs.tamis(*again, "-o", out, "--overwrite").code == 0
    assert not (out / "stray.txt").exists()


def test_without_texts_the_page_has_weights_of_32_bits(tmp_path: Path) -> None:
    runtime()
    arguments = ("--to", "web", "--node-modules", NODE_MODULES, "-o", tmp_path / "page")
    said = runs.tamis("export", runs.head_model(), *arguments)
    assert said.code == 0 and "pass a table with --data" in said.err
    assert "model.js" in said.out and "int8" not in said.out


def test_an_exported_folder_becomes_a_page_too(tmp_path: Path) -> None:
    runtime()
    arguments = ("--to", "web", "--node-modules", NODE_MODULES, "-o", tmp_path / "page", "--json")
    said = runs.tamis("export", exported.folder("mean"), *arguments)
    assert said.code == 0, said.err
    assert json.loads(said.out)["precision"]["type"] == "fp32"


def test_packages_are_looked_for_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    arguments = ("--to", "web", "--node-modules", tmp_path / "empty", "-o", tmp_path / "page")
    said = runs.tamis("export", runs.finished_run(), *arguments)
    assert "run: npm install onnxruntime-web@" in said.error
    assert not (tmp_path / "page").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    for target, what in (("web", "a web page"), ("peft", "an adapter")):
        arguments = ("--to", target, "-o", tmp_path / "mine", "--overwrite")
        said = runs.tamis("export", runs.finished_run(), *arguments)
        assert f"exists and is not {what}" in said.error
    assert (tmp_path / "mine" / "file").read_text() == "x"


def test_the_adapter_of_a_run_is_written(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="peft is not installed")
    options = ("--backbone", runs.pretrained(), "--tune", "lora:2", "--threads", "1")
    settings = ("--set", "train.epochs=1", "--set", "data.validation_share=0.3")
    runs.write_run(tmp_path / "run", *options, *settings)
    said = runs.tamis("export", tmp_path / "run", "--to", "peft")
    assert said.code == 0, said.err
    config = json.loads((tmp_path / "run-peft" / "adapter_config.json").read_text())
    assert config["r"] == 2 and "adapter_model.safetensors" in said.out


def test_a_run_without_adapters_says_how_to_train_one(tmp_path: Path) -> None:
    arguments = ("--to", "peft", "-o", tmp_path / "adapter")
    said = runs.tamis("export", runs.head_model(), *arguments)
    assert "only a model tuned with lora:R has an adapter" in said.error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--node-modules", "x"), "only --to web runs these packages"),
        (("--to", "peft", "--int8"), "an adapter of PEFT has neither"),
        (("--to", "peft", "--data", "x"), "only --int8 and --to web compare labels on texts"),
    ],
)
def test_options_of_another_target_are_refused(options: tuple[str, ...], said: str) -> None:
    found = runs.tamis("export", runs.head_model(), *options)
    assert found.code == 2 and said in " ".join(found.err.replace("│", " ").split())
