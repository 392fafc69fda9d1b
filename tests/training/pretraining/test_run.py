"""A pretraining from files to a folder: what comes out loads everywhere, what is killed goes on,
what is wrong is told.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from tamis.cli.app import app
from tamis.compute import device
from tamis.errors import ConfigError, DataError, RunError
from tamis.files import locked
from tamis.gpt2.backbones import load_backbone
from tamis.gpt2.checkpoints import write_checkpoint
from tamis.gpt2.pooling import add_mean_pooling
from tamis.training.pretraining import checkpoint
from tamis.training.pretraining import run as module
from tamis.training.pretraining.loop import Pretraining
from tamis.training.pretraining.recipe import PretrainRecipe
from tamis.training.pretraining.result import BEGINNINGS
from tamis.training.pretraining.run import Inputs, pretrain
from tamis.training.pretraining.stages import pretrain_in_stages
from tamis.training.pretraining.teacher import TeacherStore
from tests import runs
from tests.training.pretraining import small

SHAPE = {
    "shape.vocab_size": 300,
    "shape.n_positions": 32,
    "shape.n_embd": 12,
    "shape.n_layer": 2,
    "shape.n_head": 3,
}


def recipe(**changes: Any) -> PretrainRecipe:
    base = {
        "schedule.tokens": 900,
        "schedule.batch_tokens": 60,
        "schedule.warmup_tokens": 60,
        "schedule.measure_every": 300,
    }
    return PretrainRecipe(name="little").changed(
        SHAPE | base | {"corpus.held_out_share": 0.1} | changes
    )


def corpus_file(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "words.txt"
    path.write_text("\n".join(small.texts()) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A teacher folder whose model is the one of hashes."""
    monkeypatch.setattr(module, "Teacher", lambda *_, **__: small.HashTeacher())
    monkeypatch.setattr(
        module, "TeacherStore", lambda teacher: TeacherStore(teacher, tmp_path / "vectors")
    )
    return tmp_path / "teacher"


def test_the_folder_is_a_backbone_and_loads_in_transformers(tmp_path: Path, taught: Path) -> None:
    transformers = pytest.importorskip("transformers")
    said: list[str] = []
    result = pretrain(
        Inputs([corpus_file(tmp_path)], teacher=taught, excluded=[small.texts()[4]]),
        tmp_path / "out",
        recipe(),
        say=said.append,
    )
    backbone = load_backbone(tmp_path / "out")
    other = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").float().eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    text = "free prize at the station 7"
    ids = tokenizer(text)["input_ids"]
    assert ids == backbone.tokenizer.prepared(add_bos=True).encode([text])[0].tolist()
    from tamis.gpt2.packing import pack

    with torch.no_grad():
        hidden = backbone.model(pack([np.array(ids)]))
        torch.testing.assert_close(
            backbone.model.next_token_logits(hidden),
            other(torch.tensor([ids])).logits[0],
            atol=1e-4,
            rtol=1e-4,
        )
    facts = json.loads((tmp_path / "out" / "pretraining.json").read_text(encoding="utf-8"))
    assert (
        facts["tokens"] >= 900
        and facts["held_out"] == result.figures
        and set(result.figures) == {"bits_per_byte", "by_source", "cosine"}
    )
    assert [row["tokens"] for row in facts["history"] if "held_out" in row][-1] == facts["tokens"]
    assert (
        facts["corpus"]["words.txt"]["excluded"] == 1 and "1 messages of excluded tables" in said[0]
    )
    assert len(facts["samples"]) == len(BEGINNINGS)
    assert "# little" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    encoder = pytest.importorskip("sentence_transformers").SentenceTransformer(
        str(tmp_path / "out"), device="cpu"
    )
    states = torch.nn.functional.layer_norm(hidden.mean(0), hidden.shape[1:])
    ours = (states / len(states) ** 0.5).numpy()
    np.testing.assert_allclose(encoder.encode(text), ours, atol=1e-5)


