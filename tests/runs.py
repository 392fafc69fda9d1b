"""The command line called in this process or in one of its own, and runs trained once for all
tests, whichever of pytest's processes asks first.

A run here is `scratch:tiny` on the small rows, four epochs at a rate at which it learns them
whatever the seed or the processor: a second or two of work.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from tests.rows import messages

SETTINGS = ("train.epochs=4", "train.learning_rate=0.005", "data.validation_share=0.3")
EPOCH = ("--set", "train.epochs=1")
TINY = (
    "--backbone",
    "scratch:tiny",
    "--threads",
    "1",
    *(word for setting in SETTINGS for word in ("--set", setting)),
)
"""Three tenths are held out for the threshold: with the usual tenth these few rows would hold out
no spam."""


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The only line on stderr besides what a training has read and its plan; the test fails
        where there are more, or something on stdout.
        """
        lines = [line for line in self.err.splitlines() if not line.startswith(("Read ", "Plan: "))]
        assert self.code == 1 and self.out == "" and len(lines) == 1, self
        return lines[0].strip()


class Stdin(io.TextIOWrapper):
    """A standard input that holds some bytes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")


def tamis(*arguments: str | Path, stdin: bytes = b"") -> Said:
    """Call the command line in this process. No plots are drawn: they would cost more than
    everything else.
    """
    from tamis.cli import main

    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["tamis", *map(str, arguments)])
        patch.setattr(sys, "stdin", Stdin(stdin))
        if "train" in arguments:
            patch.setattr("tamis.workflows.results.write_all", lambda *positional, **named: {})
        try:
            main()
        except SystemExit as end:
            assert end.code is None or isinstance(end.code, int)
            code = end.code or 0
    return Said(code, out.getvalue(), err.getvalue())


def process(*arguments: str | Path, before: str = "", **options: Any) -> subprocess.Popen[bytes]:
    """The command line as a process of its own; `before` is Python that runs first."""
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    program = f"{before}\nfrom tamis.cli import main\nmain()"
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment,
        **{**pipes, **options},
    )


def folder() -> Path:
    """A folder that lives as long as the tests; all processes of one call of pytest share it."""
    return Path(os.environ["SHARED_BY_TESTS"])


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """What `make` writes at a place in the shared folder. The process that asks first makes it; the
    others wait.
    """
    path, made = folder() / name, folder() / f"{name}.made"
    with FileLock(folder() / f"{name}.lock"):
        if not made.exists():
            with own_cache():
                make(path)
            made.touch()
    return path


@contextlib.contextmanager
def own_cache() -> Iterator[None]:
    """A cache directory among the tests' files, for work done before a test's own is set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAMIS_CACHE", str(folder() / f"cache-{os.getpid()}"))
        yield


@cache
def table() -> Path:
    """The small rows as a file, as the SMS Spam Collection has them."""
    return made_once("messages.tsv", lambda path: write_table(path, messages()))


def write_table(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """Pairs of label and text as tab-separated lines."""
    path.write_text("".join(f"{label}\t{text}\n" for label, text in rows), encoding="utf-8")
    return path


@cache
def finished_run() -> Path:
    """A finished run; tests only read it (`copy_of` gives one to change)."""
    return made_once("run", lambda path: write_run(path, *TINY))


def write_run(path: Path, *options: str | Path) -> None:
    """`tamis train` on the small rows; the test fails where the training does."""
    said = tamis("train", table(), *options, "-o", path)
    assert said.code == 0, said.err


@cache
def head_model() -> Path:
    """A model folder whose head alone was fitted: the quickest to load and ask."""
    from tamis.classifier.text_classifier import TextClassifier

    labels, texts = zip(*messages(), strict=True)
    model = TextClassifier("scratch:tiny", "head", threads=1)
    return made_once("head", lambda path: model.fit(texts, labels).save(path))


def copy_of(source: Path, target: Path) -> Path:
    """A copy to be changed."""
    shutil.copytree(source, target)
    return target


def contents(path: Path) -> dict[str, bytes]:
    """Every file under a folder with its bytes."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def settings(**more: Any) -> dict[str, Any]:
    """The same settings for TextClassifier."""
    return {"train.epochs": 4, "train.learning_rate": 0.005, "data.validation_share": 0.3, **more}


@cache
def pretrained() -> Path:
    """A backbone as transformers writes one: GPT2LMHeadModel with 3 blocks of width 24 and a
    tokenizer of its own.
    """
    return made_once("pretrained", _write_pretrained)


def _write_pretrained(path: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from tamis.text.tokenizer import Tokenizer

    backend = Tokenizer.train([text for _, text in messages()], vocab_size=400).backend
    end = "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=end, eos_token=end, unk_token=end
    )
    config = GPT2Config(
        vocab_size=len(tokenizer) + 3,
        n_positions=96,
        n_embd=24,
        n_layer=3,
        n_head=2,
        initializer_range=0.2,
    )
    torch.manual_seed(3)
    GPT2LMHeadModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)


def scores_in_transformers(
    model_folder: Path, texts: Sequence[str], **tokenizer_options: Any
) -> np.ndarray:
    """(N, K) probabilities of each text alone, by AutoModelForSequenceClassification and
    AutoTokenizer.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForSequenceClassification.from_pretrained(model_folder).eval()
    with torch.no_grad():
        logits = [
            model(**tokenizer(text, return_tensors="pt", **tokenizer_options)).logits[0]
            for text in texts
        ]
    return torch.softmax(torch.stack(logits).double(), 1).numpy()
