"""tokenizer.js and normalizer.js give the ids of the library `tokenizers`."""

from __future__ import annotations

import json
import random
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

import tamis.gpt2
from tamis.text.tokenizer import Tokenizer
from tests.export.web.conftest import LOAD_MS, page_folder
from tests.rows import messages

NANO = Path(tamis.gpt2.__file__).parent / "embedded" / "nano" / "tokenizer.json"
ENCODE = """([file, texts]) => {
  const tokenizer = new tamisText.Tokenizer(JSON.parse(file));
  return texts.map((text) => tokenizer.encode(text));
}"""
# Characters of Unicode 3.2: newer ones are normalized by the versions of the browser and of the
# library, which differ.
OLD = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.ucd_3_2_0.category(chr(c)) != "Cn"]
OLD = [sign for sign in OLD if unicodedata.category(sign) != "Cs"]
POOLS = [
    [chr(c) for c in range(32, 127)],
    list("aeoui nfr33 w1n ca$h 013 !@.-_*|%&#;x6 46 "),
    ["%66", "%72", "&#102;", "&#x65;", "e", "ree", " ", "x", "%", "&#"],
    list("аеорсхіѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧжя abcxyz "),
    [*(chr(c) for c in range(0x1F1E6, 0x1F200)), "A", "B", " "],
    list("\u200b\u00ad\u0301\u0308e\u0300 \u202e\ufeff\u0085\u00a0\u3000\t\n\r"),
    list("ｆｕｌｌ①②ⓐ🅰🄰ℱ𝒻𝓇𝑒𝖊 ﬁ²½"),
    list("你好مرحباשלוםтест สวัสดี हिन्दी"),
    ["'s", "'re", "'ll", "don't", "'", "S", " ", "<|endoftext|>"],
]


@cache
def texts(count: int = 1500, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    made = [text for _, text in messages()] + ["", " ", "\n", "a" * 3000, "f r e e  m o n e y"]
    for _ in range(count):
        parts = []
        for _ in range(draw.randint(1, 6)):
            pool = draw.choice(POOLS)
            parts += [draw.choice(pool) for _ in range(draw.randint(1, 20))]
        made.append("".join(parts))
    made += ["".join(draw.choice(OLD) for _ in range(24)) for _ in range(count // 3)]
    return made


def compare(page: Any, backend: Backend, sample: list[str]) -> None:
    backend.encode_special_tokens = True
    ours = [encoded.ids for encoded in backend.encode_batch(sample)]
    theirs = page.evaluate(ENCODE, [backend.to_str(), sample])
    wrong = [text for text, one, other in zip(sample, ours, theirs, strict=True) if one != other]
    assert wrong == [], ascii(wrong[:3])


@pytest.fixture(scope="module")
def page(browser: Any) -> Iterator[Any]:
    """One page for all tests of the module; it has Oniguruma."""
    found = browser.new_page()
    found.goto(page_folder("no_bos").as_uri() + "/index.html")
    found.locator("#status").get_by_text("Ready.").wait_for(timeout=LOAD_MS)
    yield found
    found.close()


@pytest.mark.parametrize("normalize", ["none", "nfkc", "robust"])
def test_the_ids_of_thousands_of_texts_are_those_of_python(normalize: str, page: Any) -> None:
    tokenizer = Tokenizer(Backend.from_file(str(NANO)))
    backend = tokenizer.prepared(add_bos=True, normalize=normalize).backend
    compare(page, backend, texts())


def trained() -> Backend:
    return Tokenizer.train([text for _, text in messages()], vocab_size=420).backend


def added(*tokens: AddedToken) -> Callable[[Backend], None]:
    def change(backend: Backend) -> None:
        for token in tokens:
            backend.add_tokens([token])

    return change


def set_normalizer(value: Any) -> Callable[[Backend], None]:
    return lambda backend: setattr(backend, "normalizer", value)


def set_splitter(value: Any) -> Callable[[Backend], None]:
    def change(backend: Backend) -> None:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [value, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )

    return change


def byte_level(**settings: Any) -> Callable[[Backend], None]:
    return lambda backend: setattr(backend, "pre_tokenizer", pre_tokenizers.ByteLevel(**settings))


def template(backend: Backend) -> None:
    end = ("<|endoftext|>", backend.token_to_id("<|endoftext|>"))
    backend.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|endoftext|> $A <|endoftext|>", special_tokens=[end]
            ),
        ]
    )