def test_without_a_teacher_it_is_a_language_model_only(tmp_path: Path) -> None:
    result = pretrain(Inputs([corpus_file(tmp_path)]), tmp_path / "out", recipe())
    assert "cosine" not in result.figures
    assert (
        result.figures["bits_per_byte"] < 8.3
    )  # 300 pieces over few bytes each: nothing known is near 9


def test_it_goes_on_from_a_backbone_and_leaves_its_tokenizer_alone(
    tmp_path: Path, taught: Path
) -> None:
    first = pretrain(Inputs([corpus_file(tmp_path)]), tmp_path / "first", recipe())
    second = pretrain(
        Inputs([corpus_file(tmp_path)], start=tmp_path / "first", teacher=taught),
        tmp_path / "second",
        recipe(),
    )
    names = [(tmp_path / folder / "tokenizer.json").read_bytes() for folder in ("first", "second")]
    assert names[0] == names[1]
    assert second.figures["bits_per_byte"] < first.figures["bits_per_byte"]
    assert second.facts["start"] == "first"
    (stage,) = second.facts["stages"]
    assert (stage["tokens"], stage["held_out"]) == (first.facts["tokens"], first.figures)
    card = (tmp_path / "second" / "README.md").read_text(encoding="utf-8")
    assert (
        f"{first.facts['tokens'] + second.facts['tokens']:,} tokens in 2 stages" in card
        and "Stage 1: " in card
    )
    assert str(tmp_path) not in card + (tmp_path / "second" / "pretraining.json").read_text(
        encoding="utf-8"
    )


