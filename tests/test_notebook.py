"""docs/notebooks/tp2.ipynb: its code runs on small data, and no output of a machine stays in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from tamis.gpt2.backbones import scratch_backbone
from tamis.gpt2.checkpoints import write_checkpoint

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "tp2.ipynb"
OPENAI = Path(__file__).parent / "fixtures" / "openai_tiny" / "openai"
SETTINGS = {"n_vocab", "n_ctx", "n_embd", "n_head", "n_layer"}


def cells(kind: str) -> list[str]:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def test_the_notebook_has_the_ten_questions_and_no_outputs() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["metadata"]["language_info"]) == (4, {"name": "python"})
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    titles = [text.splitlines()[0] for text in cells("markdown")]
    assert [f"## Question {n}:" in " ".join(titles) for n in range(1, 11)] == [True] * 10


def run(sources: list[str], changes: dict[str, str]) -> dict[str, Any]:
    """Run cells one after the other, each of `changes` made once; gives their variables."""
    names: dict[str, Any] = {}
    for number, source in enumerate(sources):
        for old in [old for old in changes if old in source]:
            source = source.replace(old, changes.pop(old))
        exec(compile(source, f"code cell {number} of {NOTEBOOK.name}", "exec"), names)
    assert not changes, f"not in the notebook: {changes}"
    return names


@pytest.fixture(autouse=True)
def no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))


def test_the_code_of_the_notebook_runs_on_small_data(
    sms_file: Path, sms_rows: list[tuple[str, str]], tmp_path: Path
) -> None:
    tiny = scratch_backbone("scratch:tiny", [text for _, text in sms_rows], seed=1)
    write_checkpoint(tmp_path / "tiny", tiny.model)
    tiny.tokenizer.save(tmp_path / "tiny", max_length=tiny.model.config.n_positions)
    changes = {
        'BACKBONE = "nano"': f"BACKBONE = {str(tmp_path / 'tiny')!r}",
        'DATA = "sms-spam"': f"DATA = {str(sms_file)!r}",
        "LENGTH, BATCH = 120, 16": "LENGTH, BATCH = 48, 16",
    }
    names = run(cells("code"), changes)
    assert set(names["settings"]) == SETTINGS
    width, words = names["settings"]["n_embd"], names["settings"]["n_vocab"]
    assert (names["before"], names["after"]) == ((width, words), (width, 2))
    assert names["trainable"] == [
        "transformer.ln_f.weight",
        "transformer.ln_f.bias",
        "score.weight",
    ]
    assert len(names["steps"]) == names["batches"] == -(-len(names["train_texts"]) // 16)
    assert list(names["results"]) == ["reference", *names["CHANGES"]]
    assert all(0 <= v <= 1 for found in names["results"].values() for v in found.values())


def test_the_notebook_reads_the_files_of_openai() -> None:
    code = cells("code")
    until = next(n for n, source in enumerate(code) if "model_config" in source)
    changes = {"OPENAI_FOLDER = None": f"OPENAI_FOLDER = {str(OPENAI)!r}"}
    names = run(code[: until + 1], changes)
    assert set(names["settings"]) == SETTINGS
    assert sorted(names["params"]) == ["b", "blocks", "g", "wpe", "wte"]
