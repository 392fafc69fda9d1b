"""Damaged files of every format that is read: an error of tamis or a result, never another error, a
crash or a huge allocation.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import CheckpointError
from tamis.feedback.store import CorrectionStore, NewCorrection
from tamis.gpt2.tensor_files import read_tensor_file
from tests import runs
from tests.faults.damage import READERS
from tests.faults.kills import Forks, Work

FEW, MANY = 12, 150
"""Damages of each file by default, and with --kills 50."""
PROGRAM = """
import sys
from pathlib import Path
from tests.faults.damage import main
main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
"""
OPENAI = Path(__file__).parents[1] / "fixtures" / "openai_tiny" / "openai"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every file that is read."""
    folder = tmp_path_factory.mktemp("whole")
    run = runs.copy_of(runs.finished_run(), folder / "run")
    store = CorrectionStore(folder / "run.feedback.sqlite")
    store.add([NewCorrection(f"text {n}", "spam") for n in range(40)], model="run")
    store.close()
    np.save(run / "states.npy", np.ones((50, 16), np.float32))
    shutil.copytree(OPENAI, run / "openai")
    pytest.importorskip("onnx")
    said = runs.tamis("export", run, "--to", "onnx", "--threads", "1", "-o", run / "onnx")
    assert said.code == 0, said.err
    return folder


def without_checksums(folder: Path) -> None:
    """As models of others are: no checksum tells an altered file."""
    (folder / "model" / "tamis.json").unlink()
    path = folder / "onnx" / "tamis.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": {}}))


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_an_error_of_tamis(
    name: str, whole: Path, forks: Forks, thorough: bool, tmp_path: Path
) -> None:
    count = MANY if thorough else FEW
    (tmp_path / "tmp").mkdir()
    shutil.copytree(whole, tmp_path / "here")
    if name != "description":
        without_checksums(tmp_path / "here" / "run")
    work = Work((name, str(tmp_path / "here" / "run"), str(count)), program=PROGRAM)
    end = forks.run(work, tmp_path)
    faults = [line for line in end.out.splitlines() if line.startswith(f"{name} ")]
    assert not faults, "\n".join(faults)
    assert end.code == 0 and f"of {count}" in end.err, f"{end.code}: {end.err[-500:]}"


SIZES = st.one_of(st.integers(-3, 9), st.sampled_from([2**31, 2**62, 2**63, 2**64, 10**30, 1.5]))
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "I64", "BOOL", "F8_E4M3", "F99", "", 7]),
        "shape": st.lists(SIZES, max_size=3),
        "data_offsets": st.lists(SIZES, max_size=3),
        "more": st.none(),
    },
)
HEADERS = st.dictionaries(
    st.sampled_from(["wte.weight", "wpe.weight", "", "é", "__metadata__"]),
    st.one_of(TENSORS, st.none(), st.lists(st.integers(), max_size=2)),
    max_size=3,
)
LENGTHS = st.sampled_from([None, 0, 1, 2**20, 2**40, 2**63, 2**64 - 1])


@given(HEADERS, LENGTHS, st.binary(max_size=40), st.integers(0, 3))
def test_any_header_of_safetensors_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    header: dict[str, object],
    length: int | None,
    data: bytes,
    cut: int,
) -> None:
    text = json.dumps(header).encode()
    text = text[: len(text) - cut]
    path = tmp_path_factory.mktemp("tensors") / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    try:
        found = read_tensor_file(path)
    except CheckpointError as error:
        assert str(path) in str(error)
    else:  # no more than was in the file
        assert sum(tensor.nbytes for tensor in found.values()) <= len(data)


def test_a_store_that_is_cut_off_is_not_written_to(tmp_path: Path) -> None:
    """The error names the file; what is left of it stays for a repair."""
    store = CorrectionStore(tmp_path / "s.sqlite")
    store.add([NewCorrection(f"text {n}", "spam") for n in range(400)])
    store.close()
    content = (tmp_path / "s.sqlite").read_bytes()[:9000]
    (tmp_path / "s.sqlite").write_bytes(content)
    said = runs.tamis("learn", tmp_path, "--store", tmp_path / "s.sqlite")
    assert said.code == 1 and "s.sqlite" in said.err
    assert (tmp_path / "s.sqlite").read_bytes()[24:] == content[24:]
    with pytest.raises(sqlite3.DatabaseError), sqlite3.connect(tmp_path / "s.sqlite") as broken:
        broken.execute("SELECT count(text) FROM corrections").fetchone()
    broken.close()
