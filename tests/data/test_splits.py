"""Splits against pandas, by hand-made groups, by property, and on the SMS Spam Collection by its
published numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.deduplication import near_repeat_groups
from tamis.data.splits import SPLITS, DataSplit, positive_label, split_table
from tamis.data.tables import Table, read_table
from tamis.errors import ConfigError, DataError

Write = Callable[..., Path]


def table_of(rows: list[tuple[str, str]]) -> Table:
    return Table.of([text for _, text in rows], [label for label, _ in rows])


def crossing(parts: DataSplit) -> tuple[int, int]:
    """Groups of near-repeats on both sides of the test border and of the validation border."""
    groups = near_repeat_groups(parts.table.texts)
    test = set(groups[parts.train].tolist()) & set(groups[parts.test].tolist())
    return len(test), len(set(groups[parts.fit].tolist()) & set(groups[parts.validation].tolist()))


@pytest.mark.parametrize("name", SPLITS)
def test_every_split_divides_the_table(sms_file: Path, name: str) -> None:
    parts = split_table(read_table(sms_file), name)
    rows = len(parts.table)
    assert sorted([*parts.train, *parts.test]) == list(range(rows))
    assert set(parts.validation) <= set(parts.train)
    assert sorted([*parts.fit, *parts.validation]) == sorted(parts.train)
    assert len(parts.test) == {
        "tp2": rows - int(0.8 * rows),
        "almeida": rows - round(0.3 * rows),
        "none": 0,
    }.get(name, 25)
    assert 0 < len(parts.validation) < 0.2 * len(parts.train)
    assert parts.texts("test") == [parts.table.texts[row] for row in parts.test]
    assert parts.lines("fit") == [parts.table.lines[row] for row in parts.fit]
    assert parts.counts("train") == Counter(parts.labels("train"))
    assert parts.select("validation").texts == tuple(parts.texts("validation"))
    assert crossing(parts)[1] == 0
    again = split_table(read_table(sms_file), name)
    assert all(
        (parts.rows(part) == again.rows(part)).all()
        for part in ("train", "fit", "validation", "test")
    )


def test_another_seed_gives_other_rows_but_for_the_fixed_splits(sms_file: Path) -> None:
    table = read_table(sms_file)
    for name in SPLITS:
        same = np.array_equal(
            split_table(table, name, seed=1).test, split_table(table, name, seed=2).test
        )
        assert same == (name in ("tp2", "almeida", "none"))


@pytest.mark.parametrize("seed", range(5))
def test_repeats_never_cross_the_leakfree_split_and_classes_keep_their_share(
    sms_rows: list[tuple[str, str]], seed: int
) -> None:
    parts = split_table(table_of(sms_rows), "leakfree", seed=seed)
    assert crossing(parts) == (0, 0)
    assert parts.counts("test") == {"ham": 19, "spam": 6}  # 20 % of 96 and 28


@given(
    st.lists(
        st.tuples(
            st.sampled_from("xyz"), st.sampled_from([f"text of number {n}{n}" for n in "abcdefgh"])
        ),
        min_size=6,
    ),
    st.integers(0, 9),
)
def test_leakfree_holds_on_any_table(rows: list[tuple[str, str]], seed: int) -> None:
    table = table_of(
        [
            *rows,
            ("x", "one"),
            ("y", "two"),
            ("x", "three"),
            ("y", "four"),
            ("z", "five"),
            ("z", "six"),
        ]
    )
    parts = split_table(table, "leakfree", seed=seed)
    assert crossing(parts) == (0, 0)
    for label, total in Counter(table.labels).items():
        assert parts.counts("test")[label] <= max(1, int(0.2 * total + 0.5))
        assert parts.counts("fit")[label] >= min(2, total)


def test_templates_are_in_the_test_part_as_often_as_in_the_table() -> None:
    rows = [
        ("ham", f"{chr(97 + n // 26)}{chr(97 + n % 26)} unlike all others {n * n}")
        for n in range(300)
    ]
    rows += [("spam", text) for family in "abcdefghijklmnopqrst" for text in [family * 30] * 5]
    shares = [
        Counter(split_table(table_of(rows), "leakfree", seed=seed).labels("test"))["spam"]
        for seed in range(10)
    ]
    assert all(share == 20 for share in shares)


def test_tp2_shuffles_as_pandas_does(write: Write) -> None:
    rows = [(("ham", "spam")[n % 3 == 0], f"words {n} {n * n}") for n in range(103)]
    table = read_table(write("".join(f"{label}\t{text}\n" for label, text in rows)))
    parts = split_table(table, "tp2", seed=7)
    frame = pd.DataFrame(rows, columns=["label", "text"]).sample(frac=1, random_state=123)
    assert parts.texts("train") == frame["text"].tolist()[:82]
    assert parts.texts("test") == frame["text"].tolist()[82:]


def test_tp2_reads_the_file_again_with_the_quoting_of_pandas(write: Write) -> None:
    content = 'ham\t"open\nham\tshut" x\n' + "".join(
        f"{'spam' if n % 4 else 'ham'}\ttext {n}\n" for n in range(20)
    )
    parts = split_table(read_table(write(content)), "tp2")
    assert len(parts.table) == 21
    assert "21 rows instead of 22" in parts.notes[0]
    assert "open\nham\tshut x" in parts.table.texts
    assert len(split_table(read_table(write(content)), "stratified").table) == 22


def test_tp2_takes_the_rows_as_they_are_where_pandas_could_not_read_them(write: Write) -> None:
    content = (
        "".join(f"{'spam' if n % 2 else 'ham'}\ttext {n}\n" for n in range(20))
        + 'ham\t"never closed\n'
    )
    parts = split_table(read_table(write(content)), "tp2")
    assert len(parts.table) == 21 and "never closed" in parts.notes[0]
    assert (
        "pandas' quoting applies to CSV and TSV files only"
        in split_table(table_of([("a", "x"), ("b", "y")] * 5), "tp2").notes[0]
    )


def test_a_test_table_leaves_every_row_to_train_and_its_leaks_are_told() -> None:
    rows = [
        ("ham" if n % 2 else "spam", f"{chr(97 + n % 26) * 9} {chr(98 + n // 2) * 9} {n}")
        for n in range(40)
    ]
    test = table_of([("ham", rows[1][1]), ("spam", rows[2][1].upper() + "!"), ("ham", "new words")])
    for name in SPLITS:
        parts = split_table(table_of(rows), name, test=test)
        assert (
            len(parts.train) == 40
            and parts.texts("test") == list(test.texts)
            and parts.labels("test") == list(test.labels)
        )
        assert parts.notes == (
            "2 of 3 test rows are repeats of training rows (1 exact copies), so the test figures "
            "are too optimistic.",
        )
        assert parts.table_of("test") is test and parts.table_of("validation") is parts.table


@pytest.mark.parametrize("name", ["none", "leakfree", "stratified"])
def test_two_rows_a_class_are_enough(name: str) -> None:
    parts = split_table(table_of([("ham", "a"), ("spam", "b"), ("ham", "c"), ("spam", "d")]), name)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (4, 0, 0)
    assert any("no validation part" in note for note in parts.notes)
    assert any("too small for a test part" in note for note in parts.notes) == (name != "none")


def test_a_class_of_one_row_trains() -> None:
    parts = split_table(
        table_of([*[("a", f"row {n}") for n in range(9)], ("b", "single")]), "stratified"
    )
    assert (parts.counts("fit")["b"], parts.counts("test")["a"]) == (1, 2)


def test_no_validation_part_is_taken_where_none_is_wanted(sms_rows: list[tuple[str, str]]) -> None:
    parts = split_table(table_of(sms_rows), "leakfree", validation_share=0.0)
    assert not len(parts.validation) and not parts.notes
    with pytest.raises(
        ConfigError, match=r"expected a share of the training rows in \[0, 1\), got 1.0"
    ):
        split_table(table_of(sms_rows), "leakfree", validation_share=1.0)


def test_an_unknown_split_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError,
        match=r"expected one of leakfree, tp2, .* got 'leakfre'; did you mean 'leakfree'",
    ):
        split_table(table_of([("a", "x"), ("b", "y")] * 3), "leakfre")


def test_a_file_sorted_by_class_cannot_be_split_by_its_order() -> None:
    rows = [("ham", f"h{n}") for n in range(10)] + [("spam", f"s{n}") for n in range(10)]
    with pytest.raises(
        DataError,
        match=r"split 'almeida' leaves no training row of class 'spam'.*use --split leakfree",
    ):
        split_table(table_of(rows), "almeida")


def test_an_unknown_label_in_the_test_table_is_told_with_its_row() -> None:
    table = table_of([("ham", "a"), ("spam", "b")] * 3)
    with pytest.raises(
        DataError,
        match=r"new.csv line 2: label 'spma' is not one of the 2 labels of memory \('ham', "
        r"'spam'\); did you mean 'spam'",
    ):
        split_table(table, "none", test=Table.of(["x", "y"], ["ham", "spma"], source="new.csv"))
    with pytest.raises(DataError, match="expected test rows, found none"):
        split_table(table, "none", test=Table.of([], []))


def test_the_positive_label_is_the_rarer_one() -> None:
    assert positive_label(["ham", "spam", "ham"]) == "spam"
    assert positive_label(["b", "a"]) == "b"
    assert positive_label(["ham", "spam", "ham"], "ham") == "ham"
    with pytest.raises(
        ConfigError, match="expected one of 'ham', 'spam', got 'spma'; did you mean 'spam'"
    ):
        positive_label(["ham", "spam"], "spma")
    with pytest.raises(DataError, match="expected labels to choose from"):
        positive_label([])


def test_the_sms_spam_collection_is_split_as_published(real_sms: Path) -> None:
    table = read_table(real_sms)
    tp2 = split_table(table, "tp2", seed=5)
    assert (tp2.counts("train"), tp2.counts("test")) == (
        {"ham": 3_860, "spam": 597},
        {"ham": 965, "spam": 150},
    )
    frame = pd.read_csv(real_sms, sep="\t", header=None).sample(frac=1, random_state=123)
    assert tp2.texts("train") == frame[1].tolist()[:4_457]
    assert tp2.texts("test") == frame[1].tolist()[4_457:]
    almeida = split_table(table, "almeida")
    assert (len(almeida.train), len(almeida.test), almeida.test[0]) == (1_674, 3_900, 1_674)
    leakfree = split_table(table, "leakfree")
    assert (leakfree.counts("test"), leakfree.counts("validation")) == (
        {"ham": 965, "spam": 149},
        {"ham": 386, "spam": 60},
    )
    assert crossing(leakfree) == (0, 0)
