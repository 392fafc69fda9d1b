"""Small corpora written by hand: forms and files, caps and cuts, what is kept out or held out,
passes, the same texts for a seed.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.data.tables import read_table
from tamis.errors import DataError
from tamis.training.pretraining.corpus import Corpus, find_sources, read_corpus
from tamis.training.pretraining.decontamination import Excluded, messages_of
from tamis.training.pretraining.recipe import CorpusSettings, SourceSettings, read_pretrain_recipe

PLAIN: dict[str, Any] = {"held_out_share": 0.0, "single_share": 1.0}
ROOT = Path(__file__).resolve().parents[3]


def read(
    folder: Path,
    text: str = "",
    *,
    excluded: tuple[str, ...] = (),
    seed: int = 42,
    source: dict[str, Any] | None = None,
    **settings: Any,
) -> Corpus:
    """The corpus of one file with this text."""
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text(text, encoding="utf-8")
    sources = {} if source is None else {"a": {"file": "a.txt", **source}}
    wanted = CorpusSettings(**(PLAIN | settings | {"sources": sources}))
    return read_corpus([folder], wanted, excluded=Excluded(excluded), seed=seed)


def numbered(count: int, *, documents: int = 1) -> str:
    """Documents of `count` lines of three words, none like another."""
    names = [
        "ab"[i // 676 % 2] + chr(97 + i // 26 % 26) + chr(97 + i % 26)
        for i in range(count * documents)
    ]
    lines = [f"{name} goes home" for name in names]
    return (
        "\n\n".join("\n".join(lines[d * count : (d + 1) * count]) for d in range(documents)) + "\n"
    )


# Files


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.txt", bytes),
        ("a.txt.gz", gzip.compress),
        ("a.txt.bz2", bz2.compress),
        ("a.txt.xz", lzma.compress),
    ],
)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_packed_files_read_like_plain_ones(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes], bom: bytes
) -> None:
    (tmp_path / name).write_bytes(pack(bom + "Hello thére\r\nOne  more\rAnd the last".encode()))
    corpus = read_corpus([tmp_path], CorpusSettings(**PLAIN))
    assert (corpus.texts, corpus.names) == (["Hello thére", "One more", "And the last"], [name])
    assert read_corpus([tmp_path / name], CorpusSettings(**PLAIN)).texts == corpus.texts


def test_a_folder_gives_its_text_files_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.md", "d.txt.bak", "e.txt.zip", "txt"):
        (tmp_path / name).write_text(f"this is {name[0]}\n", encoding="utf-8")
    (tmp_path / "inner.txt").mkdir()
    corpus = read_corpus([tmp_path], CorpusSettings(**PLAIN))
    assert (corpus.names, corpus.texts) == (["a.txt", "b.txt"], ["this is a", "this is b"])
    assert read_corpus([tmp_path / "c.md"], CorpusSettings(**PLAIN)).texts == ["this is c"], (
        "a file that is named is read"
    )


def test_files_of_one_name_are_two_sources_and_a_file_given_twice_is_one(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(f"this is {folder}\n", encoding="utf-8")
    found = find_sources(
        [tmp_path / "x", tmp_path / "y", tmp_path / "y" / "a.txt"], CorpusSettings()
    )
    assert [file for file, _ in found.values()] == [
        tmp_path / "x" / "a.txt",
        tmp_path / "y" / "a.txt",
    ]


@pytest.mark.parametrize("lines_before", [0, 5000])
def test_what_is_not_utf8_is_an_error_that_names_the_line(
    tmp_path: Path, lines_before: int
) -> None:
    data = b"a line of text\n" * lines_before + "fine, é\n".encode() + b"caf\xe9 here\nmore\n"
    for name, packed in (("a.txt", data), ("b.txt.xz", lzma.compress(data))):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(
            DataError,
            match=rf"{name} is not UTF-8 \(.+ in line {lines_before + 2}\); convert it to UTF-8",
        ):
            read_corpus([tmp_path / name], CorpusSettings())


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.txt.gz", gzip.compress), ("a.txt.bz2", bz2.compress), ("a.txt.xz", lzma.compress)],
)
@pytest.mark.parametrize("damage", ["cut", "not packed", "flipped"])
def test_a_damaged_file_is_an_error_that_names_it(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes], damage: str
) -> None:
    whole = pack("".join(f"line {i} of {i * i}\n" for i in range(999)).encode())
    middle = len(whole) // 2
    flipped = (
        whole[:middle]
        + bytes(255 - byte for byte in whole[middle : middle + 40])
        + whole[middle + 40 :]
    )
    (tmp_path / name).write_bytes(
        {"cut": whole[:-15], "not packed": b"plain text\n", "flipped": flipped}[damage]
    )
    with pytest.raises(DataError, match=rf"{name} (cannot be read|is not UTF-8)"):
        read_corpus([tmp_path], CorpusSettings())


def test_places_that_lead_nowhere_are_errors(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"corpus .*nowhere does not exist; give text files, or folders of them"
    ):
        read_corpus([tmp_path / "nowhere"], CorpusSettings())
    (tmp_path / "notes.md").write_text("hello", encoding="utf-8")
    with pytest.raises(
        DataError, match=rf"no text file \(\.txt, also \.gz, \.bz2, \.xz\) in {tmp_path}"
    ):
        read_corpus([tmp_path], CorpusSettings())
    (tmp_path / "a.txt").write_text("\n ...\n", encoding="utf-8")
    with pytest.raises(DataError, match="no training text is left"):
        read_corpus([tmp_path], CorpusSettings())


def test_a_file_that_the_recipe_names_and_nobody_has_is_an_error_that_says_where_to_get_it(
    tmp_path: Path,
) -> None:
    settings = CorpusSettings(
        sources={"chats": SourceSettings(file="chats.txt.xz", upstream="example.org/chats")}
    )
    message = (
        rf"source chats: chats\.txt\.xz is not in {tmp_path}; get it from example\.org/chats, "
        r"or remove the source from the recipe"
    )
    with pytest.raises(DataError, match=message):
        read_corpus([tmp_path], settings)


def test_a_recipe_finds_its_files_in_any_folder_or_among_files_given(tmp_path: Path) -> None:
    for folder, name in (("x", "one.txt"), ("y", "two.txt"), ("y", "not named.txt")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(f"this is {name}\n", encoding="utf-8")
    settings = CorpusSettings(
        **PLAIN, sources={n: SourceSettings(file=f"{n}.txt") for n in ("two", "one")}
    )
    for places in ([tmp_path / "x", tmp_path / "y"], [tmp_path / "x" / "one.txt", tmp_path / "y"]):
        corpus = read_corpus(places, settings)
        assert (corpus.names, corpus.texts, corpus.source.tolist()) == (
            ["two", "one"],
            ["this is two.txt", "this is one.txt"],
            [0, 1],
        )


# Documents


LINES = "one\ntwo\n\nthree\nfour\n"


@pytest.mark.parametrize(
    ("form", "text", "documents"),
    [
        ("flat", LINES, ["one", "two", "three", "four"]),
        ("doc", LINES, ["one\ntwo", "three\nfour"]),
        ("auto", LINES, ["one", "two", "three", "four"]),
        ("auto", f"{LINES}\nfive\nsix\n", ["one\ntwo", "three\nfour", "five\nsix"]),
        ("doc", "one\ntwo\n", ["one\ntwo"]),
        ("auto", "one\ntwo\n", ["one", "two"]),
        ("auto", "one\ntwo\n\n \n", ["one", "two"]),
        ("auto", "\n\none\ntwo\n", ["one", "two"]),
        ("auto", "\ufeff\n\none\ntwo\n", ["one", "two"]),
        ("auto", "\n\none\n \t\n\ntwo\nthree\n\n", ["one", "two", "three"]),
        ("doc", "\n\none\n \t\n\ntwo\nthree\n\n", ["one", "two\nthree"]),
    ],
)
def test_a_document_ends_at_a_blank_line_where_the_form_says_so(
    tmp_path: Path, form: str, text: str, documents: list[str]
) -> None:
    assert read(tmp_path, text, source={"form": form}, single_share=0.0).texts == documents


@pytest.mark.parametrize("strays", [1, 2, 3, 4])
def test_a_stray_blank_line_makes_no_documents_of_a_flat_file(tmp_path: Path, strays: int) -> None:
    lines = numbered(260).splitlines()
    text = "\n".join(
        line + "\n" * (i % 52 == 40 and i // 52 < strays) for i, line in enumerate(lines)
    )
    assert text.count("\n\n") == strays
    corpus = read(tmp_path, text, single_share=0.0, held_out_share=0.01)
    assert len(corpus.texts) == 257 and len(corpus.held_out) == 3
    assert set(corpus.texts) | set(corpus.held_out) == set(lines)


def test_single_lines_and_joined_ones_come_in_the_share_asked_for(tmp_path: Path) -> None:
    text = numbered(676, documents=2)
    assert read(tmp_path, text).texts == [line for line in text.split("\n") if line]
    mixed = read(tmp_path, text, single_share=0.6, longest_words=50, source={"form": "doc"})
    joined = [t for t in mixed.texts if "\n" in t]
    assert "\n".join(mixed.texts) == text.replace("\n\n", "\n").strip(), "no line is lost or moved"
    share = 1 - len(joined) / len(mixed.texts)
    assert abs(share - 0.6) < 4 * (0.24 / len(mixed.texts)) ** 0.5, share
    words = [len(t.split()) for t in joined[:-1]]
    # A length between 16 and 50 is drawn; as many lines of three words as fit are joined.
    assert min(words) >= 15 and max(words) <= 48 and len(set(words)) >= 10


def test_lines_of_two_documents_are_never_joined(tmp_path: Path) -> None:
    text = numbered(4, documents=100)
    documents = [set(document.split("\n")) for document in text.strip().split("\n\n")]
    corpus = read(tmp_path, text, single_share=0.3, source={"form": "doc"})
    assert all(any(set(t.split("\n")) <= document for document in documents) for t in corpus.texts)
    assert sum("\n" in t for t in corpus.texts) > 50


def test_no_text_is_longer_than_the_longest_and_no_word_is_lost(tmp_path: Path) -> None:
    lines = [
        " ".join(f"w{i}x{j}{'.' if j % 5 == 4 else ''}" for j in range(1 + 7 * i % 40))
        for i in range(60)
    ]
    for longest in (9, 20):
        corpus = read(
            tmp_path,
            "\n".join(lines),
            source={"form": "doc"},
            longest_words=longest,
            single_share=0.5,
        )
        assert max(len(t.split()) for t in corpus.texts) <= longest
        assert " ".join(" ".join(corpus.texts).split()) == " ".join(lines)


def test_a_source_is_cleaned_as_its_recipe_says(tmp_path: Path) -> None:
    text = "##  Hello , **you**\u00a0!\n[a](b) , c\n ... \n"
    assert read(tmp_path, text).texts == ["## Hello , **you** !", "[a](b) , c"]
    assert read(tmp_path, text, source={"clean": ["markdown"]}).texts == ["Hello , you !", "a , c"]
    assert read(tmp_path, text, source={"clean": ["markdown", "spacing"]}).texts == [
        "Hello, you!",
        "a, c",
    ]
    for order, clean in ((["markdown", "spacing"], "well."), (["spacing", "markdown"], "well .")):
        assert read(tmp_path, "well [.](a)\n", source={"clean": order}).texts == [clean]


# Repeats and exclusion


def test_a_line_is_kept_so_often_and_no_more_by_its_normal_form(tmp_path: Path) -> None:
    lines = [
        "Thank you!",
        "thank  you",
        "THANK YOU.",
        "ok",
        "Thank you",
        "call 12",
        "Call 99",
        "call 10!",
        "ok",
        "fine",
    ]
    corpus = read(tmp_path, "\n".join(lines), repeats=2)
    assert corpus.texts == ["Thank you!", "thank you", "ok", "call 12", "Call 99", "ok", "fine"]
    assert (corpus.counts["a.txt"].lines, corpus.counts["a.txt"].repeated) == (10, 3)
    assert read(tmp_path, "\n".join(lines), repeats=5).counts["a.txt"].repeated == 0


def test_repeats_are_counted_in_each_source_by_itself(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("hello\n" * 3, encoding="utf-8")
    assert read_corpus([tmp_path], CorpusSettings(**PLAIN, repeats=2)).source.tolist() == [
        0,
        0,
        1,
        1,
    ]


LONG = "win a prize of 1000 pounds when you call us today"


def test_messages_kept_out_are_dropped_and_counted(tmp_path: Path) -> None:
    lines = [
        "hello there",
        "See you at 5!",
        "he said win a prize of 2000 pounds when you call us today, and left",
        "see you at 5 or 6",
        "bye",
    ]
    corpus = read(tmp_path, "\n".join(lines), excluded=("see you at 7", LONG))
    assert corpus.texts == ["hello there", "see you at 5 or 6", "bye"]
    counts = {"lines": 5, "repeated": 0, "excluded": 2, "texts": 3, "words": 9, "held_out": 0}
    assert asdict(corpus.counts["a.txt"]) == counts


def test_a_message_is_found_before_a_line_is_cut_and_in_the_parts_after(tmp_path: Path) -> None:
    line = f"to be read aloud: {LONG} or tomorrow"
    assert read(tmp_path, f"{line}\nother", excluded=(LONG,), longest_words=6).texts == ["other"]
    parts = read(
        tmp_path,
        "First of all. See you at five. And the rest.",
        excluded=("see you at five",),
        longest_words=4,
    )
    assert parts.texts == ["First of all.", "And the rest."] and parts.counts["a.txt"].excluded == 1


@pytest.mark.parametrize(
    "message", ["how are you I am fine", "and she said how are you I am fine thank you very much"]
)
def test_joined_lines_that_make_up_a_message_are_dropped_and_counted(
    tmp_path: Path, message: str
) -> None:
    lines = (
        "And she said\nhow are you?\nI am fine.\nThank you very much"
        if "she" in message
        else "how are you?\nI am fine."
    )
    text = f"{lines}\n\nanother document\nof two lines\n"
    form = {"form": "doc"}
    whole = read(tmp_path, text, single_share=0.0, source=form)
    kept_out = read(tmp_path, text, single_share=0.0, source=form, excluded=(message,))
    assert whole.texts == [lines, "another document\nof two lines"]
    assert kept_out.texts == whole.texts[1:]
    assert (
        kept_out.counts["a"].excluded,
        kept_out.counts["a"].texts,
        kept_out.counts["a"].words,
    ) == (lines.count("\n") + 1, 1, 5)


def test_lines_that_a_dropped_one_brings_together_are_checked_when_they_are_joined(
    tmp_path: Path,
) -> None:
    text = "how are you?\nspoken by nobody\nI am fine.\n\nother\n"
    corpus = read(
        tmp_path,
        text,
        single_share=0.0,
        source={"form": "doc"},
        excluded=("how are you I am fine", "spoken by nobody"),
    )
    assert corpus.texts == ["other"] and corpus.counts["a"].excluded == 2


SEVERAL = {
    "two goes\nthree goes": 2,
    "Two: goesthree, GOES!": 2,
    "one goes two goes three goes four goes": 4,
    "goes two goes three goes four goes five": 5,  # eight words, begun and ended inside of lines
}
"""A message, and how many lines it stands in."""


@pytest.mark.parametrize("message", SEVERAL)
@pytest.mark.parametrize("single_share", [0.0, 0.5, 1.0])
def test_a_message_that_stands_as_several_lines_of_a_document_is_left_out(
    tmp_path: Path, message: str, single_share: float
) -> None:
    lines = [f"{name} goes" for name in ("zero", "one", "two", "three", "four", "five", "six")]
    text = "\n".join(lines) + "\n\nseven goes\nby itself\n"
    corpus = read(
        tmp_path, text, source={"form": "doc"}, excluded=(message,), single_share=single_share
    )
    left = "\n".join(corpus.texts).split("\n")
    gone = [line for line in lines if line not in left]
    counts = corpus.counts["a"]
    assert counts.excluded == len(gone) == SEVERAL[message] and counts.lines == 9
    assert left == [line for line in [*lines, "seven goes", "by itself"] if line not in gone]


def test_lines_that_hold_a_message_only_with_the_next_document_stay(tmp_path: Path) -> None:
    text = "two goes\nhome\n\nthree goes\naway\n"
    assert (
        len(
            read(
                tmp_path,
                text,
                source={"form": "doc"},
                excluded=("home three goes", "two go", "goes home"),
            ).texts
        )
        == 4
    )


# Held out


def test_texts_are_held_out_by_whole_document_and_never_trained_on(tmp_path: Path) -> None:
    text = numbered(5, documents=61)
    documents = [document.split("\n") for document in text.strip().split("\n\n")]
    corpus = read(tmp_path, text, held_out_share=0.1, single_share=0.5)
    trained, held = (
        {line for t in texts for line in t.split("\n")} for texts in (corpus.texts, corpus.held_out)
    )
    assert not trained & held and trained | held == {
        line for document in documents for line in document
    }
    assert sum(set(document) <= held for document in documents) == 6 == len(held) / 5
    assert not set(corpus.texts) & set(corpus.held_out)
    assert corpus.counts["a.txt"].held_out == len(corpus.held_out) == len(corpus.held_out_source)
    assert corpus.counts["a.txt"].words == sum(len(t.split()) for t in corpus.texts)


@pytest.mark.parametrize("documents", [1, 2, 3])
def test_of_large_documents_only_lines_are_held_out(tmp_path: Path, documents: int) -> None:
    text = numbered(100, documents=documents)
    corpus = read(tmp_path, text, source={"form": "doc"}, held_out_share=0.02)
    assert len(corpus.held_out) == 2 * documents and len(corpus.texts) == 98 * documents
    lines = text.replace("\n\n", "\n").strip().split("\n")
    places = [lines.index(line) for line in corpus.held_out]
    assert (
        places == list(range(places[0], places[0] + len(places))) and (places[-1] + 1) % 100 == 0
    ), "a run, the end of a document"


def test_a_drawn_document_that_is_too_large_is_passed_over(tmp_path: Path) -> None:
    small = numbered(2, documents=100)
    large = "\n".join(f"large {line}" for line in numbered(200).split("\n"))
    for seed in range(12):
        corpus = read(
            tmp_path, f"{large}\n{small}", source={"form": "doc"}, held_out_share=0.2, seed=seed
        )
        assert len(corpus.held_out) in (38, 40) and not any(
            t.startswith("large") for t in corpus.held_out
        )


def test_a_held_out_line_that_stands_elsewhere_as_well_is_no_measure(tmp_path: Path) -> None:
    corpus = read(tmp_path, "yes\n" * 5 + "no\n" * 5 + "perhaps\n", held_out_share=0.5)
    assert not set(corpus.texts) & set(corpus.held_out)
    assert set(corpus.texts) | set(corpus.held_out) == {"yes", "no", "perhaps"}


def test_a_held_out_text_of_one_source_is_not_trained_on_in_another(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text(numbered(40), encoding="utf-8")
    corpus = read_corpus([folder], CorpusSettings(held_out_share=0.3, single_share=1.0))
    assert not set(corpus.texts) & set(corpus.held_out)
    assert (
        sum(counts.held_out for counts in corpus.counts.values())
        == len(corpus.held_out)
        == len(corpus.held_out_source)
        < 24
    )


def test_messages_kept_out_are_not_held_out_either(tmp_path: Path) -> None:
    text = numbered(1, documents=40) + "\nsee you at five\n"
    for seed in range(5):
        corpus = read(tmp_path, text, held_out_share=0.9, seed=seed, excluded=("see you at five",))
        assert (
            "see you at five" not in corpus.texts + corpus.held_out and len(corpus.held_out) == 36
        )


@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (0.001, 1), (0.3, 3), (1.0, 9)])
def test_something_is_held_out_and_something_is_left(
    tmp_path: Path, share: float, held: int
) -> None:
    corpus = read(tmp_path, numbered(10), held_out_share=share)
    assert (len(corpus.held_out), len(corpus.texts)) == (held, 10 - held)
    assert read(tmp_path, "just one\n", held_out_share=share).texts == ["just one"]


# Draws


def test_the_same_seed_gives_the_same_texts_and_another_one_others(tmp_path: Path) -> None:
    text = numbered(6, documents=60)
    settings: dict[str, Any] = {"held_out_share": 0.1, "single_share": 0.5}
    first, again, other = (read(tmp_path, text, seed=seed, **settings) for seed in (3, 3, 4))
    assert (first.texts, first.held_out) == (again.texts, again.held_out)
    assert first.texts != other.texts and first.held_out != other.held_out


def test_a_sources_draws_do_not_depend_on_the_others(tmp_path: Path) -> None:
    text = numbered(6, documents=60)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(text if name == "a.txt" else text.upper(), encoding="utf-8")
    settings = CorpusSettings(held_out_share=0.1, single_share=0.5)
    both, alone = (
        read_corpus([tmp_path / name for name in names], settings)
        for names in (("a.txt", "b.txt"), ("b.txt",))
    )
    assert [t for t, s in zip(both.texts, both.source, strict=True) if s == 1] == alone.texts
    assert [
        t for t, s in zip(both.held_out, both.held_out_source, strict=True) if s == 1
    ] == alone.held_out
    assert [t for t, s in zip(both.texts, both.source, strict=True) if s == 0] != alone.texts, (
        "each has draws of its own"
    )


def test_texts_know_their_source(tmp_path: Path) -> None:
    sources = {"z": ("zed", 30), "empty": ("", 0), "a": ("first", 50)}
    for name, (word, count) in sources.items():
        lines = "".join(f"{word} {line}\n" for line in numbered(max(1, count)).split("\n")[:count])
        (tmp_path / f"{name}.txt").write_text(lines, encoding="utf-8")
    tables = {
        n: SourceSettings(file=f"{n}.txt", form="flat", times=t)
        for n, t in (("z", 2.5), ("empty", 3), ("a", 0.5))
    }
    corpus = read_corpus([tmp_path], CorpusSettings(held_out_share=0.2, sources=tables))
    assert corpus.names == list(sources) == list(corpus.counts) and corpus.times.tolist() == [
        2.5,
        3.0,
        1.0,
    ]
    for texts, source in ((corpus.texts, corpus.source), (corpus.held_out, corpus.held_out_source)):
        assert source.dtype == np.int16 and len(texts) == len(source)
        assert all(
            t.startswith(sources[corpus.names[s]][0]) for t, s in zip(texts, source, strict=True)
        )
    assert (
        np.bincount(corpus.source, minlength=3).tolist()
        == [24, 0, 20]
        == [c.texts for c in corpus.counts.values()]
    )
    assert (
        np.bincount(corpus.held_out_source, minlength=3).tolist()
        == [6, 0, 5]
        == [c.held_out for c in corpus.counts.values()]
    )


@pytest.mark.parametrize(
    ("times", "documents"), [(0.25, 15), (0.999, 60), (0.001, 1), (1.0, 60), (3.0, 60)]
)
def test_below_one_a_fixed_part_of_the_documents_is_used(
    tmp_path: Path, times: float, documents: int
) -> None:
    text = numbered(3, documents=60)
    corpus = read(tmp_path, text, source={"times": times, "form": "doc"}, held_out_share=0.1)
    used = [
        d
        for d in text.strip().split("\n\n")
        if set(d.split("\n")) & set(corpus.texts + corpus.held_out)
    ]
    assert len(used) == documents and corpus.counts["a"].lines == 3 * documents == len(
        corpus.texts + corpus.held_out
    )
    assert corpus.times.tolist() == [max(1.0, times)]
    assert (
        read(tmp_path, text, source={"times": times, "form": "doc"}, held_out_share=0.1).texts
        == corpus.texts
    )


def corpus_of(*times: float, texts: int) -> Corpus:
    source = np.repeat(np.arange(len(times), dtype=np.int16), texts)
    names = [str(t) for t in times]
    return Corpus(
        [f"text {i}" for i in range(len(source))], source, [], source[:0], names, np.array(times)
    )


def test_a_pass_shows_each_text_as_often_as_its_source_says_a_fraction_by_lot() -> None:
    corpus = corpus_of(1.0, 2.0, 3.25, texts=400)
    order = corpus.a_pass(42, 0)
    often = np.bincount(order, minlength=1200).reshape(3, 400)
    assert (often[0] == 1).all() and (often[1] == 2).all()
    assert sorted(Counter(often[2].tolist())) == [3, 4]
    assert abs((often[2] == 4).mean() - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5
    # The lot falls anew each pass: over many of them every text is shown 3.25 times in the mean.
    passes = np.mean(
        [np.bincount(corpus.a_pass(42, n), minlength=1200) for n in range(300)], axis=0
    ).reshape(3, 400)
    assert np.abs(passes[2] - 3.25).max() < 5 * (0.25 * 0.75 / 300) ** 0.5


def test_the_order_of_a_pass_is_a_draw_of_seed_and_number() -> None:
    corpus = corpus_of(1.0, 1.5, texts=100)
    first = corpus.a_pass(42, 0)
    np.testing.assert_array_equal(first, corpus.a_pass(42, 0))
    for other in (corpus.a_pass(42, 1), corpus.a_pass(43, 0)):
        assert other.shape != first.shape or (other != first).mean() > 0.9
    places = np.argsort(corpus_of(1.0, texts=400).a_pass(42, 0))
    assert abs(np.corrcoef(np.arange(400), places)[0, 1]) < 0.2, (
        "sources are mixed, not one after the other"
    )
    assert (
        abs(np.corrcoef(np.arange(400), np.argsort(corpus_of(1.0, texts=400).a_pass(42, 1)))[0, 1])
        < 0.2
    )


def test_a_corpus_of_known_bytes_is_the_same_on_every_machine(tmp_path: Path) -> None:
    """Whoever changes this changes what every recipe learns, and no pretraining that was begun
    before can go on.
    """
    corpus = read(
        tmp_path,
        numbered(6, documents=50),
        held_out_share=0.1,
        single_share=0.6,
        source={"times": 0.7, "form": "doc"},
    )
    parts = (
        "\0".join(corpus.texts),
        "\0".join(corpus.held_out),
        str(corpus.a_pass(42, 3).tolist()),
    )
    assert [zlib.crc32(part.encode()) for part in parts] == GOLDEN


GOLDEN = [2500349453, 204140267, 2459139236]


# The real corpus


def letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def test_no_message_of_the_public_data_sets_is_in_the_texts_of_two_sources(
    shared_data: Path,
) -> None:
    """Checked without `exclusion`: only letters and digits count, and a long message may stand
    anywhere in a text.
    """
    folder = ROOT.parent / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip("the corpus of `nano` is not beside this checkout (../shared/corpus)")
    nano = read_pretrain_recipe("nano").corpus
    sources = {
        name: nano.sources[name].model_copy(update={"times": 1.0})
        for name in ("multidogo", "common_voice")
    }
    small = nano.model_copy(update={"sources": sources})
    tables = sorted(f for f in shared_data.rglob("*") if f.is_file() and f.suffix != ".md")
    messages = [text for table in tables for text in read_table(table).texts]
    assert len(tables) >= 12 and len(messages) > 50_000
    corpus = read_corpus([folder], small, excluded=Excluded(messages_of([str(shared_data)])))
    assert len(corpus.texts) > 50_000 and sum(c.excluded for c in corpus.counts.values()) > 0
    keys = {letters(message): message for message in messages}
    keys.pop("", None)
    opening = 40
    by_opening: dict[str, list[str]] = {}
    for key, message in keys.items():
        if len(message.split()) >= 10 and len(key) >= opening:
            by_opening.setdefault(key[:opening], []).append(key)
    wrong = []
    for text in corpus.texts + corpus.held_out:
        plain = letters(text)
        if plain in keys:
            wrong.append(f"{text!r} is {keys[plain]!r}")
        for place in range(len(plain) - opening + 1):
            for key in by_opening.get(plain[place : place + opening], ()):
                if plain.startswith(key, place):
                    wrong.append(f"{text!r} holds {keys[key]!r}")
    assert not wrong, "\n".join(wrong[:20])
