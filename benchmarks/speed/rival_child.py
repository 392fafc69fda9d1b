"""A rival that learns from a few labels, in a process and, if need be, an environment of its own:
it fits, scores, and prints the seconds of both as JSON. Imports nothing of tamis.

python -m benchmarks.speed.rival_child setfit|minilm|model2vec FOLDER < ROWS.json

FOLDER holds the sentence encoder, or for model2vec the static model. ROWS.json has `texts` and
`labels` to learn from, and `test`, texts to score.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Predict = Callable[[list[str]], Any]
SEED = 42


def setfit(folder: Path, texts: list[str], labels: list[str]) -> Predict:
    """SetFit with the settings of its paper."""
    from benchmarks.quality.rival_setfit import SetFit

    return SetFit(folder, SEED).fit(texts, labels).predict_proba


def minilm(folder: Path, texts: list[str], labels: list[str]) -> Predict:
    """A sentence encoder fine-tuned by sentence-transformers on the labels (batch-all triplet
    loss, one epoch of pairs as long as SetFit's), then logistic regression on its vectors.
    """
    from datasets import Dataset  # type: ignore[import-not-found]
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import BatchAllTripletLoss
    from sentence_transformers.sentence_transformer.trainer import SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.training_args import (
        SentenceTransformerTrainingArguments,
    )
    from sklearn.linear_model import LogisticRegression

    encoder = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    classes = sorted(set(labels))
    rows = Dataset.from_dict({"text": texts, "label": [classes.index(one) for one in labels]})
    arguments = SentenceTransformerTrainingArguments(
        output_dir=tempfile.gettempdir(),  # nothing is saved there
        num_train_epochs=10,
        per_device_train_batch_size=16,
        learning_rate=2e-5,
        seed=SEED,
        report_to="none",
        save_strategy="no",
    )
    SentenceTransformerTrainer(
        model=encoder, args=arguments, train_dataset=rows, loss=BatchAllTripletLoss(encoder)
    ).train()
    head = LogisticRegression(max_iter=1000).fit(encoder.encode(texts), labels)
    return lambda some: head.predict_proba(encoder.encode(some))


def model2vec(folder: Path, texts: list[str], labels: list[str]) -> Predict:
    """The classifier of model2vec on a static model."""
    from model2vec.train import StaticModelForClassification  # type: ignore[import-not-found]

    model = StaticModelForClassification.from_pretrained(model_name=str(folder))
    model.fit(texts, labels)
    return model.predict_proba  # type: ignore[no-any-return]


RIVALS: dict[str, Callable[[Path, list[str], list[str]], Predict]] = {
    "setfit": setfit,
    "minilm": minilm,
    "model2vec": model2vec,
}


def main() -> None:
    """Fit, score and print."""
    name, folder = sys.argv[1:]
    rows = json.load(sys.stdin)
    begun = time.perf_counter()
    predict = RIVALS[name](Path(folder), rows["texts"], rows["labels"])
    fitted = time.perf_counter()
    predict(rows["test"])
    ended = time.perf_counter()
    print(json.dumps({"fit": fitted - begun, "score": ended - fitted}))


if __name__ == "__main__":
    main()
