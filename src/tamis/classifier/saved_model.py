"""A trained model on disk: transformers' files, which alone determine every score, and `tamis.json`
with the decision rule and further facts.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from tamis.classifier.model_folder import LABEL_TYPES, META, find_model
from tamis.classifier.saved_head import MULTI_LABEL, SavedHead, labels_of, saved_head
from tamis.decision.verdict import DecisionRule
from tamis.errors import CheckpointError
from tamis.files import replaced_folder, sha256, write_text
from tamis.gpt2.checkpoint_heads import describe_head
from tamis.gpt2.checkpoints import (
    Checkpoint,
    build,
    fingerprint,
    write_checkpoint,
)
from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.pretrained import read_pretrained
from tamis.gpt2.sentence_modules import write_last_token_modules
from tamis.gpt2.tensor_files import WEIGHTS, read_json
from tamis.text.tokenizer import Tokenizer

FORMAT = 1
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

    def classes(self) -> list[Any]:
        """Return the labels in the type that `fit` was given.

        Raises:
            ValueError: a label cannot be converted.
        """
        convert = LABEL_TYPES[self.label_type]
        return [convert(label) for label in self.labels]


def save_model(folder: Path | str, saved: SavedModel, *, card: str | None = None) -> None:
    """Write a model folder atomically: to a temporary folder first, which is then renamed. An
    existing folder is replaced.
    """
    with replaced_folder(Path(folder)) as beside:
        config = saved.model.transformer.config
        end = saved.tokenizer.end_of_text
        fixed = saved.tokenizer.backend.padding is not None
        dropped = saved.tokenizer.dropped
        padding = NO_PAD if fixed else end if dropped is None else dropped
        extra: dict[str, Any] = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": padding}
        if saved.rule.multi_label:
            extra["problem_type"] = MULTI_LABEL
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
    checkpoint = read_pretrained(folder)
    if checkpoint.score is None:
        raise CheckpointError(
            f"{folder} is {describe_head(checkpoint.raw, checkpoint.heads)}: it has no "
            f"score.weight; train it with tamis train DATA --backbone {folder}"
        )
    path = checkpoint.folder / "config.json"
    head = (
        saved_head(path, checkpoint.raw, checkpoint.score)
        if meta is None
        else SavedHead(
            labels_of(path, checkpoint.raw, len(checkpoint.score)),
            checkpoint.score,
            _rule(folder, meta.get("rule", {})),
        )
    )
    labels = head.labels
    if (fault := head.rule.fault([str(label) for label in labels])) is not None:
        raise CheckpointError(f"{folder / META}: {fault}; save the model again")
    with torch.random.fork_rng(devices=[]):  # a new head is drawn, and replaced
        model = GPT2Classifier(build(checkpoint.config, checkpoint.state), len(labels))
    model.score.weight = torch.nn.Parameter(head.score)
    tokenizer = _tokenizer(checkpoint)
    if meta is None:
        return SavedModel(model.eval(), tokenizer.without_padding(), labels, head.rule)
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
    return SavedModel(model.eval(), tokenizer, labels, head.rule, label_type, rest)


def _tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """Return the tokenizer of a folder, reading special tokens and padding as transformers does.

    Raises:
        CheckpointError: its ids go beyond the embedding, or the id of the padding is no id.
    """
    size, padding = checkpoint.config.vocab_size, checkpoint.raw.get("pad_token_id")
    tokenizer = Tokenizer.from_folder(checkpoint.tokenizer_folder, as_saved=True).within(size)
    if tokenizer.size > size:
        raise CheckpointError(
            f"{checkpoint.tokenizer_folder}: the tokenizer has ids up to {tokenizer.size - 1}, the "
            f"model's vocabulary ends at {size - 1}; the files belong to different models"
        )
    if padding is not None and type(padding) is not int:
        raise CheckpointError(
            f"{checkpoint.folder / 'config.json'}: pad_token_id: expected a token id or null, got "
            f"{padding!r:.60}"
        )
    return tokenizer.dropping(None if padding is None or padding < 0 else padding)


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
