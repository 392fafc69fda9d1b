"""What a pretraining leaves: a folder in the Hugging Face layout, its facts (`pretraining.json`)
and its model card.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from tamis.compute import device
from tamis.errors import RunError
from tamis.files import write_text
from tamis.gpt2.backbones import local_folder
from tamis.gpt2.checkpoints import fingerprint, write_checkpoint
from tamis.gpt2.generation import sample
from tamis.gpt2.sentence_modules import write_mean_modules
from tamis.gpt2.tensor_files import read_json
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining.encoder_conversion import EncoderStart
from tamis.training.pretraining.loop import Pretraining
from tamis.training.pretraining.model_card import model_card
from tamis.training.pretraining.recipe import PretrainRecipe

FACTS = "pretraining.json"
BEGINNINGS = ("", "", "Hi, are you", "I think the", "How do I", "Thank you for")
"""What the samples at the end go on from."""
STAGE = (
    "start",
    "tokens",
    "steps",
    "tokens_per_second",
    "machine",
    "teacher",
    "fingerprint",
    "held_out",
)
"""What is told of an earlier stage."""


@dataclass(frozen=True)
class Pretrained:
    """What a pretraining gave."""

    folder: Path
    figures: dict[str, Any]
    """of the held-out texts at the end: `bits_per_byte`, `by_source`, with a teacher `cosine`"""
    samples: list[str]
    facts: dict[str, Any] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, float]]:
        """The figures as a table."""
        rows = [("bits per byte", self.figures["bits_per_byte"])] if self.figures else []
        rows += (
            [("cosine to the teacher", self.figures["cosine"])] if "cosine" in self.figures else []
        )
        return rows + [
            (f"bits per byte, {name}", value)
            for name, value in self.figures.get("by_source", {}).items()
        ]


def earlier_stages(start: str | Path | EncoderStart | None) -> list[dict[str, Any]]:
    """What is known of how the backbone came about from which a pretraining went on: its own
    stages, and then itself.
    """
    folder = None if start is None or isinstance(start, EncoderStart) else local_folder(start)
    file = None if folder is None else folder / FACTS
    if file is None or not file.is_file():
        return []
    facts = read_json(file)
    stages: list[dict[str, Any]] = facts.get("stages", [])
    return [
        *stages,
        {key: facts.get(key) for key in STAGE}
        | {"objective": facts.get("recipe", {}).get("objective")},
    ]


def data_before(
    start: str | Path | EncoderStart | None, now: dict[str, Any]
) -> list[dict[str, Any]]:
    """Of what a backbone learnt before: each earlier corpus, by the name of what was made of it,
    that is not the one of `now`.

    `now` has `name` and `sources` as well: a stage before is of the same name, and tells nothing
    new.

    Each has `name`, and `sources`: licence and upstream of every one; None where the backbone does
    not tell.
    """
    if start is None or isinstance(start, EncoderStart):
        return []  # the card names an encoder as what the network began from
    folder = local_folder(start)
    if folder is None or not (folder / FACTS).is_file():
        return [{"name": Path(start).name, "sources": None}]
    facts = read_json(folder / FACTS)
    recipe = facts.get("recipe", {})
    own = {
        "name": recipe.get("name", folder.name),
        "sources": _origins(recipe, facts.get("corpus", {})),
    }
    found: list[dict[str, Any]] = [*facts.get("before", []), own]
    return [entry for i, entry in enumerate(found) if entry not in found[:i] and entry != now]


def _start_name(
    start: str | Path | EncoderStart | None, recipe: PretrainRecipe, teacher: Path | None
) -> str | None:
    if not isinstance(start, EncoderStart):
        return None if start is None else Path(start).name
    is_teacher = teacher is not None and teacher.resolve() == start.folder.resolve()
    name = f"{recipe.teacher.model} ({recipe.teacher.licence})" if is_teacher else start.folder.name
    kept = "all of its" if start.blocks is None else f"its {', '.join(map(str, start.blocks))}"
    return f"{name}, {kept} blocks rewritten as a GPT-2"


def _origins(recipe: dict[str, Any], corpus: Iterable[str]) -> dict[str, Any]:
    named = recipe.get("corpus", {}).get("sources", {})
    return {
        name: {key: named.get(name, {}).get(key, "not stated") for key in ("licence", "upstream")}
        for name in corpus
    }


def finished(
    out: Path, training: Pretraining, identity: str, *, restored: bool
) -> Pretrained | None:
    """The result in `out`, where this very pretraining, at its present length, has written it
    already; None where there is work to do.

    Args:
        out: the result's folder.
        training: as its state left it.
        identity: what is trained on what.
        restored: whether there was a state.

    Raises:
        CheckpointError: the facts in the folder are damaged.
        RunError: the folder holds a result of other work, or of another length whose state is gone;
            writing would lose it.
    """
    if not (out / FACTS).is_file():
        return None
    facts, schedule = read_json(out / FACTS), training.recipe.schedule
    told = facts.get("recipe", {}).get("schedule", {})
    course = (told.get("tokens"), told.get("decay_share")) == (
        schedule.length,
        schedule.decay_share,
    )
    if "identity" in facts:
        same = facts["identity"] == identity
    else:  # written before facts had one: the state speaks for them
        same = restored and (facts.get("tokens"), facts.get("steps")) == (
            training.at.tokens,
            training.at.step,
        )
    if same and course and (out / "model.safetensors").is_file():
        return Pretrained(out, facts["held_out"], facts["samples"], facts)
    if not restored:
        raise RunError(
            f"{out} holds the result of another pretraining (other texts, recipe, length, "
            "backbone or teacher), or of this one without its "
            "state; choose another folder with -o, or delete it to begin anew"
        )
    return None


def write_result(
    out: Path,
    training: Pretraining,
    tokenizer: Tokenizer,
    facts: dict[str, Any],
    *,
    start: str | Path | EncoderStart | None,
    teacher: Path | None,
    compute: device.Compute,
) -> Pretrained:
    """Write the finished folder; the facts come last and say that it is whole.

    Args:
        out: the folder.
        training: at its end.
        tokenizer: its tokenizer.
        facts: further facts.
        start: the backbone or the sentence encoder that it began from, None for none.
        teacher: the teacher's folder, None without one.
        compute: where and how it was computed.
    """
    trunk, recipe, texts = training.student.trunk, training.recipe, training.corpus
    figures: dict[str, Any] = next(
        (row["held_out"] for row in reversed(training.at.history) if "held_out" in row), {}
    )
    samples = sample(trunk, tokenizer, list(BEGINNINGS), seed=recipe.seed)
    # What is stored has 16 bits; the fingerprint is that of the stored numbers, as whoever loads
    # them finds it.
    state = {
        name: tensor.detach().cpu().half().float() for name, tensor in trunk.state_dict().items()
    }
    tree = recipe.model_dump(mode="json")
    if start is not None:  # the network's own, whatever the recipe says
        own = trunk.config
        tree["shape"] = {"vocab_size": own.vocab_size} | {
            name: getattr(own, name) for name in tree["shape"] if name != "vocab_size"
        }
    facts = {
        "recipe": tree,
        "start": _start_name(start, recipe, teacher),
        "stages": earlier_stages(start),
        "before": data_before(
            start, {"name": recipe.name, "sources": _origins(tree, texts.counts)}
        ),
        "teacher": None if teacher is None else Path(teacher).name,
        "teacher_model": recipe.teacher.model,
        "teacher_licence": recipe.teacher.licence,
        "corpus": {name: asdict(counts) for name, counts in texts.counts.items()},
        "parameters": sum(tensor.numel() for tensor in state.values()),
        "fingerprint": fingerprint(trunk.config, state),
        **facts,
        "tokens": training.at.tokens,
        "steps": training.at.step,
        "tokens_per_second": round(training.at.tokens / max(1e-9, training.at.seconds), 1),
        "machine": {
            "device": compute.device,
            "threads": compute.threads,
            "dtype": compute.dtype,
            "system": platform.machine(),
            **({"processes": training.at.processes} if training.at.processes else {}),
        },
        "held_out": figures,
        "history": training.at.history,
        "samples": samples,
    }
    extra = {"bos_token_id": tokenizer.end_of_text, "eos_token_id": tokenizer.end_of_text}
    write_checkpoint(out, trunk, extra=extra, dtype=torch.float16)
    tokenizer.save(out, max_length=trunk.config.n_positions)
    write_mean_modules(out, trunk.config, begins=tokenizer.end_of_text is not None)
    write_text(out / "README.md", model_card(facts))
    write_text(out / FACTS, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return Pretrained(out, figures, samples, facts)
