"""`tamis inspect`: settings and tensor shapes of a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tamis.evaluation.report.text_table import table
from tamis.gpt2.backbones import Backbone, is_scratch, load_backbone, scratch_backbone
from tamis.gpt2.checkpoints import standard_state
from tamis.gpt2.openai.checkpoint import from_state_dict, model_config


@dataclass(frozen=True)
class Inspected:
    """A checkpoint, described in the terms of the reference experiment."""

    name: str
    settings: dict[str, int]
    """The settings of OpenAI: n_vocab, n_ctx, n_embd, n_head, n_layer."""
    params: Any
    """The tree `params` with shapes instead of arrays."""
    config: dict[str, Any]
    """The `GPTModel` configuration of the reference experiment."""
    huggingface: dict[str, Any]
    """The configuration with the keys of `config.json`."""
    parameters: int
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values."""
        return asdict(self)

    def text(self) -> str:
        """Format as text."""
        pairs = (
            ("n_vocab", "vocab_size"),
            ("n_ctx", "context_length"),
            ("n_embd", "emb_dim"),
            ("n_head", "n_heads"),
            ("n_layer", "n_layers"),
        )
        mapping = [[a, str(self.settings[a]), b, str(self.config[b])] for a, b in pairs]
        mapping.append(["", "", "dropout", str(self.config["dropout"])])
        lines = [
            f"{self.name}: GPT-2, {self.parameters:,} parameters, fingerprint "
            f"{self.fingerprint[:16]}",
            "",
        ]
        lines += [table(mapping, header=("settings", "", "model configuration", "")), "", "params"]
        return "\n".join([*lines, *_tree(self.params, "  ")])


def inspect_backbone(name: str) -> Inspected:
    """Describe a backbone: settings, shapes of the parameters, and the configuration (questions 2
    to 4 of the reference experiment).

    Raises:
        TamisError: the backbone cannot be loaded.
    """
    return inspected(
        scratch_backbone(name, [name], seed=42) if is_scratch(name) else load_backbone(name)
    )


def inspected(backbone: Backbone) -> Inspected:
    """Describe a backbone that is already loaded."""
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
    """Format the shapes, one per line; of a list of equal blocks only the first."""
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
