"""The Python of the pages runs, on a small model and small rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import runs
from tests.rows import messages
from tests.test_examples import python_blocks

FIXTURES = Path(__file__).parent / "fixtures"
TINY = 'TextClassifier("scratch:tiny", "head", threads=1'
CHANGES: dict[str, dict[str, str]] = {
    "docs/tutorial/first-classifier.md": {},
    "docs/reference/python.md": {"TextClassifier(": f"{TINY}, "},
    "docs/how-to/notebooks.md": {
        'runs/mine", tune="head"': 'runs/new", tune="head", backbone="scratch:tiny"'
    },
    "docs/how-to/tracking.md": {},
    "docs/how-to/own-table.md": {"TextClassifier(": f"{TINY}, "},
    "docs/how-to/scikit-learn.md": {
        "TextClassifier()": 'TextClassifier("scratch:tiny", threads=1)',
        "[2, 4]": "[1, 2]",
        "cv=3": "cv=2",
    },
    "docs/how-to/onnx.md": {},
    "docs/how-to/openai-checkpoint.md": {"124M": str(FIXTURES / "openai_tiny" / "openai")},
}
"""Pages whose blocks run one after the other, and what is made small in them. The README's is run
by test_docs.py, the notebooks by test_notebook.py and test_notebook_views.py."""
ELSEWHERE = ("README.md", "docs/notebooks/tp2.ipynb", "docs/notebooks/classify.ipynb")
NOT_RUN = {
    "push_to_hub": "writes to a hub; tests/export has a hub on loopback",
    "fetch_backbone(": "downloads; tests/gpt2/test_hub.py has a hub on loopback",
    "from peft import": "needs the published GPT-2 124M",
    "onnxruntime.InferenceSession(": "is a file of the package, which tests/export runs",
    "SentenceTransformer(": "sentence-transformers, setfit, bertopic and mteb are no dependencies",
    "from setfit import": "sentence-transformers, setfit, bertopic and mteb are no dependencies",
}
"""What a block contains that is not run, and why."""


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A folder with the runs and tables that the pages name; gives the variables that they use."""
    import pandas as pd

    from tamis import TextClassifier

    labels, texts = map(list, zip(*messages(), strict=True))
    (tmp_path / "runs").mkdir()
    runs.copy_of(runs.finished_run(), tmp_path / "runs" / "mine")
    for name in ("runs/first", "mine-onnx"):
        (tmp_path / name).symlink_to(tmp_path / "runs" / "mine")
    frame = pd.DataFrame({"text": texts, "label": labels})
    frame.to_csv(tmp_path / "messages.csv", index=False)
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger().level, logging.getLogger().handlers[:]
    settings = {"train.epochs": 1}
    yield {
        "texts": texts,
        "labels": labels,
        "frame": frame.assign(text=[text or "k" for text in texts]),
        "other": frame[:40],
        "classifier": TextClassifier("scratch:tiny", threads=1, settings=settings),
    }
    logging.getLogger().setLevel(level[0])
    logging.getLogger().handlers[:] = level[1]


def blocks(page: str) -> list[str]:
    """The blocks of a page that are run."""
    return [
        code
        for where, code in python_blocks()
        if where == page and not any(part in code for part in NOT_RUN)
    ]


def test_every_block_is_run_or_says_why_not() -> None:
    pages = {where for where, code in python_blocks() if not any(part in code for part in NOT_RUN)}
    assert pages == {*CHANGES, *ELSEWHERE}
    for part in NOT_RUN:
        assert any(part in code for _, code in python_blocks()), f"in no block: {part}"


@pytest.mark.parametrize("page", CHANGES)
def test_the_blocks_of_a_page_run(page: str, surroundings: dict[str, Any]) -> None:
    changes, names = dict(CHANGES[page]), dict(surroundings)
    for number, block in enumerate(blocks(page)):
        code = block
        for old in [old for old in changes if old in code]:
            code = code.replace(old, changes.pop(old))
        exec(compile(code, f"block {number} of {page}", "exec"), names)
    assert not changes, f"not on the page: {changes}"
