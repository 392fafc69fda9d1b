"""The hardened normaliser: what it undoes, also of disguises that no attack of the suite uses, what
it leaves, and all in transformers.
"""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tamis.text.confusables import exact, loose
from tamis.text.normalizer import robust_normalizer
from tamis.text.tokenizer import Tokenizer

CLEAN = "Free entry: call now, claim your prize of £1000 on 08712345678 before 10:30"


@pytest.fixture(scope="session")
def harden() -> Callable[[str], str]:
    normalizer = robust_normalizer()
    return lambda text: str(normalizer.normalize_str(text))


UNDONE = {
    "full-width": ("Ｆｒｅｅ ｅｎｔｒｙ ｎｏｗ", "Free entry now"),
    "mathematical letters": ("𝐅𝐫𝐞𝐞 𝓮𝓷𝓽𝓻𝔂 𝚗𝚘𝚠", "Free entry now"),
    "circled, squared and negative letters": ("ⓕⓡⓔⓔ 🄵🅁🄴🄴 🅕🅡🅔🅔 🅵🆁🅴🅴", "free FREE FREE FREE"),
    "Cyrillic in words": ("Frее еntrу nоw", "Free entry now"),
    "Greek in words": ("Frεε εntrγ nοω", "Free entry now"),
    "words all of exact look-alikes": ("СОР рау НОРЕ", "COP pay HOPE"),
    "all letters by shape, beside a mixed word": ("тнт сап wе ωιη", "tht can we win"),
    "a lone look-alike": ("win а prize", "win a prize"),
    "two foreign alphabets in a word": ("ρаιօ", "paio"),
    "Armenian, Cherokee, Lisu, Coptic, syllabics": (
        "frեe ᎬᏙᎬᎡ ꓝꓣꓰꓰ ⲥⲁsh ᖴᖇEE",
        "frte EVER FREE cash FREE",
    ),
    "small capitals and phonetic letters": ("ꜰʀᴇᴇ ᴇɴᴛʀʏ ƒrǝɘ", "free entry free"),
    "turned into other letters by shape": ("FЯEE шin пow", "FREE win now"),
    "marks, composed and piled up": ("f̶r̷é̵ë cãśh w̲i̲n̲", "free cash win"),
    "invisible characters": (
        "f\u200br\u2060e\ufeffe\u00ad e\u034fn\u180et\ufe0fr\U000e0041y n\u2062o\u115fw",
        "free entry now",
    ),
    "invisible characters that are no format characters": (
        "f\u3164r\uffa0e\u2800e n\x01o\x7fw",
        "free now",
    ),
    "an accent parted from its letter": ("u\u200b\u0308 r there", "ü r there"),
    "letters set apart": ("f r e e  now", "free  now"),
    "letters set apart by any sign": (
        "f.r.e.e f-r-e-e f/r/e/e f•r•e•e f . r . e . e f😀r😀e😀e w.i.n",
        "free free free free free free win",
    ),
    "letters set apart and replaced": ("f r 3 е", "free"),
    "split words": (
        "fr-ee mob-ile fr|ee fr_ee gua~ranteed exclu*sive wi·n",
        "free mobile free free guaranteed exclusive win",
    ),
    "leetspeak": (
        "fr33 w1n pr1z3! m0b1le c4ll ca5h 0nly t3xt n0w",
        "free win prize! mobile call cash only text now",
    ),
    "leetspeak in capitals": ("FR33 W1NNER PR1ZE", "FREE WINNER PRIZE"),
    "signs for letters": ("c@sh ca$h $ave w!n pr!ze win$", "cash cash save win prize wins"),
    "one disguise on another": ("ｆ\u200br33 с4ll", "free call"),
    "regional indicators that cannot be flags": ("🇫🇷🇪 🇪🇳🇹🇷🇾", "FRE ENTRY"),
    "character references": ("&#70;r&#x65;&#0101; e&#110;try", "Free entry"),
    "percent codes in words": ("%46r%65e e%6Etry, %69t'%73 %61 win", "Free entry, it's a win"),
    "letters one blank apart between wider gaps": ("i s   f r e e   n o w", "is   free   now"),
    "a hyphen at the end of a line": ("guaran-\nteed", "guaranteed"),
    "letters in parentheses": ("⒡⒭⒠⒠ 🄝🄞🄦", "free NOW"),
    "lone Greek letters beside a mixed word": ("Frεε fοr υ, ι win", "Free for u, i win"),
    "the lunate sigma": ("ϲash ϹASH", "cash CASH"),
}
LEFT = [
    "Привет, как дела? Мы с папой у озера, а сор и оса там же",
    "Мы купили её вчера, там хор и сор",
    "Η ζωή είναι ωραία και ο ήλιος λάμπει· το νερό α β γ",
    "Բարեւ, ինչպես ես",
    "שלום עולם",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "한국어 문장 日本語の文 iPhoneを買う 中文T恤",
    "ok b4 u go, b4u B4UGO: gr8 2nite 4u l8r m8 some1 sum1 2moro w8 h8 4get up4 c u 2 l8",
    "1st 2nd 3rd 4th 5pm 7ish 10am 30mins 40gb £1000 £1.50 $5 US$ 20 07123 456789 +447123456789 "
    "10:30 24/7 mp3 1x150p norm150p",
    "SW7 3SS W1J6HL WC1N3XX EC4A 1AA PO19 2EZ",
    "T-Mobile Coca-Cola house-keeping well-known today.Then home.dont I.ll e.g. i.e. 3-5 10-12",
    "me@site.com http://a-b.co.uk/x_y?p=1&q=a www.percent-real.com/my_page",
    "it's u & me, rock'n'roll, and/or R&B; *wow* _yes_ ~ ^^ :-) <3",
    "ü r there? Ü ok",
    "I go to A B C",
    "👍🏽 🇫🇷 🎉 🇫🇷🇩🇪",
    "50%50 off %50 100% &lt;#&gt; &#38; &amp;#70; R&B Jean-\nPaul",
    "",
    " \n\t ",
]


