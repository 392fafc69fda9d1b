"""`tamis export`, killed at any moment and repeated, ends like an undisturbed one; an earlier
export in its place is there, whole, at any time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import runs
from tests.faults.kills import End, Forks, Work, survived

OLD = {"tamis.json": b'{"format": 1}\n', "model.onnx": b"old"}


def an_export(here: Path) -> None:
    """An exported folder of an earlier run."""
    (here / "out").mkdir()
    for name, content in OLD.items():
        (here / "out" / name).write_bytes(content)


def one_export(here: Path, end: End) -> None:
    """What is in the place of the export is the earlier one or the new one."""
    assert (here / "out").is_dir(), "the earlier export is gone"
    found = runs.contents(here / "out")
    assert found == OLD or {"predict.py", "tokenizer.json", *OLD} <= set(found), found.keys()


def export(*, earlier: bool = False) -> Work:
    return Work(
        (
            *("export", str(runs.head_model()), "--to", "onnx", "--threads", "1"),
            *(("--overwrite",) if earlier else ()),
            *("-o", "{here}/out"),
        ),
        before=an_export if earlier else lambda here: None,
        whole=one_export if earlier else lambda here, end: None,
        already="exists; choose another folder",
    )


@pytest.mark.parametrize("earlier", [False, True], ids=["new", "overwrite"])
def test_a_killed_export_ends_like_an_undisturbed_one(
    earlier: bool, forks: Forks, kills: int, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    survived(forks, export(earlier=earlier), tmp_path, kills)
