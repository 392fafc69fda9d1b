"""A trained model on disk: transformers' files, which alone determine every score, and `tamis.json`
with the decision rule and further facts.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from tamis.decision.verdict import DecisionRule
from tamis.errors import CheckpointError, RunError
from tamis.files import sha256, write_text
from tamis.gpt2.checkpoints import (
    WEIGHTS,
    build,
    fingerprint,
    read_checkpoint,
    read_json,
    write_checkpoint,
)
from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.sentence_modules import write_last_token_modules
from tamis.text.tokenizer import Tokenizer

META = "tamis.json"
FORMAT = 1
LABEL_TYPES: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: text == "True",
}
"""Types that labels may have, and how each comes back from its text."""
NO_PAD = -1
"""`pad_token_id` of a model that reads the last position of a padded row: no id is padding to
it."""


@dataclass(frozen=True)
class SavedModel:
    """A classifier with everything needed to use it."""

    model: GPT2Classifier
    tokenizer: Tokenizer
    labels: list[str]
    rule: DecisionRule = field(default_factory=DecisionRule)
    label_type: str = "str"
    """Type of the labels given to fit: `str`, `int`, `float` or `bool`."""
    about: dict[str, Any] = field(default_factory=dict)
    """Recipe, temperature, data fingerprint, figures, versions: for people, no score depends on
    them."""


def save_model(folder: Path | str, saved: SavedModel, *, card: str | None = None) -> None:
    """Write a model folder atomically: to a temporary folder first, which is then renamed. An
    existing folder is replaced.
    """
    folder = Path(folder)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        config = saved.model.transformer.config
        end = saved.tokenizer.end_of_text
        fixed = saved.tokenizer.backend.padding is not None
        extra = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": NO_PAD if fixed else end}
        write_checkpoint(beside, saved.model, labels=saved.labels, extra=extra)
        saved.tokenizer.save(beside, max_length=config.n_positions)
        if not fixed:  # sentence-transformers pads no text to a fixed length
            cut = saved.tokenizer.backend.truncation
            limit = cut["max_length"] if cut else config.n_positions
            write_last_token_modules(beside, saved.model.transformer, max_length=limit)
        files = ("config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json")
        meta = {
            "format": FORMAT,
            "labels": saved.labels,
            "label_type": saved.label_type,
            "rule": asdict(saved.rule),
            **saved.about,
            "files": {name: sha256(beside / name) for name in files},
        }
        write_text(beside / META, json.dumps(meta, indent=2, ensure_ascii=False) + "\n")
        if card is not None:
            write_text(beside / "README.md", card)
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        if folder.exists():
            folder.rename(old)
        beside.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def find_model(run: Path | str) -> Path:
    """Return the model folder of a run folder, or the folder itself.

    Raises:
        RunError: there is no such folder, or its training is not finished.
        CheckpointError: the folder contains no model.
    """
    run = Path(run)
    if not run.is_dir():
        raise RunError(
            f"{run} does not exist; expected a run folder or a model folder (train one with: "
            f"tamis train DATA -o {run})"
        )
    if (run / "model" / "config.json").is_file():
        return run / "model"
    if (run / "config.json").is_file():
        return run
    if (run / "recipe.toml").is_file():
        raise RunError(
            f"{run} contains an unfinished training; repeat the same tamis train command to "
            "resume it"
        )
    raise CheckpointError(f"{run} contains no model: expected model/config.json or config.json")


def load_model(run: Path | str) -> SavedModel:
    """Load a run folder, a model folder, or a folder of transformers for GPT-2 sequence
    classification.

    Raises:
        RunError, CheckpointError: as `find_model`; also if files are missing, were changed or do
            not match.
    """
    folder = find_model(run)
    meta = read_json(folder / META) if (folder / META).is_file() else None
    if meta is not None:
        _check_files(folder, meta)
    checkpoint = read_checkpoint(folder)
    if checkpoint.score is None:
        raise CheckpointError(
            f"{folder} is a language model, not a classifier: {WEIGHTS} has no score.weight; "
            "train it with tamis train"
        )
    labels = _labels(folder, checkpoint.raw, len(checkpoint.score))
    with torch.random.fork_rng(devices=[]):  # a new head is drawn, and replaced
        model = GPT2Classifier(build(checkpoint.config, checkpoint.state), len(labels))
    model.score.weight = torch.nn.Parameter(checkpoint.score)
    tokenizer = Tokenizer.from_folder(folder)
    if tokenizer.size > checkpoint.config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has ids up to {tokenizer.size - 1}, the model's "
            "vocabulary ends at "
            f"{checkpoint.config.vocab_size - 1}; the files belong to different models"
        )
    if meta is None:
        return SavedModel(model.eval(), tokenizer.without_padding(), labels)
    if meta.get("labels") != labels:
        raise CheckpointError(
            f"{folder}: labels in {META} {meta.get('labels')} and config.json {labels} differ; "
            "save the model again"
        )
    rest = {
        k: v
        for k, v in meta.items()
        if k not in ("format", "labels", "label_type", "rule", "files")
    }
    label_type = meta.get("label_type", "str")
    if label_type not in LABEL_TYPES:
        known = ", ".join(LABEL_TYPES)
        raise CheckpointError(
            f"{folder / META}: label_type must be one of {known}, got {label_type!r}; save the "
            "model again"
        )
    return SavedModel(
        model.eval(), tokenizer, labels, _rule(folder, meta.get("rule", {})), label_type, rest
    )


def weights_hash(model: GPT2Classifier) -> str:
    """Return a hash of all weights as fp32, head included."""
    state = {name: t.detach().cpu().float() for name, t in model.state_dict().items()}
    return fingerprint(model.transformer.config, state)


def _rule(folder: Path, values: Any) -> DecisionRule:
    try:
        return DecisionRule(**values)
    except TypeError:
        known = ", ".join(field.name for field in fields(DecisionRule))
        raise CheckpointError(
            f"{folder / META}: rule must be an object with {known}, got {values!r:.60}; save "
            "the model again"
        ) from None


def _labels(folder: Path, raw: dict[str, Any], classes: int) -> list[str]:
    names = {int(k): str(v) for k, v in raw.get("id2label", {}).items()}
    if sorted(names) == list(range(classes)):
        return [names[i] for i in range(classes)]
    if names:
        raise CheckpointError(
            f"{folder / 'config.json'}: id2label names {len(names)} classes, score.weight has "
            f"{classes}"
        )
    return [f"LABEL_{i}" for i in range(classes)]


def _check_files(folder: Path, meta: dict[str, Any]) -> None:
    if meta.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder / META}: expected format {FORMAT}, got {meta.get('format')!r}; a newer "
            "tamis wrote it, upgrade"
        )
    files = meta.get("files", {})
    if not isinstance(files, dict):
        raise CheckpointError(
            f"{folder / META}: files must be an object of names and SHA-256, got {files!r:.60}; "
            "save the model again"
        )
    for name, expected in files.items():
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing; copy the whole model folder again")
        if sha256(folder / name) != expected:
            raise CheckpointError(
                f"{folder / name} was truncated or altered after it was saved (its SHA-256 is "
                f"not the one in {META}); copy it again, "
                f"or delete {META} to use the files as they are, with arg-max verdicts"
            )
