"""Text written by a small network: the draws, where it stops, and the most likely token step by
step.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tamis.gpt2.generation import sample
from tamis.gpt2.model import GPT2, GPT2Config, initialise
from tamis.gpt2.packing import pack
from tamis.text.tokenizer import Tokenizer
from tests.training.pretraining.small import texts

CONTEXT = 19


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(texts(), vocab_size=290).prepared(add_bos=True)


@pytest.fixture
def trunk(tokenizer: Tokenizer) -> GPT2:
    model = GPT2(
        GPT2Config(vocab_size=tokenizer.size, n_positions=CONTEXT, n_embd=12, n_layer=2, n_head=3)
    )
    generator = torch.Generator().manual_seed(3)
    initialise(model, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


class Recorded:
    """Follows a network's calls: the length of what it reads and, where asked to, the token it is
    made to prefer.
    """

    def __init__(
        self, trunk: GPT2, monkeypatch: pytest.MonkeyPatch, prefer: list[int] | None = None
    ) -> None:
        self.lengths: list[int] = []
        original = trunk.next_token_logits

        def logits(hidden: Tensor) -> Tensor:
            found = original(hidden)
            if prefer is not None:
                found[..., prefer[len(self.lengths) - 1]] = 1e4
            return found

        monkeypatch.setattr(trunk, "next_token_logits", logits)
        trunk.register_forward_pre_hook(
            lambda _, arguments: self.lengths.append(arguments[0].tokens)
        )


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return [int(i) for i in tokenizer.encode([text])[0]]


def test_the_same_seed_writes_the_same_and_another_one_something_else(
    trunk: GPT2, tokenizer: Tokenizer
) -> None:
    first, again, other = (
        sample(trunk, tokenizer, ["free", "", "call me"], seed=seed) for seed in (3, 3, 4)
    )
    assert first == again != other and len(first) == 3
    assert first[0].startswith("free") and first[2].startswith("call me")


def test_with_one_piece_to_draw_from_it_writes_the_most_likely_one_at_each_step(
    trunk: GPT2, tokenizer: Tokenizer
) -> None:
    for beginning in ("free prize", "", "meet"):
        ids = ids_of(tokenizer, beginning)
        for _ in range(6):
            with torch.no_grad():
                hidden = trunk(pack([np.array(ids)]))
                best = int((hidden[-1] @ trunk.wte.weight.T).argmax())
            if best == tokenizer.end_of_text:
                break
            ids.append(best)
        assert len(ids) > len(ids_of(tokenizer, beginning)), "something is written"
        for temperature in (0.1, 3.0):
            assert sample(
                trunk, tokenizer, [beginning], tokens=6, top=1, temperature=temperature
            ) == [tokenizer.decode(ids[1:])]


def test_only_the_most_likely_pieces_are_drawn_and_the_likelier_the_more_often(
    trunk: GPT2, tokenizer: Tokenizer
) -> None:
    with torch.no_grad():
        logits = trunk.next_token_logits(trunk(pack([np.array(ids_of(tokenizer, "free"))]))[-1])
    best = logits.topk(3)
    assert tokenizer.end_of_text not in best.indices.tolist()
    for temperature in (0.5, 2.0):
        written = sample(
            trunk, tokenizer, ["free"] * 600, tokens=1, top=3, temperature=temperature, seed=1
        )
        endings = [tokenizer.decode([*ids_of(tokenizer, "free")[1:], int(i)]) for i in best.indices]
        assert set(written) <= set(endings) and len(set(endings)) == 3
        shares = np.array([written.count(ending) / 600 for ending in endings])
        expected = (best.values / temperature).softmax(0).numpy()
        assert np.abs(shares - expected).max() < 4 * (0.25 / 600) ** 0.5


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_it_stops_at_the_end_of_a_text(
    trunk: GPT2, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    word = ids_of(tokenizer, "q")[1]
    end = tokenizer.end_of_text
    assert end is not None
    recorded = Recorded(trunk, monkeypatch, prefer=[word] * steps + [end] + [word] * 20)
    assert sample(trunk, tokenizer, ["qq"], tokens=12) == ["qq" + "q" * steps]
    assert len(recorded.lengths) == steps + 1


@pytest.mark.parametrize(
    ("tokens", "written"),
    [(0, 0), (3, 3), (CONTEXT - 4, CONTEXT - 4), (CONTEXT - 3, CONTEXT - 4), (999, CONTEXT - 4)],
)
def test_it_adds_so_many_tokens_and_never_leaves_the_context(
    trunk: GPT2, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, tokens: int, written: int
) -> None:
    word = ids_of(tokenizer, "q")[1]
    recorded = Recorded(trunk, monkeypatch, prefer=[word] * 99)
    assert len(ids_of(tokenizer, "qqq")) == 4
    assert sample(trunk, tokenizer, ["qqq"], tokens=tokens) == ["q" * (3 + written)]
    assert (
        recorded.lengths == list(range(4, 4 + written))
        and max(recorded.lengths, default=0) < CONTEXT
    )


@pytest.mark.parametrize("letters", [CONTEXT - 1, CONTEXT, 50])
def test_a_beginning_that_fills_the_context_is_cut_and_not_gone_on_from(
    trunk: GPT2, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, letters: int
) -> None:
    recorded = Recorded(trunk, monkeypatch)
    assert (
        sample(trunk, tokenizer, ["q" * letters]) == ["q" * (CONTEXT - 1)] and not recorded.lengths
    )


def test_no_beginnings_are_no_texts(trunk: GPT2, tokenizer: Tokenizer) -> None:
    assert sample(trunk, tokenizer, []) == []
