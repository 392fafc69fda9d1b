r"""Bits per byte of held-out texts: a pretrained backbone, and an interpolated Kneser-Ney 5-gram on
the
same tokens of the same corpus.

    python -m benchmarks.nano.bits CORPUS... --recipe nano --backbone nano [--exclude DATA] \
        [--out FILE]

The corpus is read as `tamis pretrain` reads it, so neither model has seen the held-out texts. The
5-gram weights texts by the recipe's shares and uses the backbone's tokenizer; bits per byte do not
depend on the tokenizer.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.nano.ngram import KneserNey
from tamis.cli.console import say
from tamis.cli.progress import Bars
from tamis.evaluation.report.text_table import table
from tamis.gpt2.backbones import load_backbone
from tamis.training.pretraining.corpus import read_corpus
from tamis.training.pretraining.decontamination import Excluded, messages_of
from tamis.training.pretraining.evaluation import bits_per_byte, text_nats
from tamis.training.pretraining.recipe import read_pretrain_recipe
from tamis.training.pretraining.sequences import encode

INFORMAL = ("nus_sms", "self_dialogue", "multidogo", "irc")
"""Sources with messages between people."""


def main() -> None:
    """Print the comparison by source, and for the informal sources together."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path, nargs="+")
    parser.add_argument("--recipe", default="nano")
    parser.add_argument("--backbone", default="nano")
    parser.add_argument("--exclude", action="append", default=[])
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    recipe = read_pretrain_recipe(options.recipe)
    backbone = load_backbone(options.backbone)
    excluded = Excluded(messages_of(options.exclude))
    corpus = read_corpus(
        options.corpus, recipe.corpus, excluded=excluded, seed=recipe.seed, progress=Bars()
    )
    tokenizer = backbone.tokenizer.prepared(add_bos=True)
    context = backbone.model.config.n_positions
    training = encode(corpus.texts, tokenizer, context, Bars())
    held_out = encode(corpus.held_out, tokenizer, context)
    say(f"{len(training.flat):,} training tokens; {len(held_out):,} held-out texts")
    times = np.rint(corpus.times[corpus.source] * 4).astype(
        np.int64
    )  # shares as whole numbers: quarters
    sequences = [
        training.flat[a:b] for a, b in zip(training.starts[:-1], training.starts[1:], strict=True)
    ]
    rival = KneserNey.fit(sequences, tokenizer.size, options.order, times=times)
    nats = {
        "backbone": text_nats(backbone.model, held_out),
        f"{options.order}-gram": rival.text_nats(
            [held_out.inputs(row) for row in range(len(held_out))]
        ),
    }
    groups = {name: corpus.held_out_source == i for i, name in enumerate(corpus.names)}
    informal = np.isin(
        corpus.held_out_source, [i for i, name in enumerate(corpus.names) if name in INFORMAL]
    )
    groups |= {"informal, together": informal, "all": np.ones(len(held_out), dtype=bool)}
    found = {
        name: {
            "texts": int(mine.sum()),
            **{who: bits_per_byte(of[mine], held_out.text_bytes[mine]) for who, of in nats.items()},
        }
        for name, mine in groups.items()
        if mine.any()
    }
    print(
        table(
            [[name, *(_shown(value) for value in row.values())] for name, row in found.items()],
            header=("source", "texts", *nats),
        )
    )
    if options.out:
        whole = {"backbone": backbone.fingerprint, "order": options.order, "sources": found}
        options.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    main()
