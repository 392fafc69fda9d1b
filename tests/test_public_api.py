"""The names that users import: they are there, cheap to import, documented, and the errors are
caught as promised.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sklearn.exceptions

import tamis
import tamis.gpt2
from tamis import errors
from tamis.errors import MissingExtraError, TamisError
from tests import runs


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
    assert len(children) == 10 and all(issubclass(child, TamisError) for child in children)
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


TAKES_A_PATH: dict[str, Callable[[Any], Any]] = {
    "load": tamis.TextClassifier.load,
    "from_pretrained": tamis.TextClassifier.from_pretrained,
    "load_classifier": tamis.load_classifier,
    "read_table": tamis.read_table,
    "read_checkpoint": tamis.read_checkpoint,
    "load_backbone": tamis.load_backbone,
    "read_openai": tamis.gpt2.read_openai,
    "fetch_backbone": tamis.gpt2.fetch_backbone,
    "save": lambda path: tamis.TextClassifier.load(runs.head_model(), threads=1).save(path),
    "push_to_hub": lambda name: tamis.TextClassifier.load(runs.head_model(), threads=1).push_to_hub(
        name
    ),
    "export_onnx": lambda path: tamis.export_onnx(
        tamis.TextClassifier.load(runs.head_model(), threads=1), path
    ),
}


@pytest.mark.parametrize("value", [None, 3, 2.5, True, b"folder", ["folder"], "a\0b"])
@pytest.mark.parametrize("name", TAKES_A_PATH)
def test_what_is_no_path_is_named(
    name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TamisError) as caught:
        TAKES_A_PATH[name](value)
    assert type(value).__name__ in str(caught.value) or repr(value) in str(caught.value)
    assert not list(tmp_path.iterdir())
