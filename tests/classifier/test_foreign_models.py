"""Folders that transformers wrote, of every kind: scores equal its own, and what is no classifier
is refused in one clear line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tamis import CheckpointError, ConfigError, TextClassifier
from tests import runs

END = "<|endoftext|>"
TEXTS = ["win cash now", "see <url> at six", f"hi{END}", f"{END}{END}", "k", "call <phone><url> !"]


def folder_of(folder: Path, kind: str = "GPT2ForSequenceClassification", **settings: Any) -> Path:
    """A small model of transformers with random weights and two further special tokens."""
    tokenizer = AutoTokenizer.from_pretrained(runs.pretrained(), split_special_tokens=False)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<url>", "<phone>"]})
    tokenizer.save_pretrained(folder)
    sizes = {"n_positions": 64, "n_embd": 24, "n_layer": 2, "n_head": 3, "initializer_range": 0.3}
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = transformers.GPT2Config(vocab_size=len(tokenizer), **sizes | ids | settings)
    torch.manual_seed(4)
    getattr(transformers, kind)(config).save_pretrained(folder)
    return folder


def edited(folder: Path, name: str = "config.json", **changes: Any) -> Path:
    path = folder / name
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in values.items() if value is not ...}
    path.write_text(json.dumps(kept), encoding="utf-8")
    return folder


def logits_in_transformers(folder: Path, texts: list[str] = TEXTS) -> tuple[Any, torch.Tensor]:
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in texts]
    return model.config, torch.stack(rows)


def assert_equal_scores(folder: Path, apply: Any) -> TextClassifier:
    """Compare by label, so the order of the classes is free."""
    config, logits = logits_in_transformers(folder)
    classifier = TextClassifier.load(folder, threads=1)
    found, expected = classifier.predict_proba(TEXTS), apply(logits).numpy()
    names = classifier.classes_.tolist()
    assert names == sorted(names)
    for number, label in config.id2label.items():
        difference = np.abs(found[:, names.index(label)] - expected[:, number])
        assert difference.max() < 1e-5, (label, difference)
    return classifier


def softmax(logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(-1)


def test_classes_are_sorted_and_their_columns_follow(tmp_path: Path) -> None:
    from sklearn.metrics import roc_auc_score

    folder = folder_of(tmp_path, id2label={0: "spam", 1: "ham"})
    classifier = assert_equal_scores(folder, softmax)
    assert classifier.classes_.tolist() == ["ham", "spam"]
    probabilities = classifier.predict_proba(TEXTS)
    _, logits = logits_in_transformers(folder)
    truth = np.where(logits[:, 0] > logits[:, 1], "spam", "ham")
    assert len(set(truth)) == 2 and (classifier.predict(TEXTS) == truth).all()
    assert roc_auc_score(truth, probabilities[:, 1]) == 1.0
    assert np.array_equal(classifier.decision_function(TEXTS) > 0, np.asarray(truth == "spam"))


def test_special_tokens_are_read_as_in_transformers_and_after_saving(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "theirs", num_labels=3)
    classifier = assert_equal_scores(folder, softmax)
    tokenizer = classifier.predictor_.tokenizer
    assert tokenizer.backend.token_to_id("<url>") in tokenizer.encode(["see <url> at six"])[0]
    classifier.save(tmp_path / "ours")
    again = TextClassifier.load(tmp_path / "ours", threads=1)
    assert np.array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    _, logits = logits_in_transformers(tmp_path / "ours")
    assert np.abs(softmax(logits).numpy() - again.predict_proba(TEXTS)).max() < 1e-5


@pytest.mark.parametrize("padding", [0, 5, None])
def test_the_last_token_that_is_no_padding_counts(padding: int | None, tmp_path: Path) -> None:
    assert_equal_scores(folder_of(tmp_path, pad_token_id=padding), softmax)


@pytest.mark.parametrize("kind", [None, "multi_label_classification"])
def test_one_label_is_decided_by_its_sigmoid(kind: str | None, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "theirs", id2label={0: "spam"}, problem_type=kind)
    classifier = assert_equal_scores(folder, torch.sigmoid)
    assert classifier.classes_.tolist() == ["not spam", "spam"]
    assert classifier.positive_ == "spam"
    _, logits = logits_in_transformers(folder)
    expected = np.where(logits[:, 0] >= 0, "spam", "not spam")
    assert len(set(expected)) == 2 and (classifier.predict(TEXTS) == expected).all()
    report = classifier.evaluate(TEXTS, expected.tolist())
    assert report.metrics["accuracy"] == 1.0
    classifier.save(tmp_path / "ours")
    again = TextClassifier.load(tmp_path / "ours", threads=1)
    assert np.array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


@pytest.fixture
def multi_label(tmp_path: Path) -> Path:
    return folder_of(
        tmp_path / "multi",
        id2label={0: "spam", 1: "insult", 2: "threat"},
        problem_type="multi_label_classification",
    )


def test_every_label_of_a_multi_label_model_is_decided_by_itself(
    multi_label: Path, tmp_path: Path
) -> None:
    classifier = assert_equal_scores(multi_label, torch.sigmoid)
    probabilities = classifier.predict_proba(TEXTS)
    predicted = classifier.predict(TEXTS)
    assert predicted.shape == (len(TEXTS), 3) and predicted.dtype.kind == "i"
    assert np.array_equal(predicted, probabilities >= 0.5)
    assert len(set(predicted.sum(1).tolist())) > 2  # none, some and several labels apply
    for verdict, row, p in zip(classifier.verdicts(TEXTS), predicted, probabilities, strict=True):
        applying = classifier.classes_[row == 1].tolist()
        assert verdict.label == classifier.classes_[p.argmax()]
        assert verdict.to_dict()["labels"] == applying == list(verdict.labels or ())
        assert verdict.verdict == (", ".join(applying) or "none")
        assert verdict.counted() == (applying or ["none"])
    np.testing.assert_allclose(
        classifier.decision_function(TEXTS),
        np.log(probabilities / (1 - probabilities)),
        atol=1e-4,
    )
    classifier.save(tmp_path / "ours")
    config, logits = logits_in_transformers(tmp_path / "ours")
    assert config.problem_type == "multi_label_classification"
    assert np.abs(torch.sigmoid(logits).numpy() - probabilities).max() < 1e-5
    again = TextClassifier.load(tmp_path / "ours", threads=1)
    assert np.array_equal(again.predict(TEXTS), predicted)
    (tmp_path / "ours" / "tamis.json").unlink()
    assert np.array_equal(TextClassifier.load(tmp_path / "ours").predict(TEXTS), predicted)


def test_two_labels_that_both_apply_are_no_two_classes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, num_labels=2, problem_type="multi_label_classification")
    classifier = assert_equal_scores(folder, torch.sigmoid)
    assert classifier.decision_function(TEXTS).shape == (len(TEXTS), 2)
    long = "win cash now, see you at six. " * 40
    both = classifier.predict_proba([long])[0]
    assert np.allclose(classifier.verdicts([long])[0].probabilities["LABEL_0"], both[0])


def test_an_explanation_is_about_one_label_of_several(multi_label: Path) -> None:
    classifier = TextClassifier.load(multi_label, threads=1)
    text = "win cash now"
    p = classifier.predict_proba([text])[0]
    for place, label in enumerate(classifier.classes_):
        found = classifier.explain(text, label=label)
        assert found.threshold == 0.5 and found.explained == label
        assert found.log_odds == pytest.approx(np.log(p[place] / (1 - p[place])), abs=1e-5)
        assert found.tokens[-1].probability == pytest.approx(p[place], abs=1e-6)
        sides = [token.probability >= 0.5 for token in found.tokens]
        assert all(side == sides[-1] for side in sides[found.turn :])
        assert found.turn == 0 or sides[found.turn - 1] != sides[-1]


def test_what_needs_one_label_a_text_refuses_a_multi_label_model(
    multi_label: Path, tmp_path: Path
) -> None:
    classifier = TextClassifier.load(multi_label, threads=1)
    labels = ["spam"] * len(TEXTS)
    with pytest.raises(ConfigError, match="an evaluation needs a model that gives every text"):
        classifier.evaluate(TEXTS, labels)
    with pytest.raises(ConfigError, match="a suggestion of texts to label needs a model"):
        classifier.suggest(TEXTS, 2)
    with pytest.raises(ConfigError, match="learning needs a model"):
        classifier.partial_fit(TEXTS, labels)
    rows = tmp_path / "rows.csv"
    rows.write_text("label,text\nspam,win cash now\ninsult,you fool\n", encoding="utf-8")
    for command in (("evaluate", multi_label, rows), ("learn", multi_label, rows)):
        assert "needs a model that gives every text exactly one label" in (
            runs.tamis(*command).error
        )


def test_the_command_line_shows_all_labels(multi_label: Path) -> None:
    said = runs.tamis("predict", multi_label, "--json", *TEXTS)
    found = [json.loads(line) for line in said.out.splitlines()]
    expected = [v.to_dict() for v in TextClassifier.load(multi_label, threads=1).verdicts(TEXTS)]
    assert [one["labels"] for one in found] == [one["labels"] for one in expected]
    plain = runs.tamis("predict", multi_label, *TEXTS).out.splitlines()
    assert [line.split("\t")[0] for line in plain] == [one["verdict"] for one in expected]


KINDS = {
    "GPT2LMHeadModel": "is a language model, not a classifier",
    "GPT2Model": "is a language model, not a classifier",
    "GPT2ForTokenClassification": "is a token classifier",
    "GPT2ForQuestionAnswering": "is a model for question answering",
    "GPT2DoubleHeadsModel": r"is a language model with a head for multiple choice",
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_heads_are_named_and_their_trunk_is_a_backbone(kind: str, tmp_path: Path) -> None:
    from tamis.gpt2.backbones import load_backbone

    settings = {"num_labels": 1} if kind == "GPT2DoubleHeadsModel" else {}
    folder = folder_of(tmp_path, kind, **settings)
    with pytest.raises(CheckpointError, match=KINDS[kind]):
        TextClassifier.load(folder)
    said = runs.tamis("predict", folder, "win").error
    assert "train it with tamis train DATA --backbone" in said
    assert load_backbone(folder).model.config.n_layer == 2


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"problem_type": "regression"}, "the model's output is a number, not a class"),
    ({"problem_type": "ranking"}, "problem_type: expected 'single_label_classification' or"),
    ({"id2label": {"0": "a", "1": "a"}}, "id2label gives 'a' to more than one class"),
    ({"id2label": {"0": "a"}}, "id2label names 1 classes, score.weight has 2"),
    ({"id2label": {"1": "a", "2": "b"}}, "must be numbered from 0 to 1"),
    ({"id2label": {"ham": 0, "spam": 1}}, "expected an object from class numbers to labels"),
    ({"id2label": ["ham", "spam"]}, "expected an object from class numbers to labels"),
    ({"id2label": {"0": None, "1": "spam"}}, "expected an object from class numbers to labels"),
    ({"pad_token_id": "0"}, "pad_token_id: expected a token id or null, got '0'"),
    ({"quantization_config": {"quant_method": "gptq"}}, "quantized weights are not read"),
    ({"model_type": "bert"}, "expected model_type 'gpt2', got 'bert'"),
    ({"model_type": "llama"}, "expected model_type 'gpt2', got 'llama'"),
    ({"n_layer": 3}, "the weights do not match the configuration: missing h.2"),
    ({"vocab_size": 100}, "wte.weight: expected"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=lambda value: str(value)[:50])
def test_a_folder_that_would_be_misread_is_refused_in_one_line(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    said = runs.tamis("predict", edited(folder_of(tmp_path), **changes), "win cash").error
    assert words in said


def test_one_label_and_several_numbers_of_a_regression_are_refused(tmp_path: Path) -> None:
    for classes in (1, 3):
        folder = folder_of(tmp_path / str(classes), num_labels=classes, problem_type="regression")
        with pytest.raises(CheckpointError, match="problem_type is 'regression'"):
            TextClassifier.load(folder)


def test_a_head_with_a_bias_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = folder_of(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"score.bias": torch.ones(2)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"score\.bias would be ignored"):
        TextClassifier.load(folder)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("score.weight", lambda t: t * float("nan"), "contains NaN or infinite numbers"),
        ("transformer.wte.weight", lambda t: t / 0.0, "contains NaN or infinite numbers"),
        ("transformer.ln_f.weight", lambda t: t.to(torch.int8), "expected floating-point numbers"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(
    name: str, change: Any, words: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = folder_of(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {name: change(tensors[name])}, folder / "model.safetensors")
    assert words in runs.tamis("predict", folder, "win").error


def test_labels_are_those_of_id2label_whatever_label2id_says(tmp_path: Path) -> None:
    folder = edited(folder_of(tmp_path), id2label={"0": "b", "1": "a"}, label2id={"a": 0, "b": 1})
    assert_equal_scores(folder, softmax)
    edited(folder, id2label=..., label2id=...)
    classifier = TextClassifier.load(folder, threads=1)
    assert classifier.classes_.tolist() == ["LABEL_0", "LABEL_1"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_read_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(folder).to(dtype)
    model.save_pretrained(folder)
    assert_equal_scores(folder, softmax)


def test_shards_are_read_and_a_pickle_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").is_file()
    assert_equal_scores(folder, softmax)
    for file in folder.glob("model*.safetensors*"):
        file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    said = runs.tamis("predict", folder, "win").error
    assert "pytorch_model.bin is a pickle file, which tamis does not read" in said


def test_the_server_answers_with_all_labels_and_learns_none(
    multi_label: Path, tmp_path: Path
) -> None:
    from tests.serving import served

    models = served.models(tmp_path / "store.sqlite", [("multi", multi_label)])
    with served.client(models) as client:
        answer = client.post("/v1/predict", json={"texts": TEXTS}).json()["results"]
        refused = client.post("/v1/feedback", json={"items": [{"text": "win", "label": "spam"}]})
        metrics = client.get("/metrics").text
    expected = TextClassifier.load(multi_label, threads=1).verdicts(TEXTS)
    assert [one["labels"] for one in answer] == [list(v.labels or ()) for v in expected]
    assert [one["verdict"] for one in answer] == [v.verdict for v in expected]
    for one, verdict in zip(answer, expected, strict=True):
        assert one["probabilities"] == pytest.approx(verdict.probabilities, abs=1e-5)
    assert refused.status_code == 422
    assert "gives every text exactly one label" in refused.json()["error"]["message"]
    assert 'verdict="spam"' in metrics and 'verdict="insult, spam"' not in metrics


def test_untied_embeddings_classify_and_train_no_language_model(tmp_path: Path) -> None:
    from tamis.gpt2.backbones import load_backbone

    folder = folder_of(tmp_path / "theirs", tie_word_embeddings=False)
    assert_equal_scores(folder, softmax)
    assert load_backbone(folder).tied  # no matrix for the next token was saved
    untied = folder_of(tmp_path / "lm", "GPT2LMHeadModel", tie_word_embeddings=False)
    assert not load_backbone(untied).tied
    assert load_backbone(folder_of(tmp_path / "tied", "GPT2LMHeadModel")).tied
    (tmp_path / "corpus.txt").write_text("win cash now\n" * 200, encoding="utf-8")
    said = runs.tamis("pretrain", tmp_path / "corpus.txt", "--from", untied, "-o", tmp_path / "out")
    assert said.code == 1 and "tie_word_embeddings is false" in said.err
