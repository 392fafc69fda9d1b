"""Write docs/nano.md and docs/nano_curve.png from the figures in benchmarks/nano and the card of
the backbone. A test holds them together.

PYTHONPATH=src:. python docs/make_nano.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.nano.variants import UNTRAINED, VARIANTS
from benchmarks.quality.table import read, table
from tamis.evaluation.report.canvas import (
    BLUE,
    GREY,
    ORANGE,
    figure_with_axes,
    house_style,
    save_png,
)
from tamis.gpt2.backbones import local_folder

ROOT = Path(__file__).parents[1]
NANO = ROOT / "benchmarks" / "nano"
PAGE, CURVE = ROOT / "docs" / "nano.md", ROOT / "docs" / "nano_curve.png"
WEIGHTS = ROOT / "src" / "tamis" / "gpt2" / "embedded" / "nano" / "model.safetensors"
RIVAL = "5-gram"
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
INHERITED = (
    "- copied: of each block the queries, keys, values, the first matrix of the MLP and the second",
    "  LayerNorm;",
    "- fitted to the encoder's hidden states: the two projections of each block into the residual",
    "  stream, because a GPT-2 normalizes at other places and sees no tokens to the right;",
    "- derived: each token has the mean vector of the encoder's word pieces of its text. The",
    "  tokenizer itself is new, a byte-level BPE of the corpus.",
)
LAYERS = (
    "The exact head need not read the last layer, and the saved model has only the blocks up to",
    "the layer that it reads ([How verdicts are decided](decisions.md)). On the mean of one layer,",
    "after the third stage (15.9 million tokens), it has (five draws of the labels, `banking77-10`",
    "two; average precision for `sms-tp2`, accuracy for the others; from the",
    "[log of 2026-12](log/2026-12.md)):",
    "",
    "| blocks | sms-tp2-8 | sms-tp2-32 | sms-tp2-128 | trec6-10 | banking77-10 |",
    "|---|---|---|---|---|---|",
    "| 6 | .896 | .964 | .973 | .612 | .803 |",
    "| 4 | .968 | .981 | .988 | .636 | .717 |",
    "| 3 | .975 | .985 | .990 | .626 | .710 |",
    "",
    "Three or four blocks tell spam from ham better than six, and intents worse.",
)
"""Copied by hand from the log, which has the other layers."""
MEANING = (
    "Conclusions, from one pretraining of each kind:",
    "",
    "- Both losses together are better than either alone, or equal, on every task with few",
    "  labels.",
    "- The teacher alone does not give a language model.",
    "- The next-token loss alone gives features that are no better than random weights for",
    "  intents and questions. Only with all rows of sms-spam is it nearly as good.",
    "- After the same number of steps, Muon is better than AdamW in both losses and in nearly",
    "  every task. The learning rate was not tuned for AdamW.",
    "",
    "60 % of sms-spam's ham comes from the NUS corpus. `nano`, the former and the present one, has",
    "read the rest of that corpus, but no message of sms-spam itself. Few-label results on",
    "sms-spam therefore benefit from texts of the same senders. Without them they are one to two",
    "points lower here at 8, 32 and 128 labels per class; the results on the whole tables are",
    "equal. Expect results like those of `without-nus` for messages from other sources; for the",
    "present `nano` this was not measured. `banking77`, which is unrelated to that corpus, is also",
    "lower without it, and `trec6` is higher. So two pretrainings of this length can differ by as",
    "much by chance.",
)
"""What the tables say; written by hand, to be read again when they change."""
SHOWN = ("self_dialogue", "multidogo", "irc", "nus_sms")
"""Sources whose bits per byte are shown of each variant."""


def card() -> dict[str, Any]:
    """The facts of the pretraining of the `nano` inside the package."""
    folder = local_folder("nano")
    assert folder is not None
    facts: dict[str, Any] = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    return facts


def bits() -> dict[str, Any]:
    """Bits per byte beside the n-gram model, as benchmarks.nano.bits wrote them."""
    found: dict[str, Any] = json.loads((NANO / "bits.json").read_text(encoding="utf-8"))
    return found


def curve(facts: dict[str, Any]) -> list[tuple[int, float]]:
    """(tokens, bits per byte of all held-out texts): the ends of earlier stages, then the last
    stage as it was measured.
    """
    before, points = 0, []
    for stage in facts["stages"]:
        before += stage["tokens"]
        points.append((before, stage["held_out"]["bits_per_byte"]))
    points += [
        (before + row["tokens"], row["held_out"]["bits_per_byte"])
        for row in facts["history"]
        if "held_out" in row
    ]
    return points


def draw(facts: dict[str, Any], rival: float) -> None:
    """The curve as a picture."""
    tokens, values = zip(*curve(facts), strict=True)
    with house_style():
        figure, axes = figure_with_axes()
        axes.plot(
            [t / 1e6 for t in tokens], values, color=BLUE, marker="o", markersize=4, label="nano"
        )
        axes.axhline(rival, color=ORANGE, linestyle="--", label="Kneser-Ney 5-gram, same corpus")
        end = 0
        for stage in facts["stages"]:
            end += stage["tokens"]
            axes.axvline(end / 1e6, color=GREY, linewidth=0.8, linestyle=":")
        axes.set(
            title="Held-out texts while nano was pretrained",
            xlabel="million tokens (dotted: stages)",
            ylabel="bits per byte",
        )
        axes.legend(loc="upper right")
        save_png(figure, CURVE)


def variants() -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """What each variant is by itself, and the judged tasks of classifiers that begin with one."""
    found: dict[str, dict[str, Any]] = json.loads(
        (NANO / "variants.json").read_text(encoding="utf-8")
    )
    rows = read(NANO / "variants.jsonl")
    columns = [*VARIANTS, UNTRAINED]
    return found, sorted(rows, key=lambda row: columns.index(row["method"]))


def variant_lines(found: dict[str, dict[str, Any]], rows: list[dict[str, Any]]) -> list[str]:
    """Two tables with a column a variant."""
    lines = [f"| held-out texts | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for source in SHOWN:
        cells = [each["by_source"].get(source) for each in found.values()]
        lines.append(f"| bits per byte, {source} | {' | '.join(_number(cell) for cell in cells)} |")
    lines.append(
        "| cosine to the teacher | "
        f"{' | '.join(_number(each['cosine']) for each in found.values())} |"
    )
    return [*lines, "", table(rows)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def parts(found: dict[str, dict[str, Any]], rows: list[dict[str, Any]]) -> list[str]:
    """The section on what each part of the pretraining is worth."""
    tokens = min(each["tokens"] for each in found.values())
    speeds = ", ".join(f"`{name}` {each['tokens_per_second']:,.0f}" for name, each in found.items())
    return [
        "## Ablation of the pretraining",
        "",
        "**This is not the pretraining of the present `nano`.** The ablation is of the "
        "pretraining from random weights (recipe `nano_from_scratch`), by which the",
        "former `nano` was made: four blocks of width 288, trained with Muon. The present one "
        "begins from an encoder's weights and uses AdamW.",
        "",
        f"Short runs of one stage with {tokens / 1e6:.1f} million tokens each and the settings of "
        "the last stage of that recipe:",
        "",
        "| variant | difference |",
        "|---|---|",
        "| `both` | none: both losses |",
        "| `next-token` | the next-token loss alone |",
        "| `teacher` | the teacher loss alone |",
        "| `without-nus` | both losses, without the NUS corpus |",
        "| `adamw` | both losses, AdamW (at the recipe's learning rate) instead of Muon |",
        f"| `{UNTRAINED}` | the network of four blocks of width 288 with random weights |",
        "",
        "All variants are frozen and have the exact head, so the table compares the features. "
        "Mean ± standard deviation over",
        "draws. `benchmarks/nano/variants.py` has the commands. Tokens per second on one thread "
        f"next to other work: {speeds}.",
        "",
        *variant_lines(found, rows),
        "",
        *MEANING,
        "",
    ]


def page(facts: dict[str, Any], found: dict[str, Any]) -> str:
    """The page as Markdown."""
    sources = found["sources"]
    whole, informal = sources["all"], sources["informal, together"]
    total = sum(stage["tokens"] for stage in facts["stages"]) + facts["tokens"]
    shape, share = facts["recipe"]["shape"], facts["recipe"]["objective"]["lm_loss_share"]
    weights = WEIGHTS.stat().st_size / 1e6
    ahead = "nano" if whole["backbone"] < whole[RIVAL] else f"the {RIVAL}"
    lines = [
        "# The backbone nano",
        "",
        "Generated by `python docs/make_nano.py` from the results in `benchmarks/nano` and the "
        "model card.",
        "The model card has its corpus, licences, teacher and limits: "
        "`src/tamis/gpt2/embedded/nano/README.md`.",
        "",
        f"`nano` is a GPT-2 with {facts['parameters'] / 1e6:.1f} million parameters: "
        f"{shape['n_layer']} blocks of width {shape['n_embd']} with {shape['n_head']} heads, a "
        f"vocabulary of {shape['vocab_size']:,} tokens and a",
        f"context of {shape['n_positions']}. Its weights have 16 bits and take {weights:.1f} MB. "
        f"It was trained on {total / 1e6:.1f} million tokens in "
        f"{len(facts['stages']) + 1} stages (recipe `nano`).",
        "",
        "## What is inherited",
        "",
        f"The network begins as [{ENCODER}](https://huggingface.co/{ENCODER})",
        f"({facts['teacher_licence']}), a sentence encoder with the architecture BERT, which "
        "`tamis pretrain --from-encoder` rewrites as a GPT-2:",
        "",
        *INHERITED,
        "",
        "[Pretrain a backbone](pretraining.md#from-a-sentence-encoder) describes the conversion. "
        "All weights are trained afterwards, with the encoder as the teacher. On held-out texts "
        "the mean cosine of",
        "the pooled state and the encoder's vector is "
        f"{facts['stages'][0]['held_out']['cosine']:.3f} after the first stage and "
        f"{facts['held_out']['cosine']:.3f} at the end.",
        "",
        "## As a language model",
        "",
        "The table has bits per byte of the texts that the pretraining held out, next to an "
        "interpolated Kneser-Ney 5-gram model of the same corpus",
        "(`python -m benchmarks.nano.bits CORPUS --exclude DATA --out "
        "benchmarks/nano/bits.json`); less is better.",
        "",
        "| held-out texts | nano | 5-gram |",
        "|---|---|---|",
        f"| informal sources together ({informal['texts']:,} texts) | {informal['backbone']:.3f} "
        f"| {informal[RIVAL]:.3f} |",
        f"| all ({whole['texts']:,} texts) | {whole['backbone']:.3f} | {whole[RIVAL]:.3f} |",
        "",
        f"So {ahead} is the better language model. The pretraining of `nano` is mainly about its "
        "vectors: the encoder had never predicted a next token, and this loss is",
        f"computed on {100 * share:.0f} % of the positions. The 5-gram counts all of them.",
        "",
        "![Bits per byte by number of training tokens](nano_curve.png)",
        "",
        "## As the backbone of a classifier",
        "",
        "[Quality](quality.md) compares it with the same network with random weights, TF-IDF "
        "and a frozen sentence encoder, with few labels and many.",
        "",
        *LAYERS,
        "",
        *parts(*variants()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    facts = card()
    draw(facts, bits()["sources"]["all"][RIVAL])
    PAGE.write_text(page(facts, bits()), encoding="utf-8")
