"""Validation of what users pass beside the texts: labels, sample weights, groups and held-out rows.

Shapes: R rows, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.classifier.inputs import DataFrameLike, as_column, as_texts, is_frame, short
from tamis.data.labels import known_labels, matching_label
from tamis.errors import ConfigError, DataError
from tamis.training.prepare import LabelledTexts

Labels = ArrayLike | Iterable[Any] | DataFrameLike
"""Labels: a sequence, iterator, Series or array (N,) of strings, whole numbers or booleans."""
_LABELS = "one label for each text, in a list, Series or array of strings, numbers or booleans"


def labelled_texts(
    X: Any, y: Any, sample_weight: Any, validation: Any, groups: Any
) -> tuple[LabelledTexts, NDArray[Any]]:
    """Return checked training rows, and their (K,) sorted classes in the type of the labels.

    Rows of weight 0 are left out: they have no influence, neither on the model nor on the
    threshold.

    Raises:
        DataError: an argument is wrong, or fewer than two classes have a weight above 0.
    """
    texts = as_texts(X)
    labels = as_labels(y, len(texts))
    weights = as_sample_weight(sample_weight, len(texts))
    numbers = None if groups is None else as_groups(groups, len(texts))
    held_out = None if validation is None else as_row_numbers(validation, len(texts))
    if weights is not None and (weights == 0).any():
        kept = np.flatnonzero(weights)
        texts, labels, weights = [texts[row] for row in kept], labels[kept], weights[kept]
        numbers = None if numbers is None else numbers[kept]
        if held_out is not None:
            held_out = np.flatnonzero(np.isin(kept, held_out)).astype(np.int64)
    classes, targets = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise DataError(
            f"training needs at least two classes; got {len(classes)} "
            f"({', '.join(map(str, classes))}); add rows of more than one class"
        )
    if weights is not None and (weights == weights[0]).all() and weights[0] == 1:
        weights = None
    names = tuple(map(str, classes))
    rows = LabelledTexts(texts, targets.astype(np.int64), names, held_out, numbers, weights)
    return rows, classes


def as_labels(y: Any, rows: int) -> NDArray[Any]:
    """Return labels as an array (R,) of strings, integers, floats or booleans.

    An array (R, 1) or a DataFrame of one column is taken as its column, with scikit-learn's
    DataConversionWarning.

    Raises:
        DataError: there is not one label per row; a label is missing or of another type; labels are
            of several types; numbers are continuous.
    """
    if y is None:
        raise DataError(
            f"this method requires y to be passed, but the target y is None; pass {_LABELS}"
        )
    if is_frame(y) or (hasattr(type(y), "__array__") and not hasattr(type(y), "__iter__")):
        y = np.asarray(y)
    if isinstance(y, np.ndarray) and y.shape == (rows, 1) and rows != 0:
        from sklearn.utils import column_or_1d  # it warns: the library itself never does

        y = column_or_1d(y, warn=True)
    shape = getattr(y, "shape", None)
    values = None if isinstance(shape, tuple) and len(shape) != 1 else as_column(y, "y", _LABELS)
    if values is None or len(values) != rows:
        shape = shape if values is None else (len(values),)
        raise DataError(
            f"labels must be one for each of the {rows} texts; got an array of shape {shape}"
        )
    array = np.asarray(y)
    masked = isinstance(y, np.ma.MaskedArray)
    if array.dtype.kind not in "biufU" or not isinstance(y, np.ndarray) or masked:
        array = _typed(values)
    missing = np.isnan(array) if array.dtype.kind == "f" else np.zeros(len(array), dtype=bool)
    if missing.any():
        raise DataError(_missing(int(missing.argmax())))
    if array.dtype.kind == "f":
        _check_discrete(array)
        return array.astype(np.float64)
    if array.dtype.kind == "U":
        _check_names(array.tolist())
    return array


def _typed(values: list[Any]) -> NDArray[Any]:
    """Labels of any sequence as an array of one type."""
    found: dict[str, int] = {}
    for row, label in enumerate(values):
        found.setdefault(_kind(label, row), row)
    if "a string" in found and len(found) > 1:
        (first, one), (second, other) = sorted(found.items(), key=lambda item: item[1])[:2]
        raise DataError(
            f"labels are of several types: labels[{one}] is {first} ({short(values[one])}), "
            f"labels[{other}] is {second} ({short(values[other])}); convert all of them to one type"
        )
    if "a string" in found:
        names = [str.__str__(label) for label in values]
        _check_names(names)
        return np.array(names, dtype=np.str_)
    if found.keys() <= {"a boolean"}:
        return np.array([bool(label) for label in values], dtype=bool)
    if "a float" in found:
        return np.array([float(label) for label in values], dtype=np.float64)
    try:
        return np.array([int(label) for label in values], dtype=np.int64)
    except OverflowError:
        raise DataError(
            "labels: a whole number does not fit into 64 bits; convert the labels to strings"
        ) from None


def _check_names(names: list[str]) -> None:
    """Check that labels can be stored: in an array, which drops NUL at the end, and in JSON."""
    for name in dict.fromkeys(names):
        if name.endswith("\0") or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise DataError(
                f"labels[{names.index(name)}]: {short(name)} ends with NUL or is not valid "
                "Unicode; rename the label"
            )


def _kind(label: Any, row: int) -> str:
    if isinstance(label, str):
        return "a string"
    if isinstance(label, bool | np.bool_):
        return "a boolean"
    if isinstance(label, int | np.integer):
        return "a whole number"
    if isinstance(label, float | np.floating) and label == label:
        return "a float"
    if _is_missing(label):
        raise DataError(_missing(row))
    raise DataError(
        f"labels[{row}]: expected a string, number or boolean, got {type(label).__name__} "
        f"({short(label)}); convert the labels, for example to strings"
    )


def _is_missing(label: Any) -> bool:
    """Whether a label is None, NaN, NaT or pandas' NA."""
    if label is None or label is np.ma.masked:
        return True
    try:
        different = label != label
        return not isinstance(different, bool | np.bool_ | np.ndarray | tuple) or different is True
    except (TypeError, ValueError):
        return False


