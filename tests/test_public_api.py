"""The names that users import: they are there, cheap to import, documented, and the errors are
caught as promised.
"""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import sklearn.exceptions

import tamis
from tamis import errors
from tamis.errors import MissingExtraError, TamisError


def test_every_public_name_can_be_fetched_and_is_documented() -> None:
    for name in tamis.__all__:
        value = getattr(tamis, name)
        assert name == "__version__" or inspect.getdoc(value), name
    assert set(tamis.__all__) <= set(dir(tamis))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tamis' has no attribute 'TextClasifier'"):
        tamis.TextClasifier  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = (
        "import sys, tamis; print(*{'torch', 'numpy', 'sklearn', 'tokenizers', 'pydantic', "
        "'typer'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == ""


def test_one_error_catches_them_all() -> None:
    children = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Exception)
    ]
    assert len(children) == 9 and all(issubclass(child, TamisError) for child in children)
    assert {child.__name__ for child in children if child is not MissingExtraError} <= set(
        tamis.__all__
    ) | {"MissingExtraError"}


def test_errors_are_also_what_python_and_scikit_learn_call_them() -> None:
    assert issubclass(tamis.DataError, ValueError) and issubclass(tamis.ConfigError, ValueError)
    assert issubclass(tamis.NotFittedError, ValueError) and issubclass(
        tamis.NotFittedError, AttributeError
    )
    assert {base.__name__ for base in sklearn.exceptions.NotFittedError.__mro__} >= {
        "ValueError",
        "AttributeError",
    }


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, TamisError):
            assert name in errors.__doc__


def test_the_example_of_the_classifier_runs() -> None:
    texts = [
        "You have won a prize",
        "see you at six",
        "Claim your prize now",
        "running late, sorry",
    ] * 3
    labels = ["spam", "ham"] * 6
    classifier = tamis.TextClassifier(backbone="scratch:tiny", threads=1).fit(texts, labels)
    assert classifier.predict(["You have won a prize"]).dtype.kind == "U"
    assert "scratch:tiny" in (tamis.TextClassifier.__doc__ or "")
