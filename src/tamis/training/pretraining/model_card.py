"""The model card of a pretrained backbone: training data, cost, figures and limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tamis.training.pretraining.recipe import read_pretrain_recipe

_BAR = r"\|"
ANY_CORPUS = (
    "It knows the languages and kinds of text of its sources, but has little world knowledge; "
    "do not use the text it generates as advice.",
    "It reproduces the biases of its sources.",
)
"""Limits of a model whose recipe states none."""


def model_card(facts: dict[str, Any]) -> str:
    """Return the model card as Markdown, from the facts of a pretraining (`pretraining.json`)."""
    recipe, held_out = facts["recipe"], facts["held_out"]
    shape = f"{facts['parameters'] / 1e6:.1f} million parameters"
    lines = [
        f"# {recipe['name']}",
        "",
        f"A GPT-2 with {shape}, pretrained by tamis: a language model and, by the mean of its "
        "last hidden states, an encoder.",
        "Files are in the Hugging Face GPT-2 layout, with 16-bit weights.",
        "",
        "## Data",
        "",
        "| source | texts | words | shown a pass | kept out | licence | upstream |",
        "|---|---|---|---|---|---|---|",
    ]
    sources = recipe["corpus"]["sources"]
    for name, counts in facts["corpus"].items():
        source = sources.get(name, {})
        row = (
            name,
            f"{counts['texts']:,}",
            f"{counts['words']:,}",
            _times(source.get("times", 1.0)),
            f"{counts['excluded']:,}",
            source.get("licence", "not stated"),
            source.get("upstream", "not stated"),
        )
        lines.append(_row(*row))
    lines += [
        "",
        "`kept out`: removed lines that are, or contain, a message of the evaluation sets given "
        "at training time (ignoring case, digits, punctuation and",
        f"white space). {_kept_out(facts)}",
        *_before(facts),
        "",
        "## Training",
        "",
        f"- {facts['tokens']:,} tokens in {facts['steps']:,} steps at about "
        f"{facts['tokens_per_second']:,.0f} tokens/s"
        f" ({facts['machine']['device']}, {facts['machine']['threads']} threads, "
        f"{facts['machine']['dtype']}), seed {recipe['seed']}.",
        *_stages(facts),
        f"- Initialized from: {_origin(facts)}. Teacher: {_teacher(facts)}.",
        f"- Losses: {_losses(recipe['objective'], facts['teacher'])}.",
    ]
    if held_out:
        lines += [
            "",
            "## Held-out texts",
            "",
            f"{held_out['bits_per_byte']:.3f} bits per byte over all sources.",
        ]
        if "cosine" in held_out:
            lines.append(
                "Mean cosine between the mapped pooled state and the teacher's vector: "
                f"{held_out['cosine']:.3f}."
            )
        lines += ["", "| source | bits per byte |", "|---|---|"]
        lines += [_row(name, f"{value:.3f}") for name, value in held_out["by_source"].items()]
        curve = [row for row in facts["history"] if "held_out" in row]
        lines += ["", "| tokens | bits per byte | cosine |", "|---|---|---|"]
        lines += [
            _row(
                f"{row['tokens']:,}",
                f"{row['held_out']['bits_per_byte']:.3f}",
                _or_none(row["held_out"].get("cosine")),
            )
            for row in curve
        ]
    lines += ["", "## Sample texts", ""]
    lines += [f"> {' '.join(text.split())}\n" for text in facts["samples"] if text.strip()]
    lines += [
        "## Limits",
        "",
        *(f"- {' '.join(limit.split())}" for limit in _limits(recipe)),
        "- Intended for fine-tuning as a classifier, not for text generation.",
        "",
    ]
    return "\n".join(lines)


def _limits(recipe: dict[str, Any]) -> Sequence[str]:
    """Return the recipe's limits; older files without them come from a packaged recipe."""
    limits: Sequence[str] = (
        recipe["limits"] if "limits" in recipe else read_pretrain_recipe(recipe["name"]).limits
    )
    return limits or ANY_CORPUS


def _kept_out(facts: dict[str, Any]) -> str:
    if "excluded" not in facts:
        return "0 in every row may also mean that no evaluation set was given."
    named = ", ".join(f"{name} ({count:,} messages)" for name, count in facts["excluded"].items())
    return f"Given: {named}." if named else "No evaluation set was given."


def _before(facts: dict[str, Any]) -> list[str]:
    """Return the training data of the backbone that this model was initialized from."""
    lines = []
    for entry in facts.get("before") or []:
        if entry["sources"] is None:
            lines += [
                "",
                f"It was initialized from {entry['name']}; see the card of that model for its "
                "training data and licence.",
            ]
            continue
        lines += [
            "",
            f"Before that, as {entry['name']}, it was trained on:",
            "",
            "| source | licence | upstream |",
            "|---|---|---|",
        ]
        lines += [
            _row(name, source.get("licence", "not stated"), source.get("upstream", "not stated"))
            for name, source in entry["sources"].items()
        ]
    return lines


def _row(*cells: str) -> str:
    """Return a table row; cells become one line, and bars in them are escaped."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', _BAR) for cell in cells)} |"


def _teacher(facts: dict[str, Any]) -> str:
    return f"{facts['teacher_model']} ({facts['teacher_licence']})" if facts["teacher"] else "none"


def _origin(facts: dict[str, Any]) -> str:
    """Return what the first stage began from: the later ones go on from the one before."""
    first = next(iter(facts.get("stages") or []), facts)
    return first.get("start", facts["start"]) or "nothing"  # older stages do not tell


def _stages(facts: dict[str, Any]) -> list[str]:
    """Return a line for each earlier stage, and one for their total."""
    stages = facts.get("stages") or []
    if not stages:
        return []
    lines = [
        f"- Stage {number}: {stage['tokens']:,} tokens, {stage['steps']:,} steps; "
        f"{_losses(stage['objective'], stage['teacher'])}."
        for number, stage in enumerate(stages, start=1)
    ]
    return [
        f"- {sum(stage['tokens'] for stage in stages) + facts['tokens']:,} tokens in "
        f"{len(stages) + 1} stages.",
        *lines,
    ]


def _losses(objective: dict[str, Any], teacher: str | None) -> str:
    text = (
        f"next token x {objective['lm_loss_weight']:g} on {objective['lm_loss_share']:.0%} of "
        "the positions"
    )
    if objective.get("frequent_pieces"):
        text += (
            f" (softmax over the {objective['frequent_pieces']:,} most frequent tokens and "
            f"{objective['sampled_pieces']:,} sampled ones)"
        )
    if teacher:
        text += (
            f", 1 - cosine to the teacher x {objective['teacher_weight']:g}, similarity x "
            f"{objective['similarity_weight']:g}"
        )
        if objective.get("bank_weight"):
            text += (
                f", similarity to {objective['bank_texts']:,} other texts x "
                f"{objective['bank_weight']:g}"
            )
        words = objective.get("distilled_words")
        text += f" (teacher losses on texts up to {words} words)" if words else ""
        if objective.get("form_dropout"):
            text += f"; form dropout of {objective['form_dropout']:.0%} of the texts"
    return text


def _times(times: float) -> str:
    return f"{times:g} times" if times >= 1 else f"a fixed {times:.0%} of it"


def _or_none(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
