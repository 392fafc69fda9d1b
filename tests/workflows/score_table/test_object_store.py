"""Tables and output folders that a URI names, on a file system in memory."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tamis.errors import ConfigError, DataError, RunError
from tamis.workflows.score_table.engine import Engine, ScoredChunk, ScoringJob
from tamis.workflows.score_table.object_store import RemoteFolder, output_folder, table_source
from tamis.workflows.score_table.options import ScoreOptions
from tamis.workflows.score_table.output_folder import STATE, LocalFolder
from tamis.workflows.score_table.run import score_table
from tamis.workflows.score_table.source import local_source
from tests import runs
from tests.rows import messages
from tests.workflows.score_table.stand_in import StandIn

fsspec = pytest.importorskip("fsspec")
pyarrow_fs = pytest.importorskip("pyarrow.fs")


def table(times: int) -> str:
    """Rows of which none is like another."""
    rows = [(k, text.replace('"', "'")) for k in range(times) for _, text in messages()]
    return "id;text\n" + "".join(f'{k};"{text} {n}"\n' for n, (k, text) in enumerate(rows))


TABLE = table(1)
BAD = "7777;\n"


@pytest.fixture
def memory() -> Iterator[Any]:
    """The file system behind `memory://`, empty."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def score(table: str, out: str, engine: Engine | None = None, **options: Any) -> dict[str, Any]:
    job = ScoringJob(str(runs.head_model()))
    asked = ScoreOptions(part_rows=50, **options)
    outcome = score_table(job, table_source(table), output_folder(out), engine or StandIn(), asked)
    return outcome.summary


def contents(memory: Any, folder: str) -> dict[str, bytes]:
    return {
        name.removeprefix(f"{folder}/"): memory.cat(name)
        for name in memory.find(folder)
        if memory.isfile(name)
    }


class Killed(StandIn):
    """Fails after a number of chunks."""

    def score(self, chunks: Any) -> Iterator[ScoredChunk]:
        for number, scored in enumerate(super().score(chunks)):
            if number == 5:
                raise KeyboardInterrupt
            yield scored


def test_the_output_on_another_file_system_has_the_same_bytes(memory: Any, tmp_path: Path) -> None:
    data = (table(2) + BAD).encode()
    memory.pipe("/bucket/in.csv", data)
    (tmp_path / "in.csv").write_bytes(data)
    there = score("memory://bucket/in.csv", "memory://bucket/out/")
    here = score(str(tmp_path / "in.csv"), str(tmp_path / "out"))
    assert there.pop("input").pop("name") == "memory://bucket/in.csv"
    assert here.pop("input").pop("name") == str(tmp_path / "in.csv")
    assert there == here and here["rows"] == 249 and here["parts"] == 5
    found, local = contents(memory, "/bucket/out"), runs.contents(tmp_path / "out")
    assert {"part-00000.csv", "part-00004.csv", "bad-rows.jsonl", "summary.json"} <= found.keys()
    found.pop("summary.json"), local.pop("summary.json")  # its input has another name
    assert found == local


def test_an_interrupted_run_goes_on_in_a_remote_folder(memory: Any) -> None:
    memory.pipe("/in.csv", table(3).encode())
    score("memory://in.csv", "memory://whole")
    with pytest.raises(KeyboardInterrupt):
        score("memory://in.csv", "memory://cut", Killed())
    assert any(name.startswith(STATE) for name in contents(memory, "/cut"))
    assert "summary.json" not in contents(memory, "/cut")
    engine = StandIn()
    score("memory://in.csv", "memory://cut", engine)
    assert contents(memory, "/cut") == contents(memory, "/whole")
    whole = StandIn()
    score("memory://in.csv", "memory://whole", whole, overwrite=True)
    assert 0 < len(engine.computed) < len(whole.computed)
    with pytest.raises(RunError, match="memory://cut is finished"):
        score("memory://in.csv", "memory://cut")


def test_a_folder_with_other_files_is_left_alone(memory: Any) -> None:
    memory.pipe("/in.csv", TABLE.encode())
    memory.pipe("/mine/thesis.txt", b"mine")
    with pytest.raises(RunError, match=r"memory://mine contains other files \('thesis.txt'\)"):
        score("memory://in.csv", "memory://mine")
    assert contents(memory, "/mine") == {"thesis.txt": b"mine"}


def test_a_compressed_table_is_read(memory: Any) -> None:
    memory.pipe("/in.csv.gz", gzip.compress(TABLE.encode()))
    source = table_source("memory://in.csv.gz")
    assert b"".join(source.pieces()) == TABLE.encode() and source.ending == ".csv"


def test_only_one_process_of_a_machine_writes(memory: Any) -> None:
    folder = output_folder("memory://out")
    with (
        folder.locked(),
        pytest.raises(RunError, match="another process is writing"),
        output_folder("memory://out/").locked(),
    ):
        pass
    with folder.locked():
        pass


def test_every_method_of_a_folder_does_what_that_of_a_local_one_does(tmp_path: Path) -> None:
    mock = pyarrow_fs.SubTreeFileSystem(str(tmp_path / "a"), pyarrow_fs.LocalFileSystem())
    (tmp_path / "a").mkdir()
    for folder in (RemoteFolder("sub://x", mock, "x"), LocalFolder(tmp_path / "b")):
        with folder.locked():
            assert folder.names() == set() and folder.size("one") is None
            for name in ("one", f"{STATE}/two"):
                with folder.replaced(name) as path:
                    path.write_text("é", encoding="utf-8")
            assert folder.names() == {"one", STATE, f"{STATE}/two"}
            assert folder.size("one") == 2 and folder.read(f"{STATE}/two") == "é"
            with pytest.raises(ZeroDivisionError), folder.replaced("one") as path:
                path.write_text("half", encoding="utf-8")
                raise ZeroDivisionError
            assert folder.read("one") == "é"
            for _ in range(2):
                folder.remove(STATE)
                folder.remove("one")
            assert folder.names() == set()
            with pytest.raises(OSError):
                folder.read("one")


def test_a_file_uri_is_a_file_of_this_machine(tmp_path: Path) -> None:
    odd = tmp_path / "a b#c?.csv"
    odd.write_text(TABLE, encoding="utf-8")
    assert b"".join(table_source(odd.as_uri()).pieces()) == TABLE.encode()
    assert isinstance(output_folder(odd.as_uri()), LocalFolder)
    assert b"".join(local_source(odd).pieces()) == TABLE.encode()
    with pytest.raises(ConfigError, match="three slashes, got the host 'server'"):
        table_source("file://server/in.csv")


def test_errors_say_what_to_do(memory: Any) -> None:
    memory.pipe("/folder/in.csv", b"x")
    with pytest.raises(DataError, match="memory://folder is a folder; expected a table"):
        table_source("memory://folder")
    with pytest.raises(DataError, match=r"memory://none\.csv does not exist"):
        table_source("memory://none.csv")
    with pytest.raises(ConfigError, match=r"no file system for zzz://.*s3://, gs://"):
        table_source("zzz://bucket/in.csv")
    with pytest.raises(ConfigError, match="no file system for zzz://"):
        output_folder("zzz://bucket/out")


def test_a_failing_upload_is_told(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = output_folder("memory://out")

    def full(*_: Any, **__: Any) -> None:
        raise OSError("quota exceeded")

    monkeypatch.setattr(type(memory), "open", full)
    with (
        folder.locked(),
        pytest.raises(RunError, match=r"memory://out cannot be written \(.*quota.*repeat the same"),
        folder.replaced("one") as path,
    ):
        path.write_bytes(b"1")
