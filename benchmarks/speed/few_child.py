"""A contender of this environment that learns from a few labels, in a process of its own.

python -m benchmarks.speed.few_child tamis|tfidf < ROWS.json, as `rival_child`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def fitted(name: str, texts: list[str], labels: list[str]) -> Any:
    """Return a fitted classifier: `nano` as it is by default, or TF-IDF."""
    if name == "tamis":
        from tamis import TextClassifier

        return TextClassifier().fit(texts, labels)
    from tamis.evaluation.baselines import tfidf_model

    return tfidf_model().fit(texts, labels)


def main() -> None:
    """Fit, score and print the seconds."""
    rows = json.load(sys.stdin)
    begun = time.perf_counter()
    classifier = fitted(sys.argv[1], rows["texts"], rows["labels"])
    ended = time.perf_counter()
    classifier.predict_proba(rows["test"])
    print(json.dumps({"fit": ended - begun, "score": time.perf_counter() - ended}))


if __name__ == "__main__":
    main()
