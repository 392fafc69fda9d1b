"""`tamis inspect` and `tamis data`: shapes against transformers' own, counts against a recount,
parts there and back.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from tests import runs
from tests.rows import messages
from tests.runs import tamis


def found(*arguments: str | Path) -> dict[str, Any]:
    said = tamis(*arguments, "--json")
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_settings_params_and_configuration_of_a_folder_that_transformers_wrote() -> None:
    answer = found("inspect", runs.pretrained())
    config = json.loads((runs.pretrained() / "config.json").read_text(encoding="utf-8"))
    assert answer["settings"] == {
        "n_vocab": config["vocab_size"],
        "n_ctx": config["n_positions"],
        "n_embd": config["n_embd"],
        "n_head": config["n_head"],
        "n_layer": config["n_layer"],
    }
    assert (
        answer["config"]["emb_dim"] == 24
        and answer["config"]["n_heads"] == 2
        and answer["config"]["context_length"] == 96
    )
    assert len(answer["params"]["blocks"]) == 3
    block = answer["params"]["blocks"][0]
    # OpenAI's layout is transformers' own Conv1D: (in, out).
    with safe_open(runs.pretrained() / "model.safetensors", framework="pt") as file:
        for name, tree in (
            ("attn.c_attn", block["attn"]["c_attn"]),
            ("mlp.c_fc", block["mlp"]["c_fc"]),
        ):
            assert tree["w"] == list(file.get_slice(f"transformer.h.0.{name}.weight").get_shape())
        assert answer["params"]["wte"] == list(file.get_slice("transformer.wte.weight").get_shape())
        names = [key for key in file.keys() if not key.startswith("lm_head")]
        assert answer["parameters"] == sum(file.get_tensor(name).numel() for name in names)


def test_the_same_for_people() -> None:
    said = tamis("inspect", runs.pretrained())
    assert said.code == 0
    for words in (
        "n_vocab",
        "vocab_size",
        "context_length",
        "params",
        "blocks: list of 3, each",
        "fingerprint",
    ):
        assert words in said.out


def test_the_audit_has_the_promised_keys_and_right_counts() -> None:
    answer = found("data", runs.table(), "--backbone", "scratch:tiny")
    assert {"parts", "repeats", "leaks", "label_issues"} <= set(answer)
    parts = answer["parts"]
    assert set(parts) == {"train", "validation", "test"}
    for part in parts.values():
        assert {"rows", "classes", "batches", "tokens", "longest"} <= set(part)
        assert sum(part["classes"].values()) == part["rows"]
    assert parts["train"]["rows"] + parts["test"]["rows"] == 124
    counts = Counter(label for label, _ in messages())
    assert {
        label: parts["train"]["classes"][label] + parts["test"]["classes"][label]
        for label in counts
    } == counts


def test_the_counts_for_people_are_the_same() -> None:
    said = tamis("data", runs.table(), "--backbone", "scratch:tiny")
    assert said.code == 0 and "split leakfree" in said.out and "Repeats in the table" in said.out


def rows_of(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["label"], row["text"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("split", ["leakfree", "stratified", "tp2", "almeida", "none"])
def test_the_parts_come_back_from_out_unchanged_and_train_on_them_sees_the_same_rows(
    split: str, tmp_path: Path
) -> None:
    said = tamis(
        "data",
        runs.table(),
        "--backbone",
        "scratch:tiny",
        "--split",
        split,
        "--out",
        tmp_path / "parts",
        "--json",
    )
    assert said.code == 0, said.err
    parts = json.loads(said.out)["parts"]
    train, validation, test = (
        rows_of(tmp_path / "parts" / f"{name}.csv") for name in ("train", "validation", "test")
    )
    assert len(train) == parts["train"]["rows"] - parts["validation"]["rows"]
    assert (len(validation), len(test)) == (parts["validation"]["rows"], parts["test"]["rows"])
    if split != "tp2":  # which reads the file with pandas' quoting, and may so lose rows
        assert Counter(train + validation + test) == Counter(messages())
    assert all(row in messages() for row in test)


def test_a_part_can_be_read_as_data_again(tmp_path: Path) -> None:
    tamis("data", runs.table(), "--backbone", "scratch:tiny", "--out", tmp_path / "parts")
    answer = found(
        "data", tmp_path / "parts" / "train.csv", "--split", "none", "--backbone", "scratch:tiny"
    )
    assert answer["parts"]["train"]["rows"] == len(rows_of(tmp_path / "parts" / "train.csv"))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("a file", encoding="utf-8")
    error = tamis(
        "data", runs.table(), "--backbone", "scratch:tiny", "--out", tmp_path / "parts"
    ).error
    assert "parts" in error
