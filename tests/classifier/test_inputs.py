"""What may be passed as texts and labels, and that everything else is refused by every method."""

from __future__ import annotations

import array
import datetime
import decimal
import enum
import io
import pathlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.exceptions import DataConversionWarning

from tamis import DataError, TextClassifier
from tests.rows import messages

ROWS = messages()
TEXTS, LABELS = [text for _, text in ROWS], [label for label, _ in ROWS]
FEW = TEXTS[:3]


def head(**arguments: Any) -> TextClassifier:
    return TextClassifier("scratch:tiny", "head", threads=1, **arguments)


@cache
def fitted() -> TextClassifier:
    return head().fit(TEXTS, LABELS)


class Text(str):
    """A string of another type."""


class Spelled(str, enum.Enum):  # noqa: UP042 - str() of a StrEnum is its text
    ONE = FEW[0]


class OnlyItems:
    """An old-style sequence."""

    def __getitem__(self, place: int) -> str:
        return FEW[place]

    def __len__(self) -> int:
        return 3


def generated() -> Iterator[str]:
    yield from FEW


ACCEPTED: dict[str, Callable[[], Any]] = {
    "list": lambda: list(FEW),
    "tuple": lambda: tuple(FEW),
    "generator": generated,
    "iterator": lambda: iter(FEW),
    "map": lambda: map(str, FEW),
    "values of a dictionary": lambda: {1: FEW[0], 2: FEW[1], 3: FEW[2]}.values(),
    "sequence by items": OnlyItems,
    "strings of other types": lambda: [Spelled.ONE, Text(FEW[1]), np.str_(FEW[2])],
    "array": lambda: np.array(FEW),
    "array of objects": lambda: np.array(FEW, dtype=object),
    "array of NumPy strings": lambda: np.array(FEW, dtype=np.dtypes.StringDType()),
    "array (N, 1)": lambda: np.array(FEW).reshape(-1, 1),
    "objects (N, 1)": lambda: np.array(FEW, dtype=object)[:, None],
    "read-only array": lambda: np.broadcast_to(np.array(FEW), (3,)),
    "masked array without a mask": lambda: np.ma.MaskedArray(np.array(FEW, dtype=object)),
    "pandas Series": lambda: pd.Series(FEW, index=[7, 5, 5]),
    "pandas Series of objects": lambda: pd.Series(FEW, dtype=object),
    "pandas string dtype": lambda: pd.Series(FEW, dtype="string"),
    "pandas category": lambda: pd.Series(FEW, dtype="category"),
    "pandas Index": lambda: pd.Index(FEW),
    "pandas frame": lambda: pd.DataFrame({"text": FEW}),
    "pandas frame without a name": lambda: pd.DataFrame(FEW),
    "polars Series": lambda: pl.Series(FEW),
    "polars category": lambda: pl.Series(FEW, dtype=pl.Categorical),
    "polars frame": lambda: pl.DataFrame({"text": FEW}),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_every_kind_of_column_gives_the_same_answers(kind: str) -> None:
    found = fitted().predict_proba(ACCEPTED[kind]())
    np.testing.assert_array_equal(found, fitted().predict_proba(FEW))


def test_a_fit_takes_columns_of_every_kind() -> None:
    expected = fitted().fingerprint()
    frame = pd.DataFrame({"text": TEXTS, "label": LABELS}).sample(frac=1, random_state=1)
    frame = frame.sort_index()
    frame.index = frame.index[::-1]
    assert head().fit(frame[["text"]], frame["label"]).fingerprint() == expected
    polars = pl.DataFrame({"text": TEXTS, "label": LABELS})
    assert head().fit(polars[["text"]], polars["label"]).fingerprint() == expected
    assert head().fit((t for t in TEXTS), (y for y in LABELS)).fingerprint() == expected
    column = np.array(TEXTS)[:, None]
    assert head().fit(column, pd.Categorical(LABELS)).fingerprint() == expected


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "string": (lambda: FEW[0], "single string .* put it in a list"),
    "NumPy string": (lambda: np.str_(FEW[0]), "single string"),
    "bytes": (lambda: FEW[0].encode(), "a bytes; decode it"),
    "bytearray": (lambda: bytearray(b"text"), "a bytearray; decode it"),
    "memoryview": (lambda: memoryview(b"text"), "a memoryview; decode it"),
    "array of letters": (lambda: array.array("u", "abc"), "an array; pass a list of strings"),
    "lists of polars": (lambda: pl.Series([["one"]]), r"texts\[0\]: .* got Series"),
    "list of bytes": (lambda: [b"one", b"two"], r"texts\[0\]: .* got bytes .*decode it.*2 such"),
    "array of bytes": (lambda: np.array([b"one"]), r"texts\[0\]: .* got bytes_ .* decode it"),
    "dictionary": (lambda: {"text": FEW}, "a dict with keys 'text'; pass one of its values"),
    "dictionary of rows": (lambda: dict(enumerate(FEW)), "a dict with keys 0, 1, 2"),
    "empty dictionary": (dict, "an empty dict"),
    "set": (lambda: set(FEW), "a set has no order"),
    "frozenset": (lambda: frozenset(FEW), "a set has no order"),
    "path": (lambda: pathlib.Path("messages.csv"), "read the file first"),
    "file": (lambda: io.StringIO("one\ntwo\n"), "read the file first"),
    "None": (lambda: None, "got None; pass a list"),
    "number": (lambda: 3, "got an int; pass a list"),
    "class": (lambda: list, "got a type; pass a list"),
    "function": (lambda: generated, "got a function; pass a list"),
    "numbers": (lambda: [1, 2], r"texts\[0\]: expected a string, got int \(1\)"),
    "array of numbers": (lambda: np.arange(3.0), r"texts\[0\]: .* got float64"),
    "None inside": (lambda: ["one", None], r"texts\[1\]: .* got NoneType \(None\)"),
    "NaN inside": (lambda: pd.Series(["one", None, "three", None]), r"texts\[1\]: .*2 such rows"),
    "NA inside": (lambda: pd.Series(["one", pd.NA], dtype="string"), r"texts\[1\]: .* NAType"),
    "null inside": (lambda: pl.Series(["one", None]), r"texts\[1\]: .* NoneType"),
    "mask inside": (
        lambda: np.ma.MaskedArray(np.array(FEW, dtype=object), mask=[False, True, False]),
        r"texts\[1\]: expected a string, got MaskedConstant",
    ),
    "masked column": (
        lambda: np.ma.MaskedArray(np.array(FEW, dtype=object), mask=[False, True, False])[:, None],
        r"texts\[1\]: expected a string, got MaskedConstant",
    ),
    "lists inside": (lambda: [["one"], ["two"]], r"texts\[0\]: .* got list .* one text per row"),
    "ragged lists": (lambda: ["one", ["two", "three"]], r"texts\[1\]: .* got list"),
    "rows as dictionaries": (lambda: [{"text": "one"}], r"texts\[0\]: .* got dict"),
    "generator of rows": (lambda: (row for row in ROWS), r"texts\[0\]: .* got tuple"),
    "frame of two columns": (
        lambda: pd.DataFrame({"text": FEW, "label": FEW}),
        r"a DataFrame of 2 columns \('text', 'label'\); pass one of them",
    ),
    "frame without columns": (lambda: pd.DataFrame(index=[0, 1]), "a DataFrame of 0 columns"),
    "polars frame of two": (lambda: pl.DataFrame({"a": FEW, "b": FEW}), "of 2 columns"),
    "lazy frame": (lambda: pl.LazyFrame({"text": FEW}), "a LazyFrame; pass a list"),
    "frame of numbers": (lambda: pd.DataFrame({"n": [1, 2]}), r"texts\[0\]: .* got int"),
    "grouped": (lambda: pd.DataFrame({"text": FEW}).groupby("text"), r"texts\[0\]: .* got tuple"),
    "array of two columns": (lambda: np.array([FEW, FEW]).T, r"shape \(3, 2\)"),
    "row": (lambda: np.array([FEW]), r"shape \(1, 3\)"),
    "cube": (lambda: np.array(FEW)[:, None, None], r"shape \(3, 1, 1\)"),
    "array without dimensions": (lambda: np.array(FEW[0]), r"shape \(\)"),
    "records": (lambda: np.array([("one", 1)], dtype="U5,i4"), r"texts\[0\]: .* got void"),
    "sparse": (lambda: scipy.sparse.csr_array(np.eye(3)), "shape"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_anything_else_is_refused_in_one_line(kind: str) -> None:
    make, message = REFUSED[kind]
    with pytest.raises(DataError, match=message) as caught:
        fitted().predict(make())
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=message):
        head().fit(make(), LABELS[:3])


METHODS: dict[str, Callable[[TextClassifier, Any], Any]] = {
    "predict": lambda c, X: c.predict(X),
    "predict_proba": lambda c, X: c.predict_proba(X),
    "predict_log_proba": lambda c, X: c.predict_log_proba(X),
    "decision_function": lambda c, X: c.decision_function(X),
    "verdicts": lambda c, X: c.verdicts(X),
    "embed": lambda c, X: c.embed(X),
    "transform": lambda c, X: c.transform(X),
    "score": lambda c, X: c.score(X, LABELS[:3]),
    "evaluate": lambda c, X: c.evaluate(X, LABELS[:3]),
    "partial_fit": lambda c, X: c.partial_fit(X, LABELS[:3]),
    "suggest": lambda c, X: c.suggest(X),
    "fit_transform": lambda c, X: c.fit_transform(X, LABELS[:3]),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "kind", ["string", "bytes", "dictionary", "None inside", "frame of two columns", "lists inside"]
)
def test_every_method_refuses_the_same(method: str, kind: str) -> None:
    make, message = REFUSED[kind]
    classifier = fitted() if method != "fit_transform" else head()
    with pytest.raises(DataError, match=message):
        METHODS[method](classifier, make())


@pytest.mark.parametrize("text", [None, 3, b"text", ["text"], pd.Series(["text"])])
def test_an_explanation_is_of_one_text(text: Any) -> None:
    with pytest.raises(DataError, match="text"):
        fitted().explain(text)


@pytest.mark.parametrize(
    "labels", ["ham" * 3, {"ham": 1, "spam": 2, "x": 3}, {"ham", "spam"}, None]
)
def test_labels_to_compare_with_are_a_column(labels: Any) -> None:
    for call in (fitted().score, fitted().evaluate, fitted().partial_fit):
        with pytest.raises(DataError):
            call(FEW, labels)


def test_a_frame_of_another_column_is_refused() -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": LABELS})
    classifier = head().fit(frame[["text"]], frame["label"])
    assert classifier.feature_names_in_.tolist() == ["text"]
    with pytest.raises(DataError, match="that fit was given, 'text', got column 'label'"):
        classifier.predict(frame[["label"]])
    assert len(classifier.predict(frame["text"])) == len(TEXTS)
    assert not hasattr(head().fit(TEXTS, LABELS), "feature_names_in_")


SPAM = [label == "spam" for label in LABELS]
KINDS_OF_LABELS: dict[str, tuple[Any, list[Any]]] = {
    "list of int": ([int(spam) for spam in SPAM], [0, 1]),
    "tuple of bool": (tuple(SPAM), [False, True]),
    "NumPy bools in a list": ([np.bool_(spam) for spam in SPAM], [False, True]),
    "int8": (np.array(SPAM, dtype=np.int8), [0, 1]),
    "whole floats": ([2.0 * spam for spam in SPAM], [0.0, 2.0]),
    "float16": (np.array(SPAM, dtype=np.float16), [0.0, 1.0]),
    "float32": (np.array(SPAM, dtype=np.float32), [0.0, 1.0]),
    "objects": (np.array(SPAM, dtype=object), [False, True]),
    "NumPy strings": (np.array(LABELS, dtype=np.dtypes.StringDType()), ["ham", "spam"]),
    "nullable int": (pd.Series(SPAM, dtype="Int64"), [0, 1]),
    "nullable float": (pd.Series(SPAM, dtype="Float64"), [0.0, 1.0]),
    "nullable bool": (pd.Series(SPAM, dtype="boolean"), [False, True]),
    "string dtype": (pd.Series(LABELS, dtype="string"), ["ham", "spam"]),
    "category of int": (pd.Series(SPAM).astype(int).astype("category"), [0, 1]),
    "polars bool": (pl.Series(SPAM), [False, True]),
    "polars enum": (pl.Series(LABELS, dtype=pl.Enum(["spam", "ham"])), ["ham", "spam"]),
    "string enumeration": ([Spelled.ONE if spam else "ham" for spam in SPAM], [FEW[0], "ham"]),
    "large": ([2**62 + spam for spam in SPAM], [2**62, 2**62 + 1]),
}


@pytest.mark.parametrize("kind", KINDS_OF_LABELS)
def test_labels_keep_their_type(kind: str) -> None:
    labels, classes = KINDS_OF_LABELS[kind]
    # Which class is looked for would otherwise be told by its name.
    settings = {"decision.scoring": "f1"}
    classifier = head(settings=settings).fit(TEXTS, labels)
    assert classifier.classes_.tolist() == sorted(classes)
    assert [type(label) for label in classifier.classes_.tolist()] == [type(c) for c in classes]
    spam = np.asarray(labels, dtype=object)[SPAM.index(True)]
    column = classifier.classes_.tolist().index(spam)
    np.testing.assert_allclose(
        classifier.predict_proba(FEW)[:, column], fitted().predict_proba(FEW)[:, 1], atol=1e-9
    )


FOUR = ["one text", "two texts", "three of them", "four in all"]
REFUSED_LABELS: dict[str, tuple[Any, str]] = {
    "continuous": ([0.1, 0.2, 0.7, 1.3], "continuous numbers"),
    "continuous column": (np.array([1.0, 2.5, 1.0, 2.0]), r"labels\[1\] is 2.5: .*continuous"),
    "infinite": ([0.0, 1.0, np.inf, 0.0], r"labels\[2\] is inf"),
    "strings and numbers": (
        ["a", "b", 1, "a"],
        r"labels\[0\] is a string .*labels\[2\] is a whole",
    ),
    "strings and bools": (["True", False, "True", False], "of several types"),
    "missing NumPy date": (np.array(["2020-01-01", "NaT"] * 2, dtype="M8[D]"), r"labels\["),
    "dates": ([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)] * 2, "got date .*convert"),
    "pandas dates": (pd.to_datetime(["2020-01-01", "2021-01-01"] * 2), "got Timestamp .*convert"),
    "decimals": ([decimal.Decimal(1), decimal.Decimal(2)] * 2, "got Decimal"),
    "complex": ([1j, 2j, 1j, 2j], "got complex"),
    "bytes": (np.array([b"a", b"b"] * 2), "got bytes"),
    "tuples": ([("a",), ("b",), ("a",), ("b",)], "got tuple"),
    "intervals": (pd.cut(pd.Series([1, 5, 1, 5]), 2), "got Interval"),
    "indicators": (np.eye(4)[:, :2], r"shape \(4, 2\)"),
    "frame of two": (pd.DataFrame({"a": [0, 1, 0, 1], "b": 1}), r"shape \(4, 2\)"),
    "string": ("abab", "y: expected one label .* single string"),
    "dictionary": ({0: "a", 1: "b", 2: "a", 3: "b"}, "y: .*a dict"),
    "set": ({"a", "b", "c", "d"}, "a set has no order"),
    "None": (None, "y to be passed, but the target y is None"),
    "number": (1, "y: .*got an int"),
    "too large": ([2**70, 1, 2**70, 1], "64 bits"),
    "masked": (
        np.ma.MaskedArray([0, 1, 0, 1], mask=[False, False, True, False]),
        r"labels\[2\] is missing",
    ),
    "short": (["a", "b"], r"one for each of the 4 texts; got an array of shape \(2,\)"),
}


