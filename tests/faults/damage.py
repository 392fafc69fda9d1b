"""Damages a file in many seeded ways and reads it each time, in a process that may take only so
much more memory. Run by tests/faults/test_damaged_files.py in a fork.

Allowed is that the file is read, as not every altered byte can be noticed, and that an error of
tamis is raised. Everything else is printed: another error, or a process that dies.
"""

from __future__ import annotations

import random
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from tamis.errors import TamisError

ROOM_BYTES = 1 << 30
"""Memory that reading a damaged file may take, over what the process has."""


def _model(folder: Path) -> None:
    from tamis.classifier.text_classifier import TextClassifier

    TextClassifier.load(folder / "model", threads=1).predict(["hello"])


def _rows(folder: Path) -> None:
    from tamis.classifier.training_features import read_training_rows

    read_training_rows(folder)


def _keys(folder: Path) -> None:
    from tamis.classifier.training_features import labelled_keys

    labelled_keys(folder)


def _recipe(folder: Path) -> None:
    from tamis.config import read_recipe

    read_recipe(folder / "recipe.toml")


def _judged(folder: Path) -> None:
    from tamis.workflows.compare import compare_runs

    compare_runs([folder, folder])


def _texts(folder: Path) -> None:
    from tamis.workflows.export import ExportRequest, texts_to_compare

    texts_to_compare(folder, ExportRequest(None, int8=True))


def _store(folder: Path) -> None:
    from tamis.feedback.loading import FeedbackChoice, load_with_feedback

    load_with_feedback(folder, FeedbackChoice(), threads=1)


def _learn(folder: Path) -> None:
    from tamis.cli.app import main

    sys.argv = ["tamis", "learn", str(folder)]
    try:
        main()
    except SystemExit as end:
        assert end.code in (0, 1), end.code


def _states(folder: Path) -> None:
    import numpy as np

    from tamis.gpt2.feature_cache import open_array

    array = open_array(folder / "states.npy", (50, 16), "r")
    assert array is None or np.asarray(array).shape == (50, 16)


def _onnx(folder: Path) -> None:
    from tamis.export.onnx_classifier import OnnxClassifier

    OnnxClassifier.load(folder / "onnx", threads=1).predict(["hello"])


def _openai(folder: Path) -> None:
    from tamis.gpt2.openai.checkpoint import read_openai

    read_openai(folder / "openai")


READERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "model weights": ("model/model.safetensors", _model),
    "config": ("model/config.json", _model),
    "tokenizer": ("model/tokenizer.json", _model),
    "tokenizer settings": ("model/tokenizer_config.json", _model),
    "description": ("model/tamis.json", _model),
    "training rows": ("features.safetensors", _rows),
    "recipe": ("recipe.toml", _recipe),
    "predictions, compared": ("predictions.jsonl", _judged),
    "predictions, exported": ("predictions.jsonl", _texts),
    "predictions, suggested": ("predictions.jsonl", _keys),
    "report": ("report.json", _judged),
    "store, predicting": ("../run.feedback.sqlite", _store),
    "store, learning": ("../run.feedback.sqlite", _learn),
    "cached features": ("states.npy", _states),
    "onnx": ("onnx/model.onnx", _onnx),
    "onnx description": ("onnx/tamis.json", _onnx),
    "openai index": ("openai/model.ckpt.index", _openai),
    "openai data": ("openai/model.ckpt.data-00000-of-00001", _openai),
    "openai settings": ("openai/hparams.json", _openai),
}
"""What is damaged in a run folder, and how it is read."""


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return the content, damaged in a random way: cut off, bits flipped, bytes exchanged for
    others, a piece zeroed, removed or repeated; in one of two cases near the beginning, where the
    headers are.
    """
    found = bytearray(content)
    reach = min(len(found), 400) if chance.random() < 0.5 else len(found)
    begin = chance.randrange(max(reach, 1))
    end = min(len(found), begin + chance.choice((1, 2, 9, 200)))
    kind = chance.randrange(7)
    if kind == 0:
        del found[begin:]
    elif kind == 1:
        for _ in range(chance.choice((1, 1, 5))):
            found[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    elif kind == 2:
        found[begin:end] = chance.randbytes(end - begin)
    elif kind == 3:
        found[begin:end] = bytes(end - begin)
    elif kind == 4:
        del found[begin:end]
    elif kind == 5:
        found[begin:begin] = found[begin:end]
    else:  # a number is another number, a letter another letter: still well-formed
        places = [place for place in range(reach) if chr(found[place]).isdigit()]
        for place in chance.sample(places, min(len(places), chance.choice((1, 3)))):
            found[place] = ord(chance.choice("0123456789-.e"))
    return bytes(found)


def main(name: str, folder: Path, count: int) -> None:
    """Damage a file `count` times, and print what goes wrong."""
    import torch  # noqa: F401  its libraries are no part of what a file may take

    place, read = READERS[name]
    path = folder / place
    content, chance = path.read_bytes(), random.Random(name)
    read(folder)  # as it is, and what is imported
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, used + ROOM_BYTES))
    noticed = 0
    for number in range(count):
        other = damaged(content, chance)
        path.write_bytes(other)
        print(f"number {number}", file=sys.stderr, flush=True)  # what a crash was at
        try:
            read(folder)
        except TamisError:
            noticed += 1
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            print(
                f"{name} {number}: {type(error).__name__}: {error} ({last.filename}:{last.lineno})"
            )
    path.write_bytes(content)
    print(f"noticed {noticed} of {count}", file=sys.stderr)
