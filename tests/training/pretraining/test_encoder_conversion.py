"""A BERT sentence encoder rewritten as a GPT-2: states, copied and fitted weights, training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F
from typer.testing import CliRunner

from tamis.cli.app import app
from tamis.errors import CheckpointError, ConfigError
from tamis.gpt2.packing import pack
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining import encoder_conversion
from tamis.training.pretraining.encoder_conversion import (
    EncoderStart,
    convert_encoder,
    piece_vectors,
)
from tamis.training.pretraining.losses import pooled
from tamis.training.pretraining.run import Inputs, pretrain
from tamis.training.pretraining.sentence_encoder import (
    Affine,
    SentenceEncoder,
    mix_heads,
    read_sentence_encoder,
)
from tests.training.pretraining import small

WIDTH, HEADS, BLOCKS, INNER, POSITIONS = 12, 3, 3, 20, 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with word pieces of the small corpus."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel

    place = tmp_path_factory.mktemp("encoder")
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *small.WORDS,
        *(f"##{n}" for n in range(10)),
        *"0123456789",
    ]
    backend = Backend(
        models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.save(str(place / "tokenizer.json"))
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=POSITIONS,
        initializer_range=0.2,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def encoder(folder: Path) -> SentenceEncoder:
    return read_sentence_encoder(folder)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(small.texts(), vocab_size=300).prepared(add_bos=True)


def rows() -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(1)
    return [random.integers(4, 20, size=length).astype(np.int32) for length in (3, 7, 7, 1, 12)]


def test_states_are_those_of_transformers(folder: Path, encoder: SentenceEncoder) -> None:
    from transformers import BertModel

    reference = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    packed = pack(rows())
    hidden = encoder.embed(encoder.words[packed.ids], packed.positions)
    for number in range(BLOCKS):
        hidden = encoder.run_block(number, hidden, packed, causal=False).output
    for place, row in enumerate(packed.order):
        with torch.no_grad():
            wanted = reference(torch.from_numpy(rows()[row])[None].long()).last_hidden_state[0]
        got = hidden[int(packed.last[place]) - len(wanted) + 1 : int(packed.last[place]) + 1]
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


def test_under_the_causal_mask_later_tokens_do_not_count(encoder: SentenceEncoder) -> None:
    long = rows()[4]
    first = encoder.run_block(0, encoder.words[long].clone(), pack([long]), causal=True).output
    short = encoder.run_block(
        0, encoder.words[long[:5]].clone(), pack([long[:5]]), causal=True
    ).output
    torch.testing.assert_close(first[:5], short)


def test_queries_keys_values_and_inner_layer_are_the_encoders(
    encoder: SentenceEncoder, tokenizer: Tokenizer
) -> None:
    model = convert_encoder(encoder, tokenizer, small.texts(), n_positions=32).model
    packed = pack(rows())
    states = torch.randn(packed.tokens, WIDTH, generator=torch.Generator().manual_seed(2))
    blocks: list[Any] = list(model.h)
    for block, theirs in zip(blocks, encoder.blocks, strict=True):
        own = mix_heads(block.attn.c_attn(states), packed, HEADS, causal=True)
        torch.testing.assert_close(own, mix_heads(theirs.qkv(states), packed, HEADS, causal=True))
        torch.testing.assert_close(block.mlp.c_fc(states), theirs.inner(states))
        normed = theirs.attention_norm.norm(states, encoder.config.layer_norm_eps)
        torch.testing.assert_close(block.ln_2(states), normed)


@pytest.mark.parametrize(("blocks", "limit"), [((0, 1, 2), 0.35), ((0, 2), 0.35), ((0,), 0.6)])
def test_each_block_comes_near_the_state_before_the_next_kept_block(
    encoder: SentenceEncoder, tokenizer: Tokenizer, blocks: tuple[int, ...], limit: float
) -> None:
    found = convert_encoder(encoder, tokenizer, small.texts(), blocks=blocks, n_positions=32)
    assert len(found.block_errors) == len(blocks)
    assert max(found.block_errors) < limit
    # The reported errors equal those of the GPT-2's stream, first tokens excluded.
    packed = pack(tokenizer.encode(small.texts()))
    content = packed.positions > 0
    hidden = encoder.embed(piece_vectors(encoder, tokenizer)[packed.ids], packed.positions)
    with torch.no_grad():
        stream = found.model.embed(packed)
        for place, target in enumerate((*blocks[1:], BLOCKS)):
            for number in range(blocks[place], target):
                hidden = encoder.run_block(number, hidden, packed, causal=True).output
            stream = found.model.blocks(stream, packed, place, place + 1)
            aim = hidden[content]
            error = (stream[content] - aim).square().sum() / (aim - aim.mean(0)).square().sum()
            assert float(error) == pytest.approx(found.block_errors[place], rel=1e-3)


def test_projections_are_the_ridge_solution_of_scikit_learn(
    encoder: SentenceEncoder, tokenizer: Tokenizer
) -> None:
    from sklearn.linear_model import Ridge

    model = convert_encoder(encoder, tokenizer, small.texts(), blocks=[0], n_positions=32).model
    packed = pack(tokenizer.encode(small.texts()))
    start = encoder.embed(piece_vectors(encoder, tokenizer)[packed.ids], packed.positions)
    content = packed.positions > 0
    block: Any = model.h[0]
    with torch.no_grad():
        stream = model.embed(packed)
        mixed = mix_heads(block.attn.c_attn(block.ln_1(stream)), packed, HEADS, causal=True)[
            content
        ].double()
        aim = (encoder.run_block(0, start, packed, causal=True).residual - stream)[content].double()
    penalty = 1e-3 * float((mixed - mixed.mean(0)).square().sum(0).mean())
    reference = Ridge(alpha=penalty, solver="cholesky").fit(mixed.numpy(), aim.numpy())
    np.testing.assert_allclose(
        block.attn.c_proj.weight.detach().numpy(), reference.coef_, atol=2e-4
    )
    np.testing.assert_allclose(
        block.attn.c_proj.bias.detach().numpy(), reference.intercept_, atol=2e-4
    )


def test_a_piece_has_the_mean_of_its_word_pieces_whatever_its_case(
    encoder: SentenceEncoder, tokenizer: Tokenizer
) -> None:
    vectors = piece_vectors(encoder, tokenizer)
    piece = int(tokenizer.encode(["meet free"])[0][-1])
    assert tokenizer.decode([piece]) == " free"
    torch.testing.assert_close(vectors[piece], encoder.words[4 + small.WORDS.index("free")])
    assert tokenizer.end_of_text is not None
    torch.testing.assert_close(vectors[tokenizer.end_of_text], encoder.words[encoder.start_piece])
    assert bool(torch.isfinite(vectors).all())


def test_the_same_encoder_and_texts_give_the_same_weights(
    encoder: SentenceEncoder, tokenizer: Tokenizer
) -> None:
    first, second = (
        convert_encoder(encoder, tokenizer, small.texts(), n_positions=32).model.state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_blocks_can_be_left_out(encoder: SentenceEncoder, tokenizer: Tokenizer) -> None:
    found = convert_encoder(encoder, tokenizer, small.texts(), blocks=[0, 2], n_positions=32)
    assert found.model.config.n_layer == len(found.block_errors) == 2
    inner: Any = found.model.h[1]
    torch.testing.assert_close(inner.mlp.c_fc.weight, encoder.blocks[2].inner.weight)


@pytest.mark.parametrize(
    ("blocks", "named"),
    [
        ([], r"\(none\)"),
        ([1, 0], "1,0"),
        ([0, 0], "0,0"),
        ([0, BLOCKS], f"0,{BLOCKS}"),
        ([-1], "-1"),
    ],
)
def test_blocks_that_the_encoder_lacks_are_refused(
    encoder: SentenceEncoder, tokenizer: Tokenizer, blocks: list[int], named: str
) -> None:
    with pytest.raises(
        ConfigError, match=rf"blocks {named}: expected ascending numbers from 0 to {BLOCKS - 1}"
    ):
        convert_encoder(encoder, tokenizer, small.texts(), blocks=blocks, n_positions=32)


def test_a_context_longer_than_the_encoders_is_refused(
    encoder: SentenceEncoder, tokenizer: Tokenizer
) -> None:
    with pytest.raises(ConfigError, match=f"a context of 41 tokens: .* has {POSITIONS} positions"):
        convert_encoder(encoder, tokenizer, small.texts(), n_positions=POSITIONS + 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mpnet"}, "model_type is 'mpnet', but only BERT encoders"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
    ],
)
def test_other_architectures_are_refused(
    folder: Path, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(settings | changes), encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        read_sentence_encoder(tmp_path)


def test_missing_and_damaged_files_are_named(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-500])
    with pytest.raises(CheckpointError, match="the encoder cannot be read"):
        read_sentence_encoder(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        read_sentence_encoder(tmp_path)


def test_another_pooling_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_mean_tokens": false}', encoding="utf-8"
    )
    with pytest.raises(CheckpointError, match="not the mean over tokens"):
        read_sentence_encoder(tmp_path)


def test_a_pretraining_begins_from_an_encoder_and_is_taken_up(folder: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "words.txt"
    corpus.write_text("\n".join(small.texts()) + "\n", encoding="utf-8")
    settings = {
        "shape.n_positions": 32,
        "shape.vocab_size": 300,
        "schedule.tokens": 200,
        "schedule.batch_tokens": 60,
    }
    said: list[str] = []
    start = EncoderStart(folder, (0, 2))
    result = pretrain(
        Inputs([corpus], start=start), tmp_path / "out", small.recipe(settings), say=said.append
    )
    assert any("rewritten as a GPT-2 of 2 blocks" in sentence for sentence in said)
    assert result.facts["start"] == f"{folder.name}, its 0, 2 blocks rewritten as a GPT-2"
    assert result.facts["recipe"]["shape"]["n_embd"] == WIDTH
    again: list[str] = []
    assert (
        pretrain(
            Inputs([corpus], start=start),
            tmp_path / "out",
            small.recipe(settings),
            say=again.append,
        )
        == result
    )
    assert any("is finished" in sentence for sentence in again)
    assert EncoderStart(folder).fingerprint() != start.fingerprint()
    # Begun from other weights, the same training ends elsewhere.
    plain = pretrain(
        Inputs([corpus]),
        tmp_path / "plain",
        small.recipe(settings | {"shape.n_embd": WIDTH, "shape.n_head": HEADS, "shape.n_layer": 2}),
    )
    assert plain.facts["fingerprint"] != result.facts["fingerprint"]


def test_an_identity_map_to_the_teacher_is_not_learnt_and_needs_equal_widths(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tamis.training.pretraining import run

    corpus = tmp_path / "words.txt"
    corpus.write_text("\n".join(small.texts()) + "\n", encoding="utf-8")
    settings = {
        "shape.n_positions": 32,
        "shape.vocab_size": 300,
        "schedule.tokens": 200,
        "objective.teacher_map": "identity",
    }
    monkeypatch.setattr(run, "Teacher", lambda *_, **__: small.HashTeacher())
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        ConfigError,
        match=f"the network has {WIDTH} channels, the teacher's vectors have {small.DIMENSIONS}",
    ):
        pretrain(
            Inputs([corpus], start=EncoderStart(folder), teacher=tmp_path),
            tmp_path / "out",
            small.recipe(settings),
        )
    monkeypatch.setattr(small.HashTeacher, "dimensions", WIDTH)
    monkeypatch.setattr(small, "DIMENSIONS", WIDTH)
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "wider"))
    result = pretrain(
        Inputs([corpus], start=EncoderStart(folder), teacher=tmp_path),
        tmp_path / "out",
        small.recipe(settings),
    )
    assert "cosine" in result.figures
    state = tmp_path / "out" / "pretraining" / "state.safetensors"
    with safe_open(state, framework="pt") as file:
        assert not [name for name in file.keys() if "to_teacher" in name]


def test_the_final_norm_is_scaled_to_the_lowest_loss_and_the_pooled_direction_stays(
    encoder: SentenceEncoder, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = encoder.blocks[-1]
    loud = Affine(last.output_norm.weight * 20, last.output_norm.bias)  # logits far too large
    blocks = (*encoder.blocks[:-1], replace(last, output_norm=loud))
    packed = pack(tokenizer.encode(small.texts()))
    follows = torch.ones(packed.tokens, dtype=torch.bool)
    follows[packed.last] = False
    places = torch.nonzero(follows).squeeze(1)
    losses, directions = {}, {}
    for scales in ((1.0,), (1.0, 0.5), (1.0, 0.5, 0.25, 0.125)):
        monkeypatch.setattr(encoder_conversion, "SCALES", scales)
        changed = replace(encoder, blocks=blocks)
        model = convert_encoder(changed, tokenizer, small.texts(), n_positions=32).model
        with torch.no_grad():
            hidden = model(packed)
            logits = model.next_token_logits(hidden[places])
            losses[len(scales)] = float(F.cross_entropy(logits, packed.ids[places + 1]))
            directions[len(scales)] = pooled(hidden, packed)
    assert losses[1] > losses[2] + 0.5 > losses[4] + 1.0
    assert float(F.cosine_similarity(directions[1], directions[4]).min()) > 0.99999


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--blocks", "0,1"], "--blocks chooses blocks of a sentence encoder"),
        (["--from", "nano", "--from-encoder", "e"], "--from and --from-encoder exclude each other"),
        (["--from-encoder", "e", "--blocks", "0,x"], "--blocks 0,x: expected numbers"),
    ],
)
def test_wrong_options_of_the_command_are_wrong_usage(
    tmp_path: Path, options: list[str], message: str
) -> None:
    result = CliRunner().invoke(app, ["pretrain", "c.txt", "-o", str(tmp_path / "o"), *options])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
    assert not (tmp_path / "o").exists()