def _missing(row: int) -> str:
    return f"labels[{row}] is missing; label the row or drop it"


def _check_discrete(array: NDArray[Any]) -> None:
    wrong = ~np.isfinite(array) | (array != np.floor(array))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"labels[{row}] is {array[row]}: expected classes, got continuous numbers (Unknown "
            "label type: continuous); divide the numbers into classes first, or convert them to "
            "strings if each is the name of a class"
        )


def class_number(label: Any, classes: NDArray[Any]) -> int | None:
    """Return the number of the class that a label of any type names; None if there is none.

    Numbers are compared as numbers, so 1, 1.0 and "1" name the same class; a boolean also names
    the class 0 or 1.
    """
    known = known_labels(classes)
    plain = label.item() if isinstance(label, np.generic) else label
    plain = str.__str__(plain) if isinstance(plain, str) else str(plain)
    name = matching_label(plain, known)
    if name is None and isinstance(label, bool | np.bool_):
        name = matching_label(str(int(label)), known)
    return None if name is None else [str(one) for one in classes].index(name)


def class_numbers(y: Any, rows: int, classes: NDArray[Any]) -> NDArray[np.int64]:
    """Return the (R,) class numbers of labels of a fitted classifier.

    Raises:
        DataError: as `as_labels`, or a label names no class.
    """
    labels = as_labels(y, rows)
    distinct, inverse = np.unique(labels, return_inverse=True)
    found = [class_number(label, classes) for label in distinct]
    if None in found:
        row = int(np.flatnonzero(inverse == found.index(None))[0])
        names = ", ".join(map(repr, classes[:10].tolist())) + (", ..." if len(classes) > 10 else "")
        raise DataError(
            f"labels[{row}]: {labels[row].item()!r:.60} is not one of the labels of the classifier "
            f"({names}); correct it or drop the row"
        )
    return np.array(found, dtype=np.int64)[inverse]