def cut_and_padded(direction: str) -> Callable[[Backend], None]:
    def change(backend: Backend) -> None:
        template(backend)
        backend.enable_truncation(12, direction=direction)
        backend.enable_padding(pad_id=3, pad_token="x", length=20, direction=direction)

    return change


VARIANTS: dict[str, Callable[[Backend], None]] = {
    "added tokens": added(AddedToken("prize"), AddedToken("pri", normalized=False)),
    "added tokens with blanks": added(
        AddedToken("call", lstrip=True), AddedToken("now", rstrip=True, normalized=False)
    ),
    "added words": added(AddedToken("you", single_word=True), AddedToken("-1*", lstrip=True)),
    "lowercase": set_normalizer(normalizers.Lowercase()),
    "accents": set_normalizer(
        normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.NFC()])
    ),
    "strip and prepend": set_normalizer(
        normalizers.Sequence([normalizers.Strip(), normalizers.Prepend("_ ")])
    ),
    "replace": set_normalizer(
        normalizers.Sequence(
            [
                normalizers.Replace("a", "$&"),
                normalizers.Replace(Regex(r"(?<=[a-z])(?=[aeiou]{2})|x+"), "-"),
            ]
        )
    ),
    "prefix space": byte_level(add_prefix_space=True),
    "no expression": byte_level(add_prefix_space=False, use_regex=False),
    "digits": set_splitter(pre_tokenizers.Digits(individual_digits=True)),
    "digits together": set_splitter(pre_tokenizers.Digits()),
    **{
        f"split {behavior}{' inverted' * invert}": set_splitter(
            pre_tokenizers.Split(Regex(r"[aeiou]+|\s"), behavior, invert)
        )
        for behavior in (
            "removed",
            "isolated",
            "merged_with_previous",
            "merged_with_next",
            "contiguous",
        )
        for invert in (False, True)
    },
    "split at a text": set_splitter(pre_tokenizers.Split(".", "isolated")),
    "template": template,
    "cut and padded": cut_and_padded("right"),
    "cut and padded at the left": cut_and_padded("left"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_part_that_the_page_accepts_is_that_of_the_library(variant: str, page: Any) -> None:
    from tamis.export.web.tokenizer_support import check_tokenizer

    backend = trained()
    VARIANTS[variant](backend)
    check_tokenizer(json.loads(backend.to_str()))
    compare(page, backend, texts(250, seed=2))


@pytest.mark.parametrize(("unknown", "fused"), [("!", False), ("!", True), (None, False)])
def test_bytes_without_a_token_are_unknown(unknown: str | None, fused: bool, page: Any) -> None:
    whole = json.loads(trained().to_str())["model"]
    vocabulary = {name: id for name, id in whole["vocab"].items() if name not in "éab"}
    merges = [
        (left, right)
        for left, right in whole["merges"]
        if {left, right, left + right} <= vocabulary.keys()
    ]
    backend = Backend(models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=fused))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    compare(page, backend, texts(250, seed=3))


def test_whole_words_of_the_vocabulary_need_no_merge(page: Any) -> None:
    whole = json.loads(trained().to_str())
    whole["model"]["ignore_merges"] = True
    whole["model"]["merges"] = whole["model"]["merges"][::3]
    whole["model"]["merges"] = [
        merge for merge in whole["model"]["merges"] if len("".join(merge)) == 2
    ]
    compare(page, Backend.from_str(json.dumps(whole)), texts(250, seed=4))


def test_a_lone_surrogate_is_read_as_the_replacement_character(page: Any) -> None:
    backend = trained()
    found = page.evaluate(
        "file => new tamisText.Tokenizer(JSON.parse(file)).encode('a\\ud800b')", backend.to_str()
    )
    assert found == backend.encode("a\ufffdb").ids
