"""What is in a checkpoint and what is in a table: the answers of `tamis inspect` and `tamis data`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tamis.cli.console import table
from tamis.config import Recipe
from tamis.data.audit import Audit, audit
from tamis.data.review_table import write_review
from tamis.download import cache_directory
from tamis.evaluation.baselines import out_of_fold
from tamis.gpt2.backbones import Backbone, is_scratch, load_backbone, scratch_backbone
from tamis.gpt2.checkpoints import standard_state
from tamis.gpt2.feature_cache import StateStore
from tamis.gpt2.openai.checkpoint import from_state_dict, model_config
from tamis.progress import Progress
from tamis.workflows.label_issues import examine
from tamis.workflows.train import Prepared, prepare


@dataclass(frozen=True)
class Inspected:
    """A checkpoint in the reference's terms."""

    name: str
    settings: dict[str, int]
    """OpenAI's five: n_vocab, n_ctx, n_embd, n_head, n_layer."""
    params: Any
    """The tree of `params`, shapes in place of arrays."""
    config: dict[str, Any]
    """The reference's `GPTModel` configuration."""
    huggingface: dict[str, Any]
    """The same in the keys of `config.json`."""
    parameters: int
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return asdict(self)

    def text(self) -> str:
        """The same for reading."""
        pairs = (
            ("n_vocab", "vocab_size"),
            ("n_ctx", "context_length"),
            ("n_embd", "emb_dim"),
            ("n_head", "n_heads"),
            ("n_layer", "n_layers"),
        )
        mapping = [[a, str(self.settings[a]), b, str(self.config[b])] for a, b in pairs]
        mapping.append(["", "", "dropout", str(self.config["dropout"])])
        lines = [f"{self.name}: GPT-2, {self.parameters:,} parameters, fingerprint {self.fingerprint[:16]}", ""]
        lines += [table(mapping, header=("settings", "", "model configuration", "")), "", "params"]
        return "\n".join([*lines, *_tree(self.params, "  ")])


def inspect_backbone(name: str) -> Inspected:
    """Questions 2 to 4 of the reference for any backbone: settings, params with shapes, and the mapping to the configuration.

    Raises:
        TamisError: the backbone cannot be loaded.
    """
    return inspected(scratch_backbone(name, [name], seed=42) if is_scratch(name) else load_backbone(name))


def inspected(backbone: Backbone) -> Inspected:
    """The same for a backbone that is loaded already."""
    model = backbone.model
    arrays = {key: tensor.numpy() for key, tensor in standard_state(model).items()}
    settings, params = from_state_dict(arrays, n_head=model.config.n_head)
    settings = {**settings, "n_ctx": model.config.n_positions}
    return Inspected(
        name=backbone.name,
        settings=settings,
        params=_shapes(params),
        config=model_config(settings),
        huggingface=asdict(model.config),
        parameters=sum(array.size for array in arrays.values()),
        fingerprint=backbone.fingerprint,
    )


def _shapes(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _shapes(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_shapes(value) for value in tree]
    return list(tree.shape)


def _tree(tree: Any, indent: str) -> list[str]:
    """Lines of the shapes; of alike blocks only the first is spelled out."""
    lines: list[str] = []
    for key, value in tree.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{indent}{key}: list of {len(value)}, each")
            lines += _tree(value[0], indent + "  ")
        elif isinstance(value, dict):
            lines.append(f"{indent}{key}")
            lines += _tree(value, indent + "  ")
        else:
            lines.append(f"{indent}{key} {tuple(value)}")
    return lines


def review_data(prepared: Prepared, recipe: Recipe, file: Path, *, progress: Progress | None = None) -> str:
    """Write the rows of a table that a person should look at; returns what to say of them.

    A backbone from scratch knows no language yet, so `nano` looks through its rows.

    Raises:
        TamisError: the backbone cannot be had, or the file cannot be written.
    """
    backbone = load_backbone("nano" if is_scratch(recipe.backbone) else recipe.backbone)
    store = StateStore(cache_directory() / "states")
    findings = examine(prepared.parts.table, backbone, seed=recipe.seed, store=store, progress=progress)
    write_review(file, findings)
    counts = Counter(" ".join(finding.reason.split()[:2]) for finding in findings)
    shown = ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "nothing to review"
    left = sum(finding.leave_out for finding in findings)
    return f"wrote {len(findings):,} rows to {file}: {shown}; {left:,} are marked to be left out by: tamis train DATA --without {file}"


def audit_data(data: str, recipe: Recipe) -> tuple[Prepared, Audit]:
    """A table read, divided and looked through; tokens are those of the recipe's backbone, without a leading `<|endoftext|>`.

    Raises:
        TamisError: the table or the backbone cannot be had.
    """
    prepared = prepare(data, recipe)
    name = recipe.backbone
    parts = prepared.parts
    scratch = is_scratch(name)
    backbone = (
        scratch_backbone(name, parts.texts("fit"), seed=recipe.seed)
        if scratch
        else load_backbone(Path(name) if Path(name).is_dir() else name)
    )
    tokenizer = backbone.tokenizer.prepared(begin=False)  # the text's own tokens, as the reference counts them

    def lengths(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in tokenizer.encode(list(texts))]

    return prepared, audit(parts, token_lengths=lengths, out_of_fold=lambda t, y, g: out_of_fold(t, y, g.tolist(), seed=recipe.seed))
