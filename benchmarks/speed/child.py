"""A new process that scores a number of messages and prints seconds, tokens and peak memory.

python -m benchmarks.speed.child FOLDER MESSAGES THREADS DTYPE
"""

from __future__ import annotations

import json
import resource
import sys
import time

from tamis.classifier.text_classifier import TextClassifier
from tamis.workflows.benchmark_contenders import new_texts


def main() -> None:
    """Score and print."""
    folder, messages, threads, dtype = sys.argv[1:]
    classifier = TextClassifier.load(folder, threads=int(threads), dtype=dtype)
    classifier.predict_proba(new_texts(32, seed=1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    texts = new_texts(int(messages), seed=2)
    tokens = sum(len(ids) for ids in classifier.predictor_.tokenizer.encode(texts))
    begun = time.perf_counter()
    classifier.predict_proba(texts)
    took = time.perf_counter() - begun
    scale = 1e6 if sys.platform == "darwin" else 1e3  # kilobytes on Linux, bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "seconds": took,
                "tokens": tokens,
                "peak_mb": peak / scale,
                "before_mb": before / scale,
            }
        )
    )


if __name__ == "__main__":
    main()
