"""The backbone inside the package: small, whole, quick to load, a language model and an encoder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import tamis.gpt2
from tamis.errors import CheckpointError
from tamis.gpt2.backbones import EMBEDDED, load_backbone, names
from tamis.gpt2.checkpoints import fingerprint
from tamis.gpt2.packing import pack
from tamis.training.pretraining.evaluation import bits_per_byte, text_nats
from tamis.training.pretraining.losses import pooled
from tamis.training.pretraining.model_card import model_card
from tamis.training.pretraining.sequences import encode

FOLDER = Path(tamis.gpt2.__file__).parent / "embedded" / "nano"
CHAT = [
    "hey are you coming to the pub later, i'll be there at 8",
    "I really liked that movie, the actors were great and the story was funny.",
    "Could you please help me with my order? It has not arrived yet.",
    "ok no problem, see you tomorrow at the station then",
    "How do I install the new driver on my laptop?",
]


def test_it_is_known_first_and_small() -> None:
    assert names()[0] == "nano" == EMBEDDED[0]
    size = sum(file.stat().st_size for file in FOLDER.iterdir())
    assert size <= 36_000_000
    backbone = load_backbone("nano")
    assert backbone.pretrained and backbone.model.config.n_positions >= 256
    assert backbone.tokenizer.size == backbone.model.config.vocab_size


def test_its_card_says_what_it_is_made_of() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    facts = json.loads((FOLDER / "pretraining.json").read_text(encoding="utf-8"))
    for source in facts["recipe"]["corpus"]["sources"].values():
        assert source["licence"] in card and source["upstream"] in card
    assert f"{facts['held_out']['bits_per_byte']:.3f} bits per byte" in card
    assert f"{facts['tokens']:,} tokens" in card and "## Limits" in card
    assert facts["teacher_model"] in card and facts["teacher_licence"] in card
    # Weights that began as another's come with the licence of those.
    assert "Apache-2.0" in card
    licence = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence and "Version 2.0" in licence


def test_the_weights_are_those_that_the_card_is_about() -> None:
    """Stored in 16 bits: the fingerprint is that of the file's numbers."""
    backbone = load_backbone("nano")
    facts = json.loads((FOLDER / "pretraining.json").read_text(encoding="utf-8"))
    state = {name: tensor.detach() for name, tensor in backbone.model.state_dict().items()}
    assert facts["fingerprint"] == backbone.fingerprint == fingerprint(backbone.model.config, state)


def test_it_knows_english_from_noise() -> None:
    backbone = load_backbone("nano")
    tokenizer = backbone.tokenizer.prepared(add_bos=True)
    random = np.random.default_rng(1)
    shuffled = ["".join(random.permutation(list(text))) for text in CHAT]
    figures = []
    for texts in (CHAT, shuffled):
        sequences = encode(texts, tokenizer, backbone.model.config.n_positions)
        figures.append(bits_per_byte(text_nats(backbone.model, sequences), sequences.text_bytes))
    assert figures[0] < 2.0 < 4.0 < figures[1]


def test_its_pooled_states_put_like_next_to_like() -> None:
    pairs = [
        ("When will my parcel arrive?", "My package has not been delivered yet"),
        ("I want to cancel my credit card", "Please block my bank card"),
        ("That film was wonderful", "I loved this movie"),
        ("How is the weather today?", "Will it rain tomorrow?"),
    ]
    backbone = load_backbone("nano")
    ids = backbone.tokenizer.prepared(add_bos=True).encode(
        [text for pair in pairs for text in pair]
    )
    with torch.no_grad():
        packed = pack(ids)
        states = torch.nn.functional.normalize(
            packed.restore(pooled(backbone.model(packed), packed)), dim=1
        ).view(len(pairs), 2, -1)
    likeness = states[:, 0] @ states[:, 1].T
    others = likeness[~torch.eye(len(pairs), dtype=torch.bool)]
    assert float(likeness.diagonal().mean()) > float(others.mean()) + 2 * float(others.std())
    assert sum(likeness.argmax(1).eq(torch.arange(len(pairs))).tolist()) >= len(pairs) - 1


def test_it_loads_in_a_moment_once_torch_is_there() -> None:
    """Under 0.3 s on two idle cores; here only that nothing slow is imported or computed on the
    way.
    """
    program = """
import time, torch, numpy, tokenizers, safetensors.torch
import tamis.gpt2.backbones as b
seconds = []
for _ in range(3):
    begun = time.process_time()
    b.load_backbone("nano")
    seconds.append(time.process_time() - begun)
print(min(seconds))
"""
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert float(found.stdout) < 0.6


def test_transformers_loads_it() -> None:
    transformers = pytest.importorskip("transformers")
    other = transformers.AutoModelForCausalLM.from_pretrained(FOLDER).float().eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    backbone = load_backbone("nano")
    ids = tokenizer(CHAT[0])["input_ids"]
    assert ids == backbone.tokenizer.encode([CHAT[0]])[0].tolist()
    with torch.no_grad():
        hidden = backbone.model(pack([np.array(ids)]))
        torch.testing.assert_close(
            backbone.model.next_token_logits(hidden),
            other(torch.tensor([ids])).logits[0],
            atol=1e-3,
            rtol=1e-4,
        )


def test_a_folder_of_the_same_name_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").mkdir()
    assert load_backbone("nano").pretrained
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_backbone("./nano")
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_backbone(tmp_path / "nano")


def test_card_and_page_are_made_from_the_facts() -> None:
    facts = json.loads((FOLDER / "pretraining.json").read_text(encoding="utf-8"))
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == model_card(facts)
    page = (Path(__file__).parents[2] / "docs" / "nano.md").read_text(encoding="utf-8")
    assert f"{facts['parameters'] / 1e6:.1f} million parameters" in page