@pytest.mark.parametrize("kind", REFUSED_LABELS)
def test_other_labels_are_refused(kind: str) -> None:
    labels, message = REFUSED_LABELS[kind]
    with pytest.raises(DataError, match=message):
        head().fit(FOUR, labels)


@pytest.mark.parametrize(
    "make", [lambda: np.array(LABELS)[:, None], lambda: pd.DataFrame({"label": LABELS})]
)
def test_a_column_of_labels_is_taken_with_the_warning_of_scikit_learn(make: Any) -> None:
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        assert head().fit(TEXTS, make()).fingerprint() == fitted().fingerprint()


def test_labels_to_compare_with_are_compared_by_value() -> None:
    numbers = head().fit(TEXTS, [int(spam) for spam in SPAM])
    expected = numbers.score(TEXTS, [int(spam) for spam in SPAM])
    for labels in (SPAM, [float(spam) for spam in SPAM], [str(int(spam)) for spam in SPAM]):
        assert numbers.score(TEXTS, labels) == expected
    with pytest.raises(DataError, match=r"labels\[1\]: 2 is not one of the labels .*\(0, 1\)"):
        numbers.score(FEW, [0, 2, 1])
    with pytest.raises(DataError, match="expected labelled texts, got none"):
        numbers.score([], [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_weight": [1, 2]}, r"sample_weight: .*4 texts, got an array of shape \(2,\)"),
        ({"sample_weight": [1, -1, 1, 1]}, r"sample_weight\[1\]: .* got -1"),
        ({"sample_weight": [1, np.nan, 1, 1]}, r"sample_weight\[1\]: .* got nan"),
        ({"sample_weight": [0, 0, 0, 0]}, "all weights are zero"),
        ({"sample_weight": ["a", "b", "c", "d"]}, "expected 4 numbers"),
        ({"sample_weight": np.ones((4, 1))}, r"shape \(4, 1\)"),
        ({"sample_weight": [1, 0, 1, 0]}, "at least two classes"),
        ({"groups": [1, 2]}, "groups: expected one group for each of the 4"),
        ({"groups": [1, None, 2, 2]}, r"groups\[1\]: expected a number or a name, got None"),
        ({"groups": [[1], [1], [2], [2]]}, r"groups\[0\]: expected a number or a name, got \[1\]"),
        ({"groups": "abcd"}, "groups: .*single string"),
        ({"validation": [4]}, "validation: expected row numbers from 0 to 3, got 4"),
        ({"validation": [-1]}, "validation: .* got -1"),
        ({"validation": [0.5]}, "validation: expected row numbers"),
        ({"validation": np.ones((2, 2), dtype=int)}, "validation: expected row numbers"),
    ],
)
def test_what_is_passed_beside_texts_is_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        head().fit(FOUR, ["a", "b", "a", "b"], **arguments)


def test_groups_may_be_names_and_held_out_rows_a_mask() -> None:
    groups = [f"group {row % 31}" for row in range(len(TEXTS))]
    numbers = [row % 31 for row in range(len(TEXTS))]
    named, numbered = (head().fit(TEXTS, LABELS, groups=g) for g in (groups, numbers))
    assert named.fingerprint() == numbered.fingerprint()
    mask = np.arange(len(TEXTS)) % 3 == 0
    tiny = TextClassifier("scratch:tiny", threads=1, settings={"train.epochs": 1})
    found = tiny.fit(TEXTS, LABELS, validation=mask).training_.held_out
    assert found.tolist() == np.flatnonzero(mask).tolist()
