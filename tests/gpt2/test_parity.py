"""Hidden states, logits and ids against transformers, in both directions: its folders here, ours
there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
)
from transformers import GPT2Config as HFConfig

from tamis.classifier.saved_model import SavedModel, save_model
from tamis.gpt2.checkpoints import CONV1D, build, read_checkpoint, write_checkpoint
from tamis.gpt2.model import GPT2, GPT2Classifier, GPT2Config, initialise
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import add_mean_pooling, unfolded
from tamis.text.tokenizer import Tokenizer

SHAPES: list[dict[str, Any]] = [
    {"vocab_size": 101, "n_positions": 37, "n_embd": 24, "n_layer": 1, "n_head": 3},
    {"vocab_size": 67, "n_positions": 41, "n_embd": 20, "n_layer": 3, "n_head": 5, "n_inner": 56},
    {
        "vocab_size": 263,
        "n_positions": 64,
        "n_embd": 64,
        "n_layer": 5,
        "n_head": 4,
        "layer_norm_epsilon": 1e-6,
    },
]
LENGTHS = [7, 1, 19, 7, 2, 37, 7, 11, 1]
TEXTS = [
    "Ok lar... Joking wif u oni",
    "",
    "WINNER!! Call 09061701461 now",
    "naïve café 你好 🙂",
    "<|endoftext|> is text",
    "a\x00b\n\n c",
]


def hf_model(kind: Any, shape: dict[str, Any], seed: int = 3) -> Any:
    torch.manual_seed(seed)
    model = kind(HFConfig(**shape, initializer_range=0.3, bos_token_id=0, eos_token_id=0)).eval()
    for name, parameter in model.named_parameters():
        if "ln_" in name or name.endswith("bias"):
            torch.nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.2)
    return model


def messages(vocab: int, lengths: list[int] = LENGTHS) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.integers(0, vocab, n) for n in lengths]


@pytest.mark.parametrize("shape", SHAPES)
def test_hidden_states_equal_transformers(shape: dict[str, Any], tmp_path: Path) -> None:
    reference = hf_model(GPT2Model, shape)
    reference.save_pretrained(tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    model = build(checkpoint.config, checkpoint.state).eval()
    batch = messages(shape["vocab_size"])
    packed = pack(batch)
    with torch.no_grad():
        hidden = model(packed)
        last = model.normed(model.last(model.embed(packed), packed))
        for i, ids in enumerate(batch):
            expected = reference(torch.tensor(ids)[None]).last_hidden_state[0]
            place = int(packed.inverse[i])
            stop = int(packed.last[place]) + 1
            torch.testing.assert_close(
                hidden[stop - len(ids) : stop], expected, atol=1e-5, rtol=1e-5
            )
            torch.testing.assert_close(last[i], expected[-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [GPT2Model, GPT2LMHeadModel, GPT2ForSequenceClassification])
def test_every_kind_of_gpt2_folder_is_a_backbone(kind: Any, tmp_path: Path) -> None:
    reference = hf_model(kind, SHAPES[1] | {"num_labels": 3, "pad_token_id": 0})
    reference.save_pretrained(tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    trunk = reference if kind is GPT2Model else reference.transformer
    torch.testing.assert_close(checkpoint.state["wte.weight"], trunk.wte.weight.data)
    torch.testing.assert_close(
        checkpoint.state["h.2.mlp.c_fc.weight"], trunk.h[2].mlp.c_fc.weight.data.t()
    )
    assert (checkpoint.score is not None) == (kind is GPT2ForSequenceClassification)


def test_next_token_logits_equal_transformers(tmp_path: Path) -> None:
    reference = hf_model(GPT2LMHeadModel, SHAPES[2])
    reference.save_pretrained(tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    model = build(checkpoint.config, checkpoint.state)
    (ids,) = messages(263, [29])
    with torch.no_grad():
        ours = model.next_token_logits(model(pack([ids])))
        torch.testing.assert_close(
            ours, reference(torch.tensor(ids)[None]).logits[0], atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 5])
def test_their_classifier_scores_equally_here(
    shape: dict[str, Any], classes: int, tmp_path: Path
) -> None:
    reference = hf_model(
        GPT2ForSequenceClassification, shape | {"num_labels": classes, "pad_token_id": 0}
    )
    reference.save_pretrained(tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    model = GPT2Classifier(build(checkpoint.config, checkpoint.state), classes)
    assert checkpoint.score is not None
    model.score.weight = torch.nn.Parameter(checkpoint.score)
    batch = [
        ids + (ids == 0) for ids in messages(shape["vocab_size"])
    ]  # their head would skip a trailing id 0
    with torch.no_grad():
        logits = model(pack(batch))
        for ids, ours in zip(batch, logits, strict=True):
            torch.testing.assert_close(
                ours, reference(torch.tensor(ids)[None]).logits[0], atol=1e-5, rtol=1e-5
            )


@pytest.mark.parametrize("pooling", [False, True])
@pytest.mark.parametrize("add_bos", [False, True])
@pytest.mark.parametrize("normalize", ["none", "nfkc", "robust"])
def test_our_folder_scores_equally_in_transformers(
    pooling: bool, add_bos: bool, normalize: str, tmp_path: Path
) -> None:
    texts = [t for t in TEXTS if t or add_bos]
    tokenizer = Tokenizer.train(TEXTS * 3, vocab_size=300).prepared(
        add_bos=add_bos, normalize=normalize
    )
    config = GPT2Config(
        vocab_size=tokenizer.size + 2, n_positions=83, n_embd=40, n_layer=2, n_head=5
    )
    torch.manual_seed(11)
    trunk = GPT2(config)
    initialise(trunk, torch.Generator().manual_seed(1))
    for parameter in trunk.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    model = GPT2Classifier(add_mean_pooling(trunk) if pooling else trunk, 3).eval()
    extra = {
        "pad_token_id": tokenizer.end_of_text,
        "eos_token_id": tokenizer.end_of_text,
        "bos_token_id": tokenizer.end_of_text,
    }
    write_checkpoint(tmp_path, model, labels=["ham", "späm", "other"], extra=extra)
    tokenizer.save(tmp_path, max_length=config.n_positions)

    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    their_tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.config.id2label == {0: "ham", 1: "späm", 2: "other"}
    ids = tokenizer.encode(texts)
    assert [list(i) for i in ids] == their_tokenizer(texts)["input_ids"]
    with torch.no_grad():
        ours = model(pack(ids)).softmax(1)
        batch = their_tokenizer(texts, padding=True, return_tensors="pt")
        expected = theirs(**batch).logits.softmax(1)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=9), st.integers(0, 11))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_length_filled_up_to_changes_no_score_where_the_last_real_token_is_read(
    text: str, more: int
) -> None:
    plain, theirs, model = FILLED
    (ids,) = plain.encode([text])
    end = plain.end_of_text
    fixed = plain.prepared(
        add_bos=True, fixed_length=len(ids) + more
    )  # what position = last_token makes of padding = fixed:N
    filled = torch.tensor([[*ids.tolist(), *([end] * more)]])
    with torch.no_grad():
        ours = model(pack([ids]))
        torch.testing.assert_close(model(pack(fixed.encode([text]))), ours, atol=1e-5, rtol=1e-5)
        mask = (torch.arange(len(ids) + more) < len(ids)).long()[None]
        torch.testing.assert_close(
            theirs(filled, attention_mask=mask).logits, ours, atol=1e-5, rtol=1e-5
        )


def filled_models() -> tuple[Tokenizer, Any, GPT2Classifier]:
    tokenizer = Tokenizer.train(TEXTS * 3, vocab_size=300).prepared(add_bos=True)
    shape: dict[str, Any] = {
        "vocab_size": tokenizer.size,
        "n_positions": 53,
        "n_embd": 20,
        "n_layer": 2,
        "n_head": 5,
    }
    theirs = hf_model(
        GPT2ForSequenceClassification,
        shape | {"num_labels": 3, "pad_token_id": tokenizer.end_of_text},
    )
    model = GPT2Classifier(GPT2(GPT2Config(**shape)), 3).eval()
    for name, tensor in theirs.state_dict().items():
        model.state_dict()[name].copy_(tensor.t() if CONV1D.search(name) else tensor)
    return tokenizer, theirs, model


FILLED = filled_models()


@pytest.mark.parametrize("add_bos", [False, True])
def test_the_references_padded_mode_scores_equally_in_transformers(
    add_bos: bool, tmp_path: Path
) -> None:
    texts = [*TEXTS, "a longer one, cut after eleven tokens: " + "abc " * 9]
    tokenizer = Tokenizer.train(TEXTS * 3, vocab_size=300).prepared(
        add_bos=add_bos, fixed_length=11, pad=True
    )
    generator = torch.Generator().manual_seed(8)
    trunk = GPT2(
        GPT2Config(vocab_size=tokenizer.size, n_positions=23, n_embd=20, n_layer=2, n_head=5)
    )
    initialise(trunk, generator)
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    model = GPT2Classifier(trunk, 3).eval()
    torch.nn.init.normal_(model.score.weight, generator=generator)
    save_model(tmp_path / "model", SavedModel(model, tokenizer, ["a", "b", "c"]))
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    batch = AutoTokenizer.from_pretrained(tmp_path / "model")(
        texts, padding="max_length", truncation=True, return_tensors="pt"
    )
    assert batch["input_ids"].shape == (7, 11)
    with torch.no_grad():
        ours = model(pack(tokenizer.encode(texts)))
        torch.testing.assert_close(theirs(**batch).logits, ours, atol=1e-5, rtol=1e-5)
        one = torch.cat([theirs(batch["input_ids"][i : i + 1]).logits for i in range(7)])
        torch.testing.assert_close(one, ours, atol=1e-5, rtol=1e-5)
        # The last position is read: what is filled in counts, so a short text scores differently
        # without it.
        bare = model(pack(tokenizer.without_padding().encode(texts[:1])))
    assert (bare[0] - ours[0]).abs().max() > 1e-2


def test_a_pooling_block_comes_back_as_one_and_pools(tmp_path: Path) -> None:
    trunk = GPT2(GPT2Config(vocab_size=53, n_positions=31, n_embd=28, n_layer=2, n_head=7))
    initialise(trunk, torch.Generator().manual_seed(2))
    batch = pack(messages(53, [5, 3, 5, 1, 13]))
    plain = trunk(batch)
    means = torch.stack(
        [plain[s - n : s].mean(0) for s, n in zip(batch.last + 1, [1, 3, 5, 5, 13], strict=True)]
    )
    expected = torch.nn.functional.layer_norm(batch.restore(means), (28,))
    pooled = add_mean_pooling(trunk)
    write_checkpoint(tmp_path, pooled)
    checkpoint = read_checkpoint(tmp_path)
    again = build(checkpoint.config, checkpoint.state)
    assert type(again.h[-1]).__name__ == "MeanPoolingBlock" and again.config.n_layer == 3
    with torch.no_grad():
        features = again.normed(again.last(again.embed(batch), batch))
        torch.testing.assert_close(
            features, pooled.normed(pooled.last(pooled.embed(batch), batch)), atol=1e-6, rtol=0
        )
        every = again(batch)
        torch.testing.assert_close(features, batch.restore(every[batch.last]), atol=1e-5, rtol=1e-5)
        written = unfolded(again)
        torch.testing.assert_close(written(batch), every, atol=1e-5, rtol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(features, expected)
    assert cosine.min() > 0.9999


def test_bfloat16_gives_the_same_labels() -> None:
    trunk = GPT2(GPT2Config(vocab_size=211, n_positions=47, n_embd=96, n_layer=3, n_head=6))
    initialise(trunk, torch.Generator().manual_seed(4))
    model = GPT2Classifier(trunk, 3).eval()
    torch.nn.init.normal_(model.score.weight, std=1.0, generator=torch.Generator().manual_seed(5))
    batch = pack(messages(211, [1 + n % 47 for n in range(101)]))
    with torch.no_grad():
        exact = model(batch)
        trunk.cast(torch.bfloat16)
        rough = model(batch)
    assert rough.dtype == torch.float32
    decided = (exact.topk(2, 1).values.diff(dim=1).abs() > 0.1).squeeze(1)
    assert decided.sum() > 90
    assert (exact.argmax(1) == rough.argmax(1))[decided].all()
