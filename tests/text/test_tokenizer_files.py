"""Tokenizer files against transformers' AutoTokenizer: random folders with fast and slow files get
the same ids; damaged and unknown ones are refused.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from transformers import AutoTokenizer

from tamis import CheckpointError
from tamis.text.tokenizer import Tokenizer
from tamis.text.tokenizer_files import TOKENIZER_FILES, has_tokenizer

END = "<|endoftext|>"
TEXTS = [
    "Visit <url> now",
    "<url>",
    "  <url>  x",
    "a<url>b",
    "call <phone> <phone>",
    f"{END} hi",
    f"hi {END}",
    f"hi{END}{END}",
    "[PAD] x [PAD]",
    "<URL>  <Url> café ﬁ",
    "foo_url url",
    "<mask> </s> <s>",
    "ＨＥＬＬＯ World <new>word",
]
NAMES = ("<url>", "<phone>", "[PAD]", "<mask>", "<x>", "<new>", "url")


@cache
def plain() -> dict[str, Any]:
    """A byte-level BPE as a `tokenizer.json`."""
    rows = ["see <url> now for the cash prize", "call <phone> today winner", "hello there"] * 5
    whole: dict[str, Any] = json.loads(Tokenizer.train(rows, vocab_size=360).backend.to_str())
    return whole


def written(folder: Path, **files: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
    return folder


def pieces() -> dict[str, Any]:
    model = plain()["model"]
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    return {"vocab__json": model["vocab"], "merges__txt": f"#version: 0.2\n{merges}\n"}


def random_folder(folder: Path, seed: int) -> Path:
    """Files as some version of transformers might have written them."""
    random = Random(seed)

    def perhaps(share: float) -> bool:
        return random.random() < share

    def token(content: str) -> dict[str, Any]:
        flags = ("lstrip", "rstrip", "single_word", "normalized", "special")
        return {"content": content} | {flag: perhaps(0.4) for flag in flags}

    whole = json.loads(json.dumps(plain()))
    start = len(whole["model"]["vocab"])
    tokens = {
        start + n: token(name) for n, name in enumerate(random.sample(NAMES, random.randrange(5)))
    }
    fast = perhaps(0.6)
    config: dict[str, Any] = {}
    files: dict[str, Any] = {"config__json": {"model_type": "gpt2"}}
    classes = ["GPT2Tokenizer", "GPT2TokenizerFast"]
    if perhaps(0.85):
        generic = ["PreTrainedTokenizerFast", "TokenizersBackend"]
        config["tokenizer_class"] = random.choice(classes + generic * fast)
    for key, share in (("add_prefix_space", 0.3), ("add_bos_token", 0.3), ("add_eos_token", 0.2)):
        if perhaps(share):
            config[key] = perhaps(0.7)
    if perhaps(0.2):
        config["split_special_tokens"] = True
    if perhaps(0.5):
        config |= {f"{part}_token": END for part in ("bos", "eos", "unk")}
    if fast:
        if perhaps(0.3):
            whole["normalizer"] = {"type": random.choice(["NFKC", "Lowercase"])}
        if perhaps(0.8):
            whole["added_tokens"] += [{"id": number, **one} for number, one in tokens.items()]
        files["tokenizer__json"] = whole
    else:
        files |= pieces()
    if perhaps(0.4):
        config["added_tokens_decoder"] = {str(number): one for number, one in tokens.items()}
    else:
        if tokens and perhaps(0.7):
            files["added_tokens__json"] = {one["content"]: n for n, one in tokens.items()}
        if perhaps(0.5):
            named: dict[str, Any] = {"bos_token": END, "eos_token": END}
            if perhaps(0.5):
                named["pad_token"] = {k: v for k, v in token("[PAD]").items() if k != "special"}
            if perhaps(0.5):
                named["additional_special_tokens"] = ["<url>"]
            files["special_tokens_map__json"] = named
    if perhaps(0.3):
        config["pad_token"] = random.choice(["[PAD]", END])
    if perhaps(0.3):
        key = random.choice(["extra_special_tokens", "additional_special_tokens"])
        config[key] = random.sample(["<url>", "<phone>", "<s>"], 2)
    if perhaps(0.1):
        config["extra_special_tokens"] = {"url_token": "<url>"}
    return written(folder, **files, tokenizer_config__json=config)


def ids_of(folder: Path) -> list[list[int]]:
    tokenizer = Tokenizer.from_folder(folder, as_saved=True).without_padding()
    return [ids.tolist() for ids in tokenizer.encode(TEXTS)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batch", range(4))
def test_random_folders_give_the_ids_of_transformers(batch: int, tmp_path: Path) -> None:
    honoured = 0
    for seed in range(40 * batch, 40 * batch + 40):
        folder = random_folder(tmp_path / str(seed), seed)
        theirs = AutoTokenizer.from_pretrained(folder)
        expected = [theirs(text)["input_ids"] for text in TEXTS]
        assert ids_of(folder) == expected, seed
        honoured += ids_of(folder) != [
            ids.tolist() for ids in Tokenizer.from_folder(folder).encode(TEXTS)
        ]
    assert honoured > 10  # in many folders it matters how special tokens are read


def test_a_tamis_folder_reads_special_tokens_as_text(tmp_path: Path) -> None:
    written(tmp_path / "own", tokenizer__json=plain())
    own = Tokenizer.from_folder(tmp_path / "own").prepared(add_bos=True)
    own.save(tmp_path / "saved", max_length=64)
    again = Tokenizer.from_folder(tmp_path / "saved", as_saved=True)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved")
    for text in TEXTS:
        assert again.encode([text])[0].tolist() == theirs(text)["input_ids"]
        assert END not in again.backend.encode(text).tokens[1:]


def test_padding_that_a_text_spells_is_dropped_at_its_end_only(tmp_path: Path) -> None:
    folder = written(tmp_path, tokenizer__json=plain())
    tokenizer = Tokenizer.from_folder(folder, as_saved=True)
    end = tokenizer.end_of_text
    dropping = tokenizer.dropping(end)
    for text, kept in (("hi", 0), (f"hi{END}{END}", 2), (f"{END}hi", 0), (f"{END}{END}", 1)):
        whole, shorter = (t.encode([text])[0].tolist() for t in (tokenizer, dropping))
        assert shorter == whole[: len(whole) - kept], text
        assert len(dropping.offsets(text)) == len(shorter)
    assert tokenizer.dropped is None and dropping.fingerprint != tokenizer.fingerprint
    assert dropping.offsets("") == [(0, 0)]


def test_special_tokens_beyond_the_embedding_are_text(tmp_path: Path) -> None:
    size = len(plain()["model"]["vocab"])
    folder = written(
        tmp_path, tokenizer__json=plain(), tokenizer_config__json={"pad_token": "[PAD]"}
    )
    whole = Tokenizer.from_folder(folder, as_saved=True)
    assert whole.size == size + 1 and size in whole.encode(["a [PAD]"])[0]
    within = whole.within(size)
    assert within.size == size and max(within.encode(["a [PAD]"])[0]) < size
    assert whole.within(size + 1) is whole


def test_a_leading_token_is_told_from_one_at_the_end(tmp_path: Path) -> None:
    for name, config in (("bos", {"add_bos_token": True}), ("eos", {"add_eos_token": True})):
        folder = written(tmp_path / name, **pieces(), tokenizer_config__json=config)
        assert Tokenizer.from_folder(folder, as_saved=True).begins == (name == "bos")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "has no tokenizer: expected tokenizer.json or vocab.json with merges.txt or"),
        ({"tokenizer__json": "{"}, "the tokenizer files cannot be read"),
        ({"tokenizer__json": "[]"}, "the tokenizer files cannot be read"),
        ({"tokenizer__json": {"model": {"type": "BPE"}}}, "the tokenizer files cannot be read"),
        (
            {"vocab__txt": "a\nb", "tokenizer_config__json": {"tokenizer_class": "BertTokenizer"}},
            r"its tokenizer is a BertTokenizer, which is read from tokenizer\.json, and that file",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_refused(files: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=words):
        Tokenizer.from_folder(written(tmp_path / "folder", **files), as_saved=True)


@pytest.mark.parametrize(
    "config",
    ["{", [], {"added_tokens_decoder": {"1": "<url>"}}, {"added_tokens_decoder": {"x": {}}}],
    ids=str,
)
def test_damaged_settings_are_refused(config: Any, tmp_path: Path) -> None:
    folder = written(tmp_path, **pieces(), tokenizer_config__json=config)
    with pytest.raises(CheckpointError):
        Tokenizer.from_folder(folder, as_saved=True)


def test_the_names_of_the_files(tmp_path: Path) -> None:
    assert not has_tokenizer(tmp_path)
    written(tmp_path, **pieces())
    assert has_tokenizer(tmp_path)
    assert {"tokenizer.json", "added_tokens.json", "special_tokens_map.json"} < set(TOKENIZER_FILES)
