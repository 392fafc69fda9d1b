"""The fine-tuned sentence encoder, a rival of the quality benchmark, on a tiny random BERT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.quality import rival_minilm
from benchmarks.quality.methods import named
from benchmarks.quality.rival_minilm import FineTunedEncoder, batches
from benchmarks.quality.tasks import Task
from tests.rows import messages

ROWS = messages()
TRAIN, TEST = ROWS[:90], ROWS[90:]
WIDTH = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT whose word pieces are the frequent words of the training rows.

    Its tokenizer file asks for a fixed length, as that of all-MiniLM-L6-v2 does.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("encoder")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special)
    backend.train_from_iterator([text for _, text in TRAIN], trainer)
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    backend.enable_truncation(128)
    backend.enable_padding(length=128)
    PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]"
    ).save_pretrained(place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = BertConfig(
            vocab_size=backend.get_vocab_size(),
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=2 * WIDTH,
            max_position_embeddings=256,
            initializer_range=0.2,
        )
        BertModel(config, add_pooling_layer=False).save_pretrained(place)
    return place


def fit(folder: Path, seed: int = 42) -> FineTunedEncoder:
    return FineTunedEncoder(folder, seed).fit([t for _, t in TRAIN], [k for k, _ in TRAIN])


def spam(model: FineTunedEncoder) -> NDArray[np.float64]:
    """(N,) P(spam) of the test rows."""
    return model.predict_proba([text for _, text in TEST])[:, 1]


def test_it_learns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rival_minilm, "LEARNING_RATE", 1e-3)
    monkeypatch.setattr(rival_minilm, "LEAST_STEPS", 60)
    model = fit(folder)
    assert model.classes == ["ham", "spam"]
    truth = np.array([label == "spam" for label, _ in TEST])
    # "ham" for every row would be right in 26 of 34 rows. Rounding decides one row or two: 31 to 34
    # are right, depending on the processor.
    assert ((spam(model) >= 0.5) == truth).sum() >= 30


def test_the_encoder_is_trained_and_the_layer_norms_have_no_weight_decay(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import BertModel

    monkeypatch.setattr(rival_minilm, "LEAST_STEPS", 1)
    given = []

    class Watched(torch.optim.AdamW):
        def __init__(self, groups: list[dict[str, Any]], **settings: Any) -> None:
            super().__init__(groups, **settings)
            given.extend(self.param_groups)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    before = BertModel.from_pretrained(folder, add_pooling_layer=False).state_dict()
    after = fit(folder).network.encoder.state_dict()
    # A key's bias adds the same to every score of a query: it has no gradient but rounding.
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in same if "key.bias" not in name} == set()
    decays = {p.ndim: group["weight_decay"] for group in given for p in group["params"]}
    assert decays == {1: 0.0, 2: 0.01}


def test_the_seed_decides_everything(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rival_minilm, "LEAST_STEPS", 1)
    first = spam(fit(folder))
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    again = spam(fit(folder))
    assert np.array_equal(first, again) and not np.array_equal(first, spam(fit(folder, 43)))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_probabilities_are_those_of_each_text_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    monkeypatch.setattr(rival_minilm, "LEAST_STEPS", 1)
    model = fit(folder)
    texts = [text for _, text in TEST] + ["", "call " * 400]
    found = model.predict_proba(texts)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text, row in zip(texts, found, strict=True):
        ids = tokenizer(text, padding=False, truncation=True, max_length=256)["input_ids"]
        with torch.inference_mode():
            states = model.network.encoder(torch.tensor([ids])).last_hidden_state[0]
            alone = model.network.head(states.mean(0)).softmax(0)
        np.testing.assert_allclose(row, alone.numpy(), atol=1e-5)
    assert len(ids) == 256, "the last text is cut"
    assert model.predict_proba([]).shape == (0, 2)


def test_classes_are_in_sorted_order_in_the_benchmark(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rival_minilm, "LEARNING_RATE", 1e-3)
    monkeypatch.setattr(rival_minilm, "LEAST_STEPS", 60)
    name, backbone, tune, method = named("minilm-full", folder, {})
    assert (name, backbone, tune) == ("minilm-full", "", "full")
    train = [("z", "dinner at home"), ("b", "free prize call now"), ("m", "match at platform")] * 8
    texts, labels = [t for _, t in train], [k for k, _ in train]
    found = method(Task("t", 0, texts, labels, texts[:3], labels[:3]))
    assert found.probabilities.argmax(1).tolist() == [2, 0, 1] and found.labels is None
    assert np.allclose(found.probabilities.sum(1), 1) and found.fit_s > 0


def test_few_rows_get_more_epochs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    steps = []
    schedule = transformers.get_linear_schedule_with_warmup

    def watched(optimizer: torch.optim.Optimizer, warmup: int, total: int) -> object:
        steps.append((warmup, total))
        return schedule(optimizer, warmup, total)

    monkeypatch.setattr(rival_minilm, "get_linear_schedule_with_warmup", watched)
    for least in (1, 25, 30):  # 90 rows are 6 batches
        monkeypatch.setattr(rival_minilm, "LEAST_STEPS", least)
        fit(folder)
    assert steps == [(3, 24), (3, 30), (3, 30)]


def test_batches_hold_every_row_once_and_rows_of_like_length() -> None:
    lengths = np.random.default_rng(1).integers(3, 60, size=3_301)
    first, again, other = (
        list(batches(lengths, np.random.default_rng(seed))) for seed in (1, 1, 2)
    )
    assert sorted(np.concatenate(first).tolist()) == list(range(3_301))
    assert sorted(map(len, first)) == [5] + [16] * 206
    assert all(map(np.array_equal, first, again)) and not all(map(np.array_equal, first, other))
    padded = sum(len(batch) * lengths[batch].max() for batch in first)
    assert padded < 1.1 * lengths.sum(), "in random batches twice as many"
    means = [lengths[batch].mean() for batch in first[:50]]
    assert abs(np.corrcoef(means, np.arange(50))[0, 1]) < 0.5, "not from short to long"
    # Few rows are not sorted by length, which may tell the classes apart.
    few = [lengths[batch].mean() for batch in batches(lengths[:64], np.random.default_rng(1))]
    assert max(few) - min(few) < 30
