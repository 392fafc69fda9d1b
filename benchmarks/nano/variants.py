r"""Ablation of the pretraining: short runs that differ in one part, as backbones of the same
classifiers.

    python -m benchmarks.nano.variants CORPUS --teacher TEACHER --exclude DATA --out FOLDER
    python -m benchmarks.quality --data DATA --out benchmarks/nano/variants.jsonl \
        $(python -m benchmarks.nano.variants --methods --out FOLDER)
    python -m benchmarks.nano.variants --out FOLDER --facts benchmarks/nano/variants.json

Every variant is pretrained from scratch on the corpus and shape of the recipe `nano_from_scratch`,
in one stage of `--tokens` tokens, with the settings of its last stage: `both` losses, next token
only, teacher only, both without the NUS corpus (the source of 60 % of sms-spam's ham), and both
with AdamW instead of Muon. Finished variants are not repeated; unfinished ones are resumed.
`--methods` adds the untrained network. `--facts` writes the language-model and teacher figures of
the finished variants. The tables of docs/nano.md use `--task` sms-tp2, sms-almeida, sms-tp2-8,
sms-tp2-32, sms-tp2-128 and trec6-10, and with `--seeds 2` sms-leakfree and banking77-8.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tamis.cli.console import say
from tamis.cli.progress import Bars
from tamis.training.pretraining.decontamination import messages_by_set
from tamis.training.pretraining.recipe import PretrainRecipe, read_pretrain_recipe
from tamis.training.pretraining.result import FACTS
from tamis.training.pretraining.run import Inputs, pretrain

NUS = "nus_sms"
VARIANTS = ("both", "next-token", "teacher", "without-nus", "adamw")
UNTRAINED = "untrained"
"""The method's name for the network with random weights. The published figures are of the shape of
`nano_from_scratch`, which `scratch:nano` then had; it has the shape of the present `nano` now."""


def main() -> None:
    """Pretrain the variants, or print them as methods of benchmarks.quality."""
    options = _options()
    if options.methods:
        finished = [
            f"--method {name}={options.out / name}@head"
            for name in VARIANTS
            if (options.out / name / FACTS).is_file()
        ]
        print(" ".join([*finished, f"--method {UNTRAINED}=scratch:nano@head"]))
        return
    if options.facts is not None:
        options.facts.write_text(json.dumps(facts(options.out), indent=1) + "\n", encoding="utf-8")
        return
    sets = messages_by_set(options.exclude)
    for name in options.only or VARIANTS:
        folder = options.out / name
        if (folder / FACTS).is_file():
            continue
        recipe = variant(read_pretrain_recipe("nano_from_scratch"), name, options.tokens).changed(
            {"compute.threads": options.threads}
        )
        teacher = options.teacher if taught(recipe) else None
        found = pretrain(
            Inputs(
                options.corpus,
                teacher=teacher,
                excluded=[text for texts in sets.values() for text in texts],
                excluded_sets={place: len(texts) for place, texts in sets.items()},
            ),
            folder,
            recipe,
            progress=Bars(),
            say=say,
        )
        say(f"{name}: {', '.join(f'{figure} {value:.3f}' for figure, value in found.rows()[:2])}")


def variant(recipe: PretrainRecipe, name: str, tokens: int) -> PretrainRecipe:
    """Return the recipe in one stage of `tokens` tokens, with its last stage's settings and the
    variant's change.

    Raises:
        ValueError: there is no such variant.
    """
    if name not in VARIANTS:
        raise ValueError(f"expected one of {', '.join(VARIANTS)}, got {name!r}")
    settings: dict[str, Any] = dict(recipe.stages[-1])
    settings |= {
        "schedule.tokens": tokens,
        "schedule.warmup_tokens": min(40_000, tokens // 20),
        "schedule.measure_every": tokens,
    }
    settings |= {"schedule.decay_share": 0.6}
    if name == "next-token":
        settings |= {"objective.teacher_weight": 0.0, "objective.similarity_weight": 0.0}
    elif name == "teacher":
        settings["objective.lm_loss_weight"] = 0.0
    elif name == "adamw":
        settings["optimizer.name"] = "adamw"
    changed = recipe.model_copy(update={"stages": (), "name": f"{recipe.name}, {name}"}).changed(
        settings
    )
    if name == "without-nus":
        sources = {
            source: about for source, about in changed.corpus.sources.items() if source != NUS
        }
        changed = changed.model_copy(
            update={"corpus": changed.corpus.model_copy(update={"sources": sources})}
        )
    return changed


def facts(folder: Path) -> dict[str, dict[str, Any]]:
    """Return tokens, tokens per second, bits per byte by source, and cosine to the teacher (None:
    no teacher) of each finished variant.
    """
    found = {}
    for name in VARIANTS:
        path = folder / name / FACTS
        if path.is_file():
            whole = json.loads(path.read_text(encoding="utf-8"))
            found[name] = {key: whole[key] for key in ("tokens", "tokens_per_second")} | {
                key: whole["held_out"].get(key) for key in ("by_source", "cosine")
            }
    return found


def taught(recipe: PretrainRecipe) -> bool:
    """Return whether a teacher loss has a weight."""
    return bool(recipe.objective.teacher_weight or recipe.objective.similarity_weight)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path, nargs="*")
    parser.add_argument("--teacher", type=Path, help="folder of the sentence-transformers model")
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        help="tables whose messages are excluded from training",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder that gets a subfolder per variant"
    )
    parser.add_argument("--tokens", type=int, default=700_000)
    parser.add_argument("--only", action="append", choices=VARIANTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--facts",
        type=Path,
        metavar="FILE",
        help="write the figures of the finished variants as JSON",
    )
    parser.add_argument(
        "--methods",
        action="store_true",
        help="print the finished variants as methods of benchmarks.quality",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
