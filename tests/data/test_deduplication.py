"""The normal form by hand and by property; the groups against a brute-force product of all
pairs.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from tamis.data import deduplication as module
from tamis.data.deduplication import near_repeat_groups, normalize, repeat_key
from tamis.data.tables import read_table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WIN £1000 now!!!", "win 0000 now"),
        ("ＦＲＥＥ  ｍｏｎｅｙ", "free money"),
        ("Straße", "strasse"),
        ("zero\u200bwidth and soft\u00adhyphen", "zerowidth and softhyphen"),
        ("e\u0301 is é", "é is é"),
        ("don't\tstop\n", "don t stop"),
        ("½ ٣ Ⅳ", "0 0 0 iv"),
        ("ok 🎂", "ok 🎂"),
        (":-) ...", ""),
    ],
)
def test_the_normal_form_is_as_described(text: str, expected: str) -> None:
    assert normalize(text) == expected


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


def test_texts_of_punctuation_alone_are_no_repeats_of_each_other() -> None:
    assert repeat_key(":-)") != repeat_key("!!!")
    assert len(set(near_repeat_groups([":-)", "!!!", ":-)", "", " "]).tolist())) == 4


def brute_force(texts: list[str]) -> np.ndarray:
    """Groups by the full matrix of cosines, without any filter."""
    folded = [normalize(text) for text in texts]
    counts = CountVectorizer(analyzer="char", ngram_range=(4, 4), lowercase=False).fit_transform(
        folded
    )
    near = cosine_similarity(counts, dense_output=True) > 0.8 + 1e-9
    keys = [repeat_key(text) for text in texts]
    near |= np.asarray([[one == other for other in keys] for one in keys])
    return connected_components(near, directed=False)[1]


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    return (
        len({*zip(one.tolist(), other.tolist(), strict=True)})
        == len(set(one.tolist()))
        == len(set(other.tolist()))
    )


@given(st.lists(st.text(alphabet="abc d", max_size=24), min_size=2, max_size=40))
def test_groups_are_those_of_all_pairs(texts: list[str]) -> None:
    texts = [*texts, "long enough"]
    assert same_partition(near_repeat_groups(texts), brute_force(texts))


def test_groups_of_templates_are_those_of_all_pairs(
    sms_rows: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "BLOCK_ROWS", 7
    )  # several blocks and several chunks, as in large tables
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 11)
    module.cached_groups.cache_clear()
    texts = [text for _, text in sms_rows]
    groups = near_repeat_groups(texts)
    assert same_partition(groups, brute_force(texts))
    assert len(set(groups.tolist())) < len({repeat_key(text) for text in texts})


def test_groups_are_numbered_by_first_occurrence() -> None:
    texts = [
        "call me at seven tonight please",
        "completely different words",
        "Call me at SEVEN tonight, please!",
        "k",
    ]
    assert near_repeat_groups(texts).tolist() == [0, 1, 0, 2]
    assert near_repeat_groups([]).tolist() == []
    assert near_repeat_groups(["a", "b", "a"]).tolist() == [0, 1, 0]


def test_groups_given_out_are_the_callers_own() -> None:
    texts = ["call me at seven tonight please", "other words"]
    near_repeat_groups(texts)[:] = 9
    assert near_repeat_groups(texts).tolist() == [0, 1]


def test_the_sms_spam_collection_is_grouped_in_seconds(real_sms: Path) -> None:
    texts = list(read_table(real_sms).texts)
    assert len({repeat_key(text) for text in texts}) == 5_105
    start = time.perf_counter()
    groups = near_repeat_groups(texts)
    assert time.perf_counter() - start < 8
    counts = CountVectorizer(analyzer="char", ngram_range=(4, 4), lowercase=False).fit_transform(
        map(normalize, texts)
    )
    sample = np.random.default_rng(3).choice(len(texts), 700, replace=False)
    near = np.argwhere(cosine_similarity(counts[sample]) > 0.8 + 1e-9)
    assert (groups[sample[near[:, 0]]] == groups[sample[near[:, 1]]]).all()