@pytest.mark.parametrize("kind", UNDONE)
def test_a_disguise_is_undone(harden: Callable[[str], str], kind: str) -> None:
    disguised, plain = UNDONE[kind]
    assert harden(disguised) == plain


@pytest.mark.parametrize("text", LEFT)
def test_ordinary_writing_stays_as_it_is(harden: Callable[[str], str], text: str) -> None:
    assert harden(text) == unicodedata.normalize("NFKC", text)


def test_every_default_ignorable_character_between_letters_disappears(
    harden: Callable[[str], str],
) -> None:
    # Unicode 15, DerivedCoreProperties, Default_Ignorable_Code_Point; apart from the tables of the
    # module.
    ranges = (
        "00AD 034F 061C 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F 3164 "
        "FE00-FE0F FEFF FFA0"
    )
    ranges += " 1BCA0-1BCA3 1D173-1D17A E0000-E0FFF"
    for part in ranges.split():
        low, _, high = part.partition("-")
        for code in {
            int(low, 16),
            int(high or low, 16),
            (int(low, 16) + int(high or low, 16)) // 2,
        }:
            # Unassigned ones need no category: U+2065 and the like.
            if unicodedata.category(chr(code)) != "Cn" or code >= 0xE0000:
                assert harden(f"fr{chr(code)}ee") == "free", hex(code)


def test_every_compatibility_form_of_a_latin_letter_is_the_letter(
    harden: Callable[[str], str],
) -> None:
    letters: list[str] = []
    for code in [*range(0x1D400, 0x1D6A4), *range(0x24B6, 0x24EA), *range(0xFF21, 0xFF5B)]:
        plain = unicodedata.normalize("NFKC", chr(code))
        if plain.isascii() and plain.isalpha():
            letters.append(plain)
            assert harden(f"x{chr(code)}y") == f"x{plain}y", hex(code)
    assert len(letters) > 700


def test_every_look_alike_is_folded_inside_a_latin_word_and_none_is_ascii(
    harden: Callable[[str], str],
) -> None:
    tables = exact() | loose()
    assert not exact().keys() & loose().keys() and len(tables) > 800
    for letter, target in tables.items():
        assert (
            not letter.isascii()
            and target.isascii()
            and target.isalpha()
            and len(letter) == len(target) == 1
        )
        if unicodedata.normalize("NFKC", letter) == letter == unicodedata.normalize("NFD", letter):
            assert harden(f"xx{letter}xx") == f"xx{target}xx", hex(ord(letter))


@given(st.sampled_from(sorted(exact())), st.sampled_from("жюыфλψδ"))
@settings(max_examples=60)
def test_a_text_with_a_letter_of_its_own_alphabet_keeps_words_of_look_alikes(
    letter: str, genuine: str
) -> None:
    harden = robust_normalizer().normalize_str
    text = unicodedata.normalize(
        "NFC", unicodedata.normalize("NFKC", f"{letter}{letter} {genuine}{genuine}")
    )
    assert harden(text) == text


