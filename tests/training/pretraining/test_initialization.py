"""How a network begins: a teacher's vectors in its embeddings, read back through the network
itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from torch.nn import functional as F

from tamis.gpt2.model import GPT2, GPT2Config
from tamis.gpt2.packing import pack
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining.initialization import (
    fitted_map,
    has_letters,
    map_start,
    principal,
    random_start,
    teacher_start,
)
from tamis.training.pretraining.losses import pooled
from tests.training.pretraining import small


def test_principal_components_equal_scikit_learns_up_to_sign() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 9)).astype(np.float32) * np.arange(1, 10)
    found = principal(vectors, 4)
    wanted = PCA(4, svd_solver="full").fit(vectors)
    np.testing.assert_allclose(np.abs(found.components), np.abs(wanted.components_), atol=1e-4)
    np.testing.assert_allclose(found.mean, wanted.mean_, atol=1e-4)
    assert all(row[np.abs(row).argmax()] > 0 for row in found.components)


def test_a_teacher_with_fewer_dimensions_is_filled_up_with_zeros() -> None:
    found = principal(np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32), 5)
    assert found.components.shape == (5, 3) and not found.components[3:].any()


def begun(folder: Path, noise: float) -> tuple[GPT2, Tokenizer, torch.Tensor]:
    texts = small.texts()
    tokenizer = Tokenizer.train(texts, vocab_size=300).prepared(add_bos=True)
    model = GPT2(
        GPT2Config(vocab_size=tokenizer.size, n_positions=24, n_embd=12, n_layer=2, n_head=3)
    )
    projection = teacher_start(model, tokenizer, small.store(folder), noise=noise, seed=42)
    return model, tokenizer, map_start(12, small.DIMENSIONS, projection, 42)


def test_without_noise_a_piece_alone_maps_back_to_the_teachers_vector_of_it(tmp_path: Path) -> None:
    """Width 12 holds all 7 dimensions of this teacher, so nothing but the common mean is lost."""
    model, tokenizer, back = begun(tmp_path, noise=0.0)
    pieces = [
        i
        for i in range(tokenizer.size)
        if has_letters(tokenizer.decode([i])) and i != tokenizer.end_of_text
    ]
    vectors = small.store(tmp_path).of([tokenizer.decode([i]).strip() for i in pieces])
    read = model.wte.weight.detach()[torch.tensor(pieces)] @ back.T
    centred = torch.from_numpy(vectors - vectors.mean(0))
    assert float(F.cosine_similarity(read, centred).min()) > 0.999
    assert (
        abs(
            float(model.wte.weight.detach()[torch.tensor(pieces)][:, :7].std()) / 0.02
            - (12 / 7) ** 0.5
        )
        < 0.1
    )


def test_the_untrained_network_already_pools_its_pieces(tmp_path: Path) -> None:
    model, _, _ = begun(tmp_path, noise=0.0)
    ids = np.array([40, 41, 60, 299], dtype=np.int32)
    with torch.no_grad():
        packed = pack([ids])
        state = pooled(model(packed), packed)[0]
        plain = F.layer_norm(
            F.layer_norm(model.wte.weight[torch.from_numpy(ids).long()], (12,)).mean(0), (12,)
        )
    assert float(F.cosine_similarity(state, plain, dim=0)) > 0.98  # positions are small but there


def test_noise_keeps_apart_what_the_teacher_holds_for_one(tmp_path: Path) -> None:
    """ " call" and "call" are the same text to a teacher."""
    silent, tokenizer, _ = begun(tmp_path / "a", noise=0.0)
    noisy, _, _ = begun(tmp_path / "b", noise=0.5)
    vocabulary = tokenizer.backend.get_vocab()
    pairs = [
        (i, vocabulary["Ġ" + piece])
        for piece, i in vocabulary.items()
        if "Ġ" + piece in vocabulary and len(piece) > 1
    ]
    assert pairs
    for one, other in pairs:
        assert torch.equal(silent.wte.weight[one], silent.wte.weight[other])
        assert not torch.equal(noisy.wte.weight[one], noisy.wte.weight[other])


def test_bytes_that_are_no_text_keep_their_random_start(tmp_path: Path) -> None:
    model, tokenizer, _ = begun(tmp_path, noise=0.5)
    plain = GPT2(model.config)
    random_start(plain, 42)
    half = next(i for i in range(tokenizer.size) if "\ufffd" in tokenizer.decode([i]))
    assert torch.equal(model.wte.weight[half], plain.wte.weight[half])
    assert (
        not has_letters(" ") and not has_letters("\n\t") and has_letters("!") and has_letters(" a")
    )


def test_the_fitted_map_equals_ridge_regression() -> None:
    random = np.random.default_rng(2)
    states, vectors = (
        random.normal(size=(90, 12)).astype(np.float32),
        random.normal(size=(90, 7)).astype(np.float32),
    )
    wanted = Ridge(alpha=1.0, fit_intercept=False).fit(states, vectors).coef_
    np.testing.assert_allclose(fitted_map(states, vectors).numpy(), wanted, atol=1e-4)
