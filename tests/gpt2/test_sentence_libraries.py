"""Libraries on top of sentence-transformers use a folder of tamis as it is.

SetFit and MTEB bring about fifteen packages, so `dev` does not install them: their own tests run
where they are (`pip install setfit mteb`). What they do with a folder is tested without them too:
SetFit trains the encoder on pairs and fits a logistic regression; a classification task of MTEB
fits one on a few vectors of each class, several times.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import tamis.gpt2
from tests import runs
from tests.rows import messages

sentence_transformers = pytest.importorskip(
    "sentence_transformers", reason="the extra teacher is not installed"
)

ROWS = messages()
SHOTS = [row for label in ("ham", "spam") for row in [r for r in ROWS if r[0] == label][:8]]
REST = [row for row in ROWS if row not in SHOTS]
NANO = Path(tamis.gpt2.__file__).parent / "embedded" / "nano"
MAJORITY = np.mean([label == "ham" for label, _ in REST])


def folders() -> list[Path]:
    return [NANO, runs.head_model()]


def columns(rows: list[tuple[str, str]]) -> dict[str, list[Any]]:
    return {
        "text": [text for _, text in rows],
        "label": [int(label == "spam") for label, _ in rows],
    }


def accuracy(model: Any, shots: list[tuple[str, str]]) -> float:
    """Accuracy on the rest of a logistic regression on the vectors of a few rows."""
    few, rest = columns(shots), columns(REST)
    head = LogisticRegression(max_iter=100).fit(model.encode(few["text"]), few["label"])
    return float(head.score(model.encode(rest["text"]), rest["label"]))


def test_pairs_of_sixteen_rows_train_the_encoder() -> None:
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

    model = sentence_transformers.SentenceTransformer(str(NANO), device="cpu")
    loss = CosineSimilarityLoss(model)
    pairs = list(combinations(SHOTS, 2))[::4]
    texts = [[pair[side][1] for pair in pairs] for side in (0, 1)]
    same = torch.tensor([float(one[0] == other[0]) for one, other in pairs])
    sides = [{**model.tokenize(part)} for part in texts]

    def gap() -> float:
        vectors = torch.from_numpy(model.encode([text for _, text in SHOTS]))
        alike = vectors @ vectors.T
        return float(alike[:8, :8].mean() + alike[8:, 8:].mean() - 2 * alike[:8, 8:].mean())

    before, optimizer = gap(), torch.optim.AdamW(model.parameters(), lr=2e-4)
    model.train()
    for _ in range(4):
        optimizer.zero_grad()
        loss([dict(side) for side in sides], same).backward()
        optimizer.step()
    model.eval()
    assert gap() > before + 0.1
    assert accuracy(model, SHOTS) > MAJORITY


def test_a_few_vectors_of_each_class_classify_the_rest() -> None:
    model = sentence_transformers.SentenceTransformer(str(NANO), device="cpu")
    by_class = {name: [row for row in ROWS if row[0] == name] for name in ("ham", "spam")}
    found = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        picked = [rows[i] for rows in by_class.values() for i in random.permutation(len(rows))[:8]]
        found.append(accuracy(model, picked))
    assert np.mean(found) > MAJORITY


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of other packages are not ours
def test_setfit_trains_on_sixteen_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setfit = pytest.importorskip("setfit", reason="setfit is not installed")
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for number, folder in enumerate(folders()):
        model = setfit.SetFitModel.from_pretrained(str(folder), labels=["ham", "spam"])
        arguments = setfit.TrainingArguments(
            batch_size=8, max_steps=20, report_to="none", output_dir=str(tmp_path / f"{number}")
        )
        rows = datasets.Dataset.from_dict(columns(SHOTS))
        setfit.Trainer(model=model, args=arguments, train_dataset=rows).train()
        predicted = model.predict([text for _, text in REST])
        right = np.mean([one == label for one, (label, _) in zip(predicted, REST, strict=True)])
        assert right > MAJORITY, folder


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_mteb_evaluates_a_classification_task(monkeypatch: pytest.MonkeyPatch) -> None:
    mteb = pytest.importorskip("mteb", reason="mteb is not installed")
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    tasks = pytest.importorskip("mteb.abstasks")
    described = pytest.importorskip("mteb.abstasks.task_metadata")

    class Messages(tasks.AbsTaskClassification):  # type: ignore[misc, name-defined]
        metadata = described.TaskMetadata(
            name="Messages",
            dataset={"path": "local", "revision": "1"},
            description="messages of the tests",
            type="Classification",
            category="t2c",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="accuracy",
        )
        n_experiments, samples_per_label = 3, 8

        def load_data(self, *positional: Any, **named: Any) -> None:
            parts = {"train": ROWS[:60], "test": ROWS[60:]}
            self.dataset = datasets.DatasetDict(
                {name: datasets.Dataset.from_dict(columns(rows)) for name, rows in parts.items()}
            )
            self.data_loaded = True

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for folder in folders():
        model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
        result = mteb.evaluate(model, [Messages()], cache=None)
        assert result.task_results[0].get_score() > 0.7