ODD = (
    "aAbBeoxZ "
    "wW.-_*|~!@$€=+/'0134572869\u0301\u0336\u200bаОергяαολéüÜß\ufdd0\ufdd1\ufdd2\n\u0131🅰Ⓐｆ가\u1160юᎬϲ\x92\x01\u3164"
)


@given(
    st.one_of(
        st.text(st.sampled_from(ODD), max_size=23),
        st.text(st.sampled_from("ab!@$-_0134 .é"), max_size=13),
        st.text(st.sampled_from("%&#;xX041Aaf5 \n-🇦🇿"), max_size=17),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=19),
    )
)
@settings(max_examples=900)
@example("ο̶").via("a lone look-alike with a mark")
@example("🅰Aα").via("a sign that is a letter")
@example("A00α").via("a digit between alphabets")
@example("@@Ü@@@@Ü").via("a sign that is separator and letter")
@example("A€$A").via("signs beside each other")
def test_hardening_twice_is_hardening_once(text: str) -> None:
    once = _NORMALIZER.normalize_str(text)
    assert _NORMALIZER.normalize_str(once) == once
    assert not set("\ufdd0\ufdd1\ufdd2") & set(once)  # the marks of the steps never come out
    assert unicodedata.is_normalized("NFC", once)


_NORMALIZER = robust_normalizer()


@given(st.text(st.sampled_from("abc ,.?'\n"), max_size=40))
def test_a_text_of_plain_words_keeps_its_words(text: str) -> None:
    # Letters set apart are the only thing that can be undone here.
    assert _NORMALIZER.normalize_str(text).translate(
        str.maketrans("", "", " ,.?'")
    ) == text.translate(str.maketrans("", "", " ,.?'"))


def test_long_texts_of_any_kind_take_time_linear_in_their_length() -> None:
    # Steps that look around without bound take half an hour here, not two seconds; of the
    # processor's time, whatever else runs.
    start = time.process_time()
    for piece in (
        "a",
        "аb",
        "о ",
        "a-",
        "a.",
        "3a",
        "a!",
        "é",
        "$",
        "a_",
        "¬",
        "п",
        "ж ",
        "%41",
        "&#65;",
        "🇦",
        "a b  ",
        "a-\n",
    ):
        text = _NORMALIZER.normalize_str(piece * (30_000 // len(piece)))
        assert _NORMALIZER.normalize_str(text) == text
        assert time.process_time() - start < 30, piece


def test_transformers_hardens_equally_and_the_folder_keeps_it(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    small = Tokenizer.train([CLEAN] * 5 + LEFT, vocab_size=337)
    ours = small.prepared(add_bos=True, normalize="robust")
    ours.save(tmp_path, max_length=97)
    texts = [*(disguised for disguised, _ in UNDONE.values()), *LEFT, CLEAN, "<|endoftext|> fr33"]
    expected = [ids.tolist() for ids in ours.encode(texts)]
    assert [ids.tolist() for ids in Tokenizer.from_folder(tmp_path).encode(texts)] == expected
    theirs: Any = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(texts)["input_ids"] == expected
    plain = [plain for _, plain in UNDONE.values()]
    assert expected[: len(plain)] == [
        ids.tolist() for ids in small.prepared(add_bos=True).encode(plain)
    ]
    assert (
        Tokenizer.from_folder(tmp_path).fingerprint
        == ours.fingerprint
        != small.prepared(add_bos=True, normalize="nfkc").fingerprint
    )
    assert (
        json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))["normalizer"]["type"]
        == "Sequence"
    )


def test_the_steps_are_the_same_each_time() -> None:
    tokenizer = Tokenizer.train([CLEAN], vocab_size=263)
    assert (
        tokenizer.prepared(add_bos=False, normalize="robust").fingerprint
        == tokenizer.prepared(add_bos=False, normalize="robust").fingerprint
    )


def test_clean_messages_hardly_change(shared_data: Path) -> None:
    path = shared_data / "sms-spam" / "SMSSpamCollection"
    if not path.is_file():
        pytest.skip("the SMS Spam Collection is not beside this checkout")
    rows = [line.split("\t", 1) for line in path.read_text("utf-8").split("\n") if line]
    changed = {
        label: [_NORMALIZER.normalize_str(t) != t for own, t in rows if own == label]
        for label in ("ham", "spam")
    }
    assert sum(changed["ham"]) / len(changed["ham"]) < 0.02
    assert sum(changed["spam"]) / len(changed["spam"]) < 0.13
