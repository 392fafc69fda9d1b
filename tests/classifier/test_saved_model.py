"""Model folders: scored equally by transformers, read from transformers, and refused once a byte is
wrong.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis import CheckpointError, RunError, TextClassifier
from tamis.classifier.saved_model import load_model
from tests import runs
from tests.rows import messages

ROWS = messages()
TEXTS, LABELS = [text for _, text in ROWS], [label for label, _ in ROWS]
SHORT = [text for text in TEXTS if len(text) < 90][:40]
ODD = ["k", "<|endoftext|>", "ｆｕｌｌ width <|endoftext|> 🎂", "a\0b", "  two  spaces ", "e\u0301"]


@cache
def head() -> Path:
    return runs.head_model()


def altered(path: Path, name: str, **changes: Any) -> Path:
    """A copy of the head's folder with keys of a JSON file changed."""
    copy = runs.copy_of(head(), path)
    values = json.loads((copy / name).read_text(encoding="utf-8"))
    (copy / name).write_text(json.dumps(values | changes), encoding="utf-8")
    return copy


VARIANTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "full": ("scratch:tiny", "full", {}),
    "full, last real token": ("scratch:tiny", "full", {"text.pooling": "last_token"}),
    "head": ("pretrained", "head", {}),
    "head, last real token": (
        "pretrained",
        "head",
        {"text.pooling": "last_token", "text.normalize": "nfkc"},
    ),
    "head, without a leading token": ("pretrained", "head", {"text.add_bos": False}),
    "blocks": ("pretrained", "blocks:1", {}),
    "blocks, last real token": ("pretrained", "blocks:2", {"text.pooling": "last_token"}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_transformers_loads_the_folder_as_it_is_and_scores_equally(
    variant: str, tmp_path: Path
) -> None:
    backbone, tune, settings = VARIANTS[variant]
    name = str(runs.pretrained()) if backbone == "pretrained" else backbone
    given = {"train.epochs": 1, "data.validation_share": 0.3, **settings}
    classifier = TextClassifier(name, tune, threads=1, settings=given).fit(TEXTS, LABELS)
    classifier.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1)
    texts = [*SHORT, *ODD]
    there = runs.scores_in_transformers(tmp_path / "model", texts)
    assert np.abs(there - loaded.predict_proba(texts)).max() < 1e-5
    assert np.abs(there - classifier.predict_proba(texts)).max() < 1e-5
    assert (
        there[:, 1].std() > 1e-4
    )  # the scores differ from text to text, so the comparison means something


def test_the_padded_reference_scores_equally_in_transformers_when_padded_there(
    tmp_path: Path,
) -> None:
    padded = {
        "text.padding": "fixed:30",
        "text.pooling": "last_position",
        "text.add_bos": False,
        "train.head_solver": "adamw",
    }
    classifier = TextClassifier(str(runs.pretrained()), "head", threads=1, settings=padded).fit(
        TEXTS, LABELS
    )
    classifier.save(tmp_path / "model")
    there = runs.scores_in_transformers(
        tmp_path / "model", SHORT, padding="max_length", truncation=True
    )
    assert (
        np.abs(
            there - TextClassifier.load(tmp_path / "model", threads=1).predict_proba(SHORT)
        ).max()
        < 1e-5
    )


def test_labels_rule_and_temperature_come_back() -> None:
    run = runs.finished_run()
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    by_run, by_model = (
        TextClassifier.load(run, threads=1),
        TextClassifier.load(run / "model", threads=1),
    )
    for classifier in (by_run, by_model):
        assert classifier.classes_.tolist() == report["classes"] == ["ham", "spam"]
        assert classifier.positive_ == "spam" and classifier.rule_.threshold == report["threshold"]
        assert classifier.temperature_ == report["temperature"]
    assert np.array_equal(by_run.predict_proba(TEXTS), by_model.predict_proba(TEXTS))