def label_name(label: Any, classes: NDArray[Any] | None, what: str) -> str:
    """Return the name of the class that a label names; without `classes`, the label as text.

    Raises:
        ConfigError: the label is no string, number or boolean.
    """
    if not isinstance(label, str | bool | int | float | np.generic):
        raise ConfigError(
            f"{what}: expected a label (a string, number or boolean), got {type(label).__name__} "
            f"({short(label)})"
        )
    place = None if classes is None else class_number(label, classes)
    if classes is not None and place is not None:
        return str(classes[place])
    return str.__str__(label) if isinstance(label, str) else str(label)


def named_class_weights(given: Any, classes: NDArray[Any] | None) -> str | dict[str, float] | Any:
    """Return class weights as the recipe has them: `none`, `balanced`, or weights by name.

    Args:
        given: None, `none`, `balanced`, or weights by label in the type of the labels.
        classes: (K,) the labels; None: not known yet.

    Raises:
        ConfigError: two keys name the same class.
    """
    if given is None:
        return "none"
    if not isinstance(given, Mapping):
        return given
    weights: dict[str, float] = {}
    for label, weight in given.items():
        name = label_name(label, classes, "class_weight")
        if name in weights:
            raise ConfigError(f"class_weight names the label {name!r} twice; give it one weight")
        weights[name] = weight.item() if isinstance(weight, np.generic) else weight
        if isinstance(weights[name], float) and not np.isfinite(weights[name]):
            raise ConfigError(f"class_weight of {name!r}: expected a number, got {weight}")
    return weights


def as_sample_weight(given: Any, rows: int) -> NDArray[np.float64] | None:
    """Return the (R,) weights of rows; None without weights. A single number is everyone's weight.

    Raises:
        DataError: another length, a negative or infinite weight, or no weight above 0.
    """
    if given is None:
        return None
    if hasattr(type(given), "__next__"):
        given = list(given)
    try:
        weights = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"sample_weight: expected {rows} numbers, got {type(given).__name__} ({short(given)})"
        ) from None
    weights = np.full(rows, weights) if weights.ndim == 0 else weights
    if weights.shape != (rows,):
        raise DataError(
            f"sample_weight: expected one weight for each of the {rows} texts, got an array of "
            f"shape {weights.shape}"
        )
    wrong = ~np.isfinite(weights) | (weights < 0)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"sample_weight[{row}]: expected a number from 0 on, got {weights[row]}")
    if rows and not weights.any():
        raise DataError("sample_weight: all weights are zero; at least one must be above 0")
    return weights


def as_groups(groups: Any, rows: int) -> NDArray[np.int64]:
    """Return the (R,) group numbers of groups of any type.

    Raises:
        DataError: there is not one group per row.
    """
    values = as_column(groups, "groups", "one group for each text")
    if len(values) != rows:
        raise DataError(
            f"groups: expected one group for each of the {rows} texts, got {len(values)}"
        )
    array = np.asarray(values)
    if array.ndim == 1 and array.dtype.kind in "iu":
        return array.astype(np.int64)
    for row, value in enumerate(values):
        if _is_missing(value) or value.__hash__ is None:
            raise DataError(f"groups[{row}]: expected a number or a name, got {short(value)}")
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def as_row_numbers(validation: Any, rows: int) -> NDArray[np.int64]:
    """Return the distinct row numbers of held-out rows, given by number or as a mask.

    Raises:
        DataError: a number is no row.
    """
    given = np.asarray(validation)
    if given.dtype == bool and given.shape == (rows,):
        given = np.flatnonzero(given)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise DataError(
            f"validation: expected row numbers, or a mask of {rows} booleans; got an array of "
            f"{given.dtype} of shape {given.shape}"
        )
    wrong = (given < 0) | (given >= rows)
    if wrong.any():
        raise DataError(
            f"validation: expected row numbers from 0 to {rows - 1}, got {given[wrong][0]}"
        )
    numbers = given.astype(np.int64)
    return numbers if len(set(numbers.tolist())) == len(numbers) else np.unique(numbers)