def test_the_data_of_the_base_and_the_sets_kept_out_stand_on_the_card(tmp_path: Path) -> None:
    file = corpus_file(tmp_path)
    (tmp_path / "held.tsv").write_text(
        "".join(f"ham\t{text}\n" for text in small.texts()[:3]), encoding="utf-8"
    )
    short = {"schedule.tokens": 60}
    named = {"chats": {"file": "words.txt", "licence": "CC0", "upstream": "example.org/chats"}}
    pretrain(
        Inputs([file]),
        tmp_path / "base",
        recipe(**short, **{"corpus.sources": named}).changed({"name": "the-base"}),
    )
    options = [
        f"--set={name}={value}" for name, value in (short | {"corpus.held_out_share": 0.1}).items()
    ]
    command = [
        "pretrain",
        str(file),
        "--from",
        str(tmp_path / "base"),
        "-o",
        str(tmp_path / "adapted"),
        *options,
    ]
    result = CliRunner().invoke(app, [*command, "--exclude", str(tmp_path / "held.tsv")])
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "adapted" / "pretraining.json").read_text(encoding="utf-8"))
    card = (tmp_path / "adapted" / "README.md").read_text(encoding="utf-8")
    assert facts["before"] == [
        {
            "name": "the-base",
            "sources": {"chats": {"licence": "CC0", "upstream": "example.org/chats"}},
        }
    ]
    assert facts["excluded"] == {"held.tsv": 3} and "Given: held.tsv (3 messages)." in card
    assert (
        "Before that, as the-base, it was trained on:" in card
        and "| chats | CC0 | example.org/chats |" in card
    )
    assert "English" not in card and "It reproduces the biases of its sources." in card
    assert facts["recipe"]["shape"] == {
        "vocab_size": 300,
        "n_positions": 32,
        "n_embd": 12,
        "n_layer": 2,
        "n_head": 3,
    }
    pretrain(Inputs([file], start=tmp_path / "adapted"), tmp_path / "third", recipe(**short))
    third = json.loads((tmp_path / "third" / "pretraining.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in third["before"]] == ["the-base", "adapted"]
    (tmp_path / "base" / "pretraining.json").unlink()
    pretrain(Inputs([file], start=tmp_path / "base"), tmp_path / "fourth", recipe(**short))
    assert "It was initialized from base; see the card of that model" in (
        tmp_path / "fourth" / "README.md"
    ).read_text(encoding="utf-8")


def test_a_folder_for_classifiers_is_refused_as_a_start(tmp_path: Path) -> None:
    pretrain(Inputs([corpus_file(tmp_path)]), tmp_path / "first", recipe(**{"schedule.tokens": 60}))
    backbone = load_backbone(tmp_path / "first")
    write_checkpoint(tmp_path / "pooled", add_mean_pooling(backbone.model))
    backbone.tokenizer.save(tmp_path / "pooled", max_length=32)
    with pytest.raises(ConfigError, match="pooling block"):
        pretrain(
            Inputs([corpus_file(tmp_path)], start=tmp_path / "pooled"), tmp_path / "out", recipe()
        )


def test_what_cannot_be_learnt_is_told(tmp_path: Path) -> None:
    file = corpus_file(tmp_path)
    with pytest.raises(ConfigError, match="give --teacher"):
        pretrain(Inputs([file]), tmp_path / "a", recipe(**{"objective.lm_loss_weight": 0.0}))
    with pytest.raises(ConfigError, match="start = teacher needs a teacher"):
        pretrain(Inputs([file]), tmp_path / "b", recipe(**{"objective.start": "teacher"}))
    with pytest.raises(DataError, match="does not exist"):
        pretrain(Inputs([tmp_path / "none.txt"]), tmp_path / "c", recipe())
    (tmp_path / "empty.txt").write_text("\n!!\n", encoding="utf-8")
    with pytest.raises(DataError, match="no training text is left"):
        pretrain(Inputs([tmp_path / "empty.txt"]), tmp_path / "d", recipe())
    (tmp_path / "e" / "pretraining").mkdir(parents=True)
    with (
        locked(tmp_path / "e" / "pretraining" / "lock"),
        pytest.raises(RunError, match="another process"),
    ):
        pretrain(Inputs([file]), tmp_path / "e", recipe())


def files(folder: Path) -> dict[str, bytes]:
    """Every file's bytes, by its path in the folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("decay", [0.4, 0.0])
def test_a_finished_one_is_recognised_and_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decay: float
) -> None:
    wanted = recipe(**{"schedule.decay_share": decay})
    first = pretrain(Inputs([corpus_file(tmp_path)]), tmp_path / "out", wanted)
    assert first.facts["tokens"] > 900, "the last step overshoots"
    before = files(tmp_path / "out")
    monkeypatch.setattr(Pretraining, "train_step", lambda *_: pytest.fail("a step was taken"))
    said: list[str] = []
    again = pretrain(Inputs([tmp_path / "words.txt"]), tmp_path / "out", wanted, say=said.append)
    assert files(tmp_path / "out") == before and again == first
    assert any("is finished: " in sentence for sentence in said)
    for name in (checkpoint.LATEST, checkpoint.STABLE):
        (tmp_path / "out" / "pretraining" / name).unlink()
    assert pretrain(Inputs([tmp_path / "words.txt"]), tmp_path / "out", wanted) == first, (
        "known by its facts alone"
    )
    # A kill between the last state and the result leaves only the result to be written.
    for name in (checkpoint.LATEST, checkpoint.STABLE):
        (tmp_path / "out" / "pretraining" / name).write_bytes(before[f"pretraining/{name}"])
    for name in ("model.safetensors", "pretraining.json", "README.md"):
        (tmp_path / "out" / name).unlink()
    pretrain(Inputs([tmp_path / "words.txt"]), tmp_path / "out", wanted)
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize("with_state", [True, False])
def test_a_finished_one_is_not_overwritten_by_a_shorter_or_another_one(
    tmp_path: Path, with_state: bool
) -> None:
    file, out = corpus_file(tmp_path), tmp_path / "out"
    pretrain(Inputs([file]), out, recipe())
    if not with_state:
        for name in (checkpoint.LATEST, checkpoint.STABLE):
            (out / "pretraining" / name).unlink()
    before = files(out)
    for other in (
        recipe(**{"schedule.tokens": 400}),
        recipe(seed=3),
        recipe(**{"shape.n_layer": 1}),
    ):
        with pytest.raises(RunError, match=r"choose another folder"):
            pretrain(Inputs([file]), out, other)
        assert files(out) == before


def test_a_tokenizer_of_other_work_is_not_taken(tmp_path: Path) -> None:
    """As after a kill before the first state: only the tokenizer lies in the folder."""
    other = tmp_path / "other.txt"
    other.write_text(
        "\n".join(f"zebra quagga {text}" for text in small.texts(seed=9)), encoding="utf-8"
    )
    short = {"schedule.tokens": 120}
    fresh = [
        pretrain(
            Inputs([file]), tmp_path / f"fresh{i}", recipe(**short, **{"shape.vocab_size": size})
        )
        for i, (file, size) in enumerate([(other, 300), (corpus_file(tmp_path), 290)])
    ]
    for i, (file, size) in enumerate([(other, 300), (tmp_path / "words.txt", 290)]):
        pretrain(Inputs([tmp_path / "words.txt"]), tmp_path / f"out{i}", recipe(**short))
        for name in files(tmp_path / f"out{i}"):
            if "pretraining/tokenizer" not in name:
                (tmp_path / f"out{i}" / name).unlink()
        pretrain(
            Inputs([file]), tmp_path / f"out{i}", recipe(**short, **{"shape.vocab_size": size})
        )
        assert (tmp_path / f"out{i}" / "tokenizer.json").read_bytes() == (
            fresh[i].folder / "tokenizer.json"
        ).read_bytes()


def test_a_tokenizer_of_the_same_work_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain(Inputs([corpus_file(tmp_path)]), tmp_path / "out", recipe())
    before = files(tmp_path / "out")
    for name in before:
        if "pretraining/tokenizer" not in name:
            (tmp_path / "out" / name).unlink()
    monkeypatch.setattr(
        "tamis.text.tokenizer.Tokenizer.train",
        lambda *_, **__: pytest.fail("a tokenizer was trained"),
    )
    pretrain(Inputs([tmp_path / "words.txt"]), tmp_path / "out", recipe())
    assert files(tmp_path / "out")["model.safetensors"] == before["model.safetensors"]


def test_all_of_a_text_beyond_the_context_is_learnt_and_it_is_told(tmp_path: Path) -> None:
    file = tmp_path / "prose.txt"
    file.write_text(
        "\n".join(" ".join(small.texts(12, seed=seed)) for seed in range(8)) + "\n" + "q" * 3000,
        encoding="utf-8",
    )
    said: list[str] = []
    result = pretrain(
        Inputs([file]),
        tmp_path / "out",
        recipe(**{"schedule.tokens": None, "schedule.epochs": 1.0}),
        say=said.append,
    )
    tokenizer = load_backbone(tmp_path / "out").tokenizer
    lines = file.read_text(encoding="utf-8").splitlines()
    tokens = sum(len(ids) for ids in tokenizer.encode(lines)) * 8 / 9  # a line is held out
    assert result.facts["recipe"]["schedule"]["tokens"] > 0.8 * tokens
    assert result.facts["corpus"]["prose.txt"]["texts"] > 40
    assert any(
        "texts longer than the context of 32 tokens are cut: 8 texts are" in sentence
        for sentence in said
    )


def test_int8_is_no_type_to_learn_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = corpus_file(tmp_path)
    with pytest.raises(
        ConfigError, match=r"int8 is for scoring and for frozen weights.*use --dtype fp32 or bf16"
    ):
        pretrain(Inputs([file]), tmp_path / "out", recipe(**{"compute.dtype": "int8"}))
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(device, "int8_is_here", lambda: True)
    monkeypatch.setattr(
        device,
        "measure_matmul",
        lambda shapes, dtype, seconds, **_: {"fp32": 100.0, "bf16": 120.0, "int8": 900.0}[dtype],
    )
    result = pretrain(
        Inputs([file]), tmp_path / "out", recipe(**{"compute.dtype": "auto", "schedule.tokens": 60})
    )
    assert result.facts["machine"]["dtype"] == "bf16"


@pytest.mark.parametrize(
    "inside", ["notes.txt", "src/code.py", "pretraining/notes.txt", "model.safetensors"]
)
def test_a_folder_of_something_else_is_not_written_to(tmp_path: Path, inside: str) -> None:
    out = tmp_path / "mine"
    (out / inside).parent.mkdir(parents=True)
    (out / inside).write_text("mine", encoding="utf-8")
    for begin in (pretrain, pretrain_in_stages):
        with pytest.raises(
            RunError,
            match=r"mine exists and is not a pretraining; choose another folder with -o \(nothing "
            r"in it was touched\)",
        ):
            begin(Inputs([corpus_file(tmp_path)]), out, recipe())
    assert files(out) == {inside: b"mine"}
    with pytest.raises(RunError, match="exists and is not a pretraining"):
        pretrain(Inputs([corpus_file(tmp_path)]), tmp_path / "words.txt", recipe())


def test_an_empty_folder_is_written_to_and_a_refused_one_left_as_it_was(tmp_path: Path) -> None:
    for folder in ("new/inner", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match="does not exist"):
            pretrain(Inputs([tmp_path / "none.txt"]), tmp_path / folder, recipe())
        assert not (tmp_path / "new").exists() and not any((tmp_path / "empty").iterdir())
    pretrain(Inputs([corpus_file(tmp_path)]), tmp_path / "empty", recipe(**{"schedule.tokens": 60}))
    assert (tmp_path / "empty" / "pretraining.json").is_file()


def test_the_folder_of_the_start_is_not_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain(Inputs([corpus_file(tmp_path)]), tmp_path / "one", recipe(**{"schedule.tokens": 60}))
    before = files(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    for begin in (pretrain, pretrain_in_stages):
        with pytest.raises(
            ConfigError,
            match=r"--from one is the folder that the result is to be written to; choose another "
            r"with -o",
        ):
            begin(Inputs([tmp_path / "words.txt"], start="one"), tmp_path / "one", recipe())
    assert files(tmp_path / "one") == before


def test_a_teacher_of_whom_nothing_is_learnt_is_told_and_not_asked(
    tmp_path: Path, taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weightless = {
        "objective.teacher_weight": 0.0,
        "objective.similarity_weight": 0.0,
        "schedule.tokens": 60,
    }
    monkeypatch.setattr(small.HashTeacher, "embed", lambda *_: pytest.fail("a vector was computed"))
    said: list[str] = []
    result = pretrain(
        Inputs([corpus_file(tmp_path)], teacher=taught),
        tmp_path / "out",
        recipe(**weightless),
        say=said.append,
    )
    assert any(
        "is not used: objective.teacher_weight, similarity_weight and bank_weight are 0" in sentence
        for sentence in said
    )
    assert result.facts["teacher"] is None and "Teacher: none." in (
        tmp_path / "out" / "README.md"
    ).read_text(encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"give one of them a value, or leave objective\.start at auto"
    ):
        pretrain(
            Inputs([tmp_path / "words.txt"], teacher=taught),
            tmp_path / "b",
            recipe(**weightless, **{"objective.start": "teacher"}),
        )


def test_a_shape_by_hand_is_refused_beside_a_backbone(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app,
        [
            "pretrain",
            str(corpus_file(tmp_path)),
            "--from",
            "nano",
            "-o",
            str(tmp_path / "o"),
            "--set=shape.n_layer=2",
        ],
    )
    shown = " ".join(result.output.replace("│", " ").split())
    assert result.exit_code == 2
    assert "shape.n_layer: cannot be set together with --from" in shown
    assert not (tmp_path / "o").exists()


def test_a_longer_one_goes_on_from_a_finished_one(tmp_path: Path) -> None:
    file = corpus_file(tmp_path)
    pretrain(Inputs([file]), tmp_path / "out", recipe())
    longer = recipe(**{"schedule.tokens": 1500})
    pretrain(Inputs([file]), tmp_path / "out", longer)
    pretrain(Inputs([file]), tmp_path / "whole", longer)
    weights = [
        (tmp_path / folder / "model.safetensors").read_bytes() for folder in ("out", "whole")
    ]
    assert weights[0] == weights[1]


OPTIONS = [
    f"--set={name}={value}"
    for name, value in (SHAPE | {"schedule.batch_tokens": 60, "schedule.warmup_tokens": 60}).items()
]
ONE = os.environ | {"OMP_NUM_THREADS": "1", "TAMIS_OFFLINE": "1"}
SLOWED = """
import time
from tamis.training.pretraining import checkpoint
from tamis.training.pretraining.loop import Pretraining
checkpoint.EVERY_S = 0.0
step = Pretraining.train_step
Pretraining.train_step = lambda self, rows: (time.sleep(0.1), step(self, rows))[1]
"""
"""A state after every step, and steps slow enough for a signal to find one under way."""


def command(before: str = "") -> list[str]:
    return [sys.executable, "-c", f"{before}\nfrom tamis.cli import main\nmain()", "pretrain"]


def test_the_command_killed_in_the_middle_ends_with_the_same_weights(tmp_path: Path) -> None:
    file = corpus_file(tmp_path)
    long = [str(file), *OPTIONS, "--set=schedule.tokens=1500", "--threads=1", "--device=cpu"]
    process = subprocess.Popen(
        [*command(SLOWED), *long, "-o", str(tmp_path / "killed")],
        env=ONE | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while (
        not (tmp_path / "killed" / "pretraining" / "state.safetensors").is_file()
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    resumed = runs.tamis("pretrain", *long, "-o", tmp_path / "killed", "--json")
    assert resumed.code == 0 and "going on after" in resumed.err, resumed.err
    whole = runs.tamis("pretrain", *long, "-o", tmp_path / "whole")
    assert whole.code == 0, whole.err
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (
        tmp_path / "killed" / "model.safetensors"
    ).read_bytes()
    assert json.loads(resumed.out)["held_out"]["bits_per_byte"] > 0
    assert "bits per byte" in whole.out and "tamis train" in whole.out


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """torchrun's environment by hand; next token only, where the step is the same up to
    rounding.
    """
    file = corpus_file(tmp_path)
    options = [str(file), *OPTIONS, "--set=schedule.tokens=300", "--threads=1", "--device=cpu"]
    environment = ONE | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": _free_port(),
    }
    ranks = [
        subprocess.Popen(
            [*command(), *options, "-o", str(tmp_path / "two")],
            env=environment | {"RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], errors
    alone = runs.tamis("pretrain", *options, "-o", tmp_path / "one")
    assert alone.code == 0, alone.err
    one, two = (load_file(tmp_path / folder / "model.safetensors") for folder in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], atol=4e-3, rtol=0)


def _free_port() -> str:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def test_left_open_the_corpus_is_seen_three_times(tmp_path: Path) -> None:
    result = pretrain(
        Inputs([corpus_file(tmp_path)]),
        tmp_path / "out",
        recipe(**{"schedule.tokens": None, "corpus.held_out_share": 0.0}),
    )
    backbone = load_backbone(tmp_path / "out")
    once = sum(len(ids) for ids in backbone.tokenizer.prepared(add_bos=True).encode(small.texts()))
    assert result.facts["recipe"]["schedule"]["tokens"] == 3 * once
    assert 3 * once <= result.facts["tokens"] < 3 * once + 60