def test_the_labels_stand_in_the_standard_configuration() -> None:
    config = json.loads((head() / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "ham", "1": "spam"} and config["label2id"] == {
        "ham": 0,
        "spam": 1,
    }
    assert config["architectures"] == ["GPT2ForSequenceClassification"]
    assert {file.name for file in head().iterdir()} == {
        "1_Pooling",
        "2_Dense",
        "config.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tamis.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_saving_over_a_folder_replaces_it_whole(tmp_path: Path) -> None:
    folder = runs.copy_of(head(), tmp_path / "model")
    (folder / "stray.txt").write_text("from before", encoding="utf-8")
    TextClassifier.load(head(), threads=1).save(folder)
    assert {name: data for name, data in runs.contents(folder).items() if name != "tamis.json"} == {
        name: data for name, data in runs.contents(head()).items() if name != "tamis.json"
    }
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_loading_and_saving_again_changes_no_score_and_no_fact(tmp_path: Path) -> None:
    first = TextClassifier.load(head(), threads=1)
    first.save(tmp_path / "again")
    again = TextClassifier.load(tmp_path / "again", threads=1)
    assert np.array_equal(again.predict_proba(TEXTS), first.predict_proba(TEXTS))
    assert (again.rule_, again.temperature_, again.positive_) == (
        first.rule_,
        first.temperature_,
        first.positive_,
    )


@pytest.fixture(scope="module")
def from_transformers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT2ForSequenceClassification for three classes, as transformers writes it: no tamis.json."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2ForSequenceClassification

    folder = tmp_path_factory.mktemp("transformers")
    tokenizer = AutoTokenizer.from_pretrained(runs.pretrained())
    names = {0: "bills", 1: "news", 2: "play"}
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=96,
        n_embd=24,
        n_layer=3,
        n_head=2,
        initializer_range=0.3,
        id2label=names,
        label2id={name: i for i, name in names.items()},
        pad_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(8)
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_folder_that_transformers_wrote_is_scored_equally(from_transformers: Path) -> None:
    classifier = TextClassifier.load(from_transformers, threads=1)
    assert (
        classifier.classes_.tolist() == ["bills", "news", "play"] and classifier.positive_ is None
    )
    texts = [
        text for text in SHORT if "<|endoftext|>" not in text
    ]  # a special token to transformers' own tokenizer, a text here
    there = runs.scores_in_transformers(from_transformers, texts)
    assert np.abs(there - classifier.predict_proba(texts)).max() < 1e-5
    assert classifier.predict(texts).tolist() == classifier.classes_[there.argmax(1)].tolist()


def test_a_folder_that_transformers_wrote_predicts_by_arg_max_and_is_never_unsure(
    from_transformers: Path,
) -> None:
    said = runs.tamis("predict", from_transformers, "--json", *SHORT)
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert said.code == 0 and len(answers) == len(SHORT)
    for answer in answers:
        best = max(answer["probabilities"], key=answer["probabilities"].get)
        assert answer["label"] == answer["verdict"] == best
    assert len({answer["label"] for answer in answers}) > 1


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"]
)
def test_a_file_with_one_byte_changed_is_refused(name: str, tmp_path: Path) -> None:
    copy = runs.copy_of(head(), tmp_path / "model")
    content = bytearray((copy / name).read_bytes())
    content[-20] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(
        CheckpointError, match=rf"{name} was truncated or altered after it was saved.*copy it again"
    ):
        load_model(copy)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    copy = runs.copy_of(head(), tmp_path / "model")
    (copy / "tokenizer.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"tokenizer\.json is missing; copy the whole model folder again"
    ):
        load_model(copy)


def test_without_tamis_json_truncated_weights_are_refused_all_the_same(tmp_path: Path) -> None:
    copy = runs.copy_of(head(), tmp_path / "model")
    (copy / "tamis.json").unlink()
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is truncated, altered or not safetensors"):
        load_model(copy)


def test_a_damaged_tamis_json_is_refused(tmp_path: Path) -> None:
    copy = runs.copy_of(head(), tmp_path / "model")
    (copy / "tamis.json").write_text('{"format": 1,', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tamis\.json cannot be read as JSON"):
        load_model(copy)


STRANGE: list[dict[str, Any]] = [
    {"rule": {"cut": 0.5}},
    {"rule": 3},
    {"rule": {"threshold": "0.3"}},
    {"rule": {"threshold": 7}},
    {"rule": {"positive": "eggs"}},
    {"rule": {"multi_label": "no"}},
    {"label_type": "colour"},
    {"label_type": "int"},
    {"files": 3},
]


@pytest.mark.parametrize(
    "change", [*STRANGE, {"recipe": {"seed": "x"}}, {"recipe": 3}, {"temperature": "warm"}]
)
def test_a_tamis_json_with_content_of_another_kind_is_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"tamis\.json"):
        TextClassifier.load(altered(tmp_path / "model", "tamis.json", **change))


def test_a_format_of_the_future_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="expected format 1, got 2; a newer tamis wrote it, upgrade"
    ):
        load_model(altered(tmp_path / "model", "tamis.json", format=2))


def test_labels_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"labels in tamis\.json \['a', 'b'\] and config\.json \['ham', 'spam'\] differ",
    ):
        load_model(altered(tmp_path / "model", "tamis.json", labels=["a", "b"]))


def test_labels_of_another_number_than_the_head_has_are_refused(tmp_path: Path) -> None:
    copy = altered(tmp_path / "model", "config.json", id2label={"0": "a", "1": "b", "2": "c"})
    (copy / "tamis.json").unlink()
    with pytest.raises(CheckpointError, match=r"id2label names 3 classes, score\.weight has 2"):
        load_model(copy)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    copy = altered(tmp_path / "model", "config.json", vocab_size=300)
    (copy / "tamis.json").unlink()
    tensors = load_file(copy / "model.safetensors")
    name = "transformer.wte.weight"
    save_file(
        {**tensors, name: tensors[name][:300].clone(memory_format=torch.contiguous_format)},
        copy / "model.safetensors",
    )
    with pytest.raises(CheckpointError, match="belong to different models"):
        load_model(copy)


def test_another_shape_lists_what_does_not_fit(tmp_path: Path) -> None:
    copy = altered(tmp_path / "model", "config.json", n_positions=128)
    (copy / "tamis.json").unlink()
    with pytest.raises(CheckpointError, match=r"wpe\.weight: expected \(128, 32\), got \(64, 32\)"):
        load_model(copy)


def test_a_language_model_is_no_classifier() -> None:
    with pytest.raises(
        CheckpointError, match=r"is a language model, not a classifier.*train it with tamis train"
    ):
        load_model(runs.pretrained())


def test_a_folder_without_a_model_and_no_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"nowhere does not exist; expected a run folder or a model folder"
    ):
        load_model(tmp_path / "nowhere")
    with pytest.raises(
        CheckpointError,
        match=r"exists but is no run: it contains no model \(expected model/config\.json",
    ):
        load_model(tmp_path)


def test_an_unfinished_run_says_how_to_finish_it(tmp_path: Path) -> None:
    copy = runs.copy_of(runs.finished_run(), tmp_path / "run")
    (copy / "model").rename(tmp_path / "elsewhere")
    (copy / "checkpoint").mkdir(exist_ok=True)
    (copy / "checkpoint" / "asked.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        RunError,
        match="contains an unfinished training; repeat the same tamis train command",
    ):
        load_model(copy)
