"""SetFit (Tunstall et al. 2022): a sentence encoder fine-tuned on pairs of labelled rows, then
logistic regression on its vectors.

The settings are those of the paper: 20 positive and 20 negative pairs per row, one epoch, batches
of 16, learning rate 2e-5. It is not a dependency of tamis: `pip install setfit==1.2.0
datasets==4.4.1 evaluate==0.4.6`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PAIRS = 20
"""Positive pairs per row; there are as many negative pairs."""


class SetFit:
    """A SetFit model with a sentence-transformers encoder."""

    def __init__(self, folder: Path, seed: int = 42) -> None:
        """Use the sentence-transformers model in `folder`."""
        self.folder, self.seed = folder, seed

    def fit(self, texts: list[str], labels: list[str]) -> SetFit:
        """Fine-tune on all rows.

        Raises:
            ImportError: setfit is not installed.
        """
        from datasets import Dataset  # type: ignore[import-not-found]
        from setfit import SetFitModel, Trainer, TrainingArguments  # type: ignore[import-not-found]

        self.classes = sorted(set(labels))
        numbers = [self.classes.index(label) for label in labels]
        self.model = SetFitModel.from_pretrained(str(self.folder), local_files_only=True)
        with tempfile.TemporaryDirectory() as kept:
            settings = TrainingArguments(
                output_dir=kept,
                num_iterations=PAIRS,
                num_epochs=1,
                batch_size=16,
                seed=self.seed,
                report_to="none",
                save_strategy="no",
            )
            rows = Dataset.from_dict({"text": texts, "label": numbers})
            Trainer(model=self.model, args=settings, train_dataset=rows).train()
        return self

    def predict_proba(self, texts: list[str]) -> NDArray[np.float64]:
        """(N, K), classes in sorted order."""
        return np.asarray(self.model.predict_proba(texts, as_numpy=True), dtype=np.float64)
