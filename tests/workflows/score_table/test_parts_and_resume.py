"""The output is the same bytes whatever the engine's order is, however often the run was
interrupted; and a folder is only ever continued with the run that began it.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import DataError, RunError
from tamis.files import locked
from tamis.workflows.score_table import parts as part_module
from tamis.workflows.score_table.engine import CHUNK_TEXTS, Chunk, ScoredChunk
from tamis.workflows.score_table.parts import Part, cut_parts
from tamis.workflows.score_table.rows import BadRow, Row
from tests import runs
from tests.workflows.score_table.stand_in import StandIn, probability, score

LOCK = ".tamis-score.lock"


def rows_of(texts: Iterable[str | None]) -> Iterator[Row | BadRow]:
    for number, text in enumerate(texts, 1):
        if text is None:
            yield BadRow(number, number, "bad")
        else:
            yield Row(number, text, [text], len(text))


def texts_of(part: Part, before: list[str]) -> list[str]:
    """The text of each good row, by the numbers of the part."""
    return [before[number] if number >= 0 else part.new[-1 - number] for number in part.texts]


def write_table(path: Path, rows: int = 900, seed: int = 1) -> Path:
    """A JSONL table with repeated texts, some of them far apart, and some bad rows."""
    draw = random.Random(seed)
    lines = []
    for number in range(rows):
        if draw.random() < 0.03:
            lines.append('{"text": null}' if draw.random() < 0.5 else "{broken")
        else:
            lines.append(json.dumps({"text": f"text {draw.randrange(rows // 2)}", "n": number}))
    path.write_text('{"text": "first", "n": -1}\n' + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks and a small memory, so that a small table has all cases."""
    monkeypatch.setattr(part_module, "CHUNK_TEXTS", 7)
    monkeypatch.setattr(part_module, "REMEMBERED_TEXTS", 60)


@given(
    st.lists(st.none() | st.integers(0, 40).map(str), max_size=200),
    st.integers(1, 30),
    st.integers(0, 30),
)
def test_parts_hold_all_rows_and_score_each_text_once(
    texts: list[str | None], part_rows: int, memory: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part_module, "REMEMBERED_TEXTS", memory)
        found = list(cut_parts(rows_of(texts), part_rows))
    remembered: list[str] = []
    good: list[str] = []
    for number, part in enumerate(found):
        assert part.number == number and part.first_row == number * part_rows + 1
        assert part.rows == min(part_rows, len(texts) - number * part_rows) or not texts
        if part.first_remembered is not None:
            assert part.first_remembered == len(remembered)
            assert not set(part.new) & set(remembered)
        assert part.needs() <= len(remembered)
        if part.first_remembered is not None:
            remembered += part.new
        assert len(set(part.new)) == len(part.new)
        good += texts_of(part, remembered)
    assert good == [text for text in texts if text is not None]
    assert len(set(remembered)) == len(remembered)


def test_chunks_are_cut_by_number_and_by_characters() -> None:
    texts = [f"{number}" for number in range(CHUNK_TEXTS + 5)]
    (part,) = cut_parts(rows_of(texts))
    assert [len(chunk.texts) for chunk in part.chunks()] == [CHUNK_TEXTS, 5]
    assert [(chunk.part, chunk.place) for chunk in part.chunks()] == [(0, 0), (0, 1)]
    long = ["x" * (1 << 20), "a", "y" * (1 << 19), "z" * (1 << 19), "b"]
    (part,) = cut_parts(rows_of(long))
    assert [len(chunk.texts) for chunk in part.chunks()] == [1, 3, 1]


def test_a_part_ends_when_its_rows_are_large() -> None:
    large = part_module.PART_CHARACTERS // 4
    rows = [Row(number, f"{number}", None, large) for number in range(1, 11)]
    assert [part.rows for part in cut_parts(rows)] == [4, 4, 2]


@pytest.mark.usefixtures("small")
def test_the_order_of_the_engine_does_not_matter(tmp_path: Path) -> None:
    table = write_table(tmp_path / "in.jsonl")
    outputs = []
    for seed, ahead in ((0, 1), (1, 4), (2, 30), (3, 1_000)):
        out = tmp_path / str(seed)
        engine = StandIn(seed, ahead)
        score(table, out, engine, part_rows=50)
        outputs.append(runs.contents(out))
        assert engine.ended
    assert outputs[0] == outputs[1] == outputs[2] == outputs[3]
    assert len(outputs[0]) == 19 + 2
    summary = json.loads(outputs[0]["summary.json"])
    assert summary["texts_computed"] == len(engine.computed)
    assert 0 < summary["bad_rows"] < 60


class Killed(StandIn):
    """Ends with an exception after some chunks."""

    def __init__(self, after: int, **options: Any) -> None:
        super().__init__(**options)
        self._after = after

    def score(self, chunks: Iterable[Chunk]) -> Iterator[ScoredChunk]:
        for each in super().score(chunks):
            if not self._after:
                raise KeyboardInterrupt
            self._after -= 1
            yield each


@pytest.mark.usefixtures("small")
def test_an_interrupted_run_goes_on_and_computes_finished_parts_once(tmp_path: Path) -> None:
    table = write_table(tmp_path / "in.jsonl")
    whole = StandIn()
    score(table, tmp_path / "whole", whole, part_rows=50)
    computed = []
    for after in (0, 3, 9, 1, 20):
        engine = Killed(after, seed=after, ahead=3)
        with pytest.raises(KeyboardInterrupt):
            score(table, tmp_path / "out", engine, part_rows=50)
        computed += engine.computed
    last = StandIn(7)
    outcome = score(table, tmp_path / "out", last, part_rows=50)
    computed += last.computed
    assert runs.contents(tmp_path / "out") == runs.contents(tmp_path / "whole")
    assert outcome.timing["rows_this_run"] < outcome.summary["rows"]
    # Each of the five interruptions costs at most the part in work and the chunks ahead.
    assert len(computed) - len(whole.computed) <= 5 * (50 + 3 * 7)


@pytest.mark.usefixtures("small")
def test_a_finished_folder_is_left_alone_unless_overwritten(tmp_path: Path) -> None:
    table, out = write_table(tmp_path / "in.jsonl", 100), tmp_path / "out"
    score(table, out, part_rows=50)
    before = runs.contents(out)
    with pytest.raises(RunError, match=r"finished .* --overwrite"):
        score(table, out, part_rows=50)
    assert runs.contents(out) == before
    score(table, out, part_rows=20, overwrite=True)
    assert len(list(out.glob("part-*"))) == 6


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"part_rows": 60}, "part-rows"),
        ({"text": "text"}, "another way"),
        ({"engine": StandIn(fingerprint="two")}, "model is another"),
        ({"table": 2}, "input file"),
    ],
)
def test_a_run_is_not_continued_with_something_else(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    table, out = write_table(tmp_path / "in.jsonl"), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        score(table, out, Killed(20, ahead=1), part_rows=50)
    finished = {path.name: path.read_bytes() for path in out.glob("part-*")}
    assert finished
    if "table" in change:
        table = write_table(tmp_path / "in.jsonl", seed=2)
    given = {"engine": StandIn(), "part_rows": 50, **change}
    given.pop("table", None)
    with pytest.raises(RunError, match=words):
        score(table, out, **given)
    assert {path.name: path.read_bytes() for path in out.glob("part-*")} == finished
    score(table, out, **given, overwrite=True)
    fresh = {**given, "engine": StandIn()}
    if "engine" in change:
        fresh["engine"] = StandIn(fingerprint="two")
    score(table, tmp_path / "fresh", **fresh)
    assert runs.contents(out) == runs.contents(tmp_path / "fresh")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("ending", ["no text column", "no model"])
def test_a_run_without_a_finished_part_may_be_repeated_in_another_way(
    tmp_path: Path, ending: str
) -> None:
    """Errors advise another option, such as --text; the folder of the failed run is no obstacle."""
    table, out = write_table(tmp_path / "in.jsonl"), tmp_path / "out"
    if ending == "no text column":
        with pytest.raises(DataError, match="no column 'body'"):
            score(table, out, text="body", part_rows=50)
    else:
        with pytest.raises(KeyboardInterrupt):
            score(table, out, Killed(0, ahead=1, fingerprint="two"), part_rows=70)
        # Killed between a part and its record.
        (out / "part-00003.csv").touch()
    assert (out / ".tamis-score").is_dir()
    score(table, out, text="text", part_rows=50)
    score(table, tmp_path / "fresh", text="text", part_rows=50)
    assert runs.contents(out) == runs.contents(tmp_path / "fresh")


@pytest.mark.usefixtures("small")
def test_overwrite_resumes_what_it_began_itself(tmp_path: Path) -> None:
    table, out = write_table(tmp_path / "in.jsonl"), tmp_path / "out"
    score(table, out, part_rows=70)
    with pytest.raises(KeyboardInterrupt):
        score(table, out, Killed(20, ahead=1), part_rows=50, overwrite=True)
    engine = StandIn()
    score(table, out, engine, part_rows=50, overwrite=True)
    whole = StandIn()
    score(table, tmp_path / "whole", whole, part_rows=50)
    assert len(engine.computed) < len(whole.computed)
    assert runs.contents(out) == runs.contents(tmp_path / "whole")


def test_a_changed_part_is_made_again(tmp_path: Path) -> None:
    table, out = write_table(tmp_path / "in.jsonl"), tmp_path / "out"
    score(table, tmp_path / "whole", part_rows=50)
    with pytest.raises(KeyboardInterrupt):
        score(table, out, Killed(8, ahead=1), part_rows=50)
    first = out / "part-00000.jsonl"
    first.write_bytes(first.read_bytes()[:-10])
    score(table, out, part_rows=50)
    assert runs.contents(out) == runs.contents(tmp_path / "whole")


def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    table, out = write_table(tmp_path / "in.jsonl", 20), tmp_path / "out"
    out.mkdir()
    (out / "thesis.docx").touch()
    for overwrite in (False, True):
        with pytest.raises(RunError, match=r"other files \('thesis.docx'\)"):
            score(table, out, overwrite=overwrite)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="no folder"):
        score(table, tmp_path / "file")
    (out / "thesis.docx").rename(out / "part-00000.csv")
    with pytest.raises(RunError, match="cannot be resumed"):
        score(table, out)


@pytest.mark.parametrize("kind", ["file", "link in", "link out"])
def test_a_table_in_the_output_folder_is_refused_and_stays(tmp_path: Path, kind: str) -> None:
    """`--overwrite` removes the parts in the folder: one of them may be the table itself."""
    table, out = tmp_path / "in.jsonl", tmp_path / "out"
    out.mkdir()
    inside = out / "part-00000.jsonl"
    if kind == "file":
        write_table(inside, 20)
        table = inside
    elif kind == "link in":
        write_table(table, 20)
        inside.symlink_to(table)
        table = inside
    else:
        write_table(inside, 20)
        table.symlink_to(inside)
    before = runs.contents(out)
    for overwrite in (False, True):
        with pytest.raises(RunError, match=r"is in .*out, .* another folder"):
            score(table, out, overwrite=overwrite)
    assert runs.contents(out) == before


def test_the_output_folder_may_be_beside_the_table(tmp_path: Path, monkeypatch: Any) -> None:
    table = write_table(tmp_path / "in.jsonl", 20)
    whole = table.read_bytes()
    monkeypatch.chdir(tmp_path)
    score(Path("in.jsonl"), Path("out"))
    score(Path("in.jsonl"), Path("out"), overwrite=True)
    assert table.read_bytes() == whole and (tmp_path / "out" / "summary.json").exists()
    with pytest.raises(RunError, match=r"in\.jsonl is in \."):
        score(Path("in.jsonl"), Path())


@pytest.mark.parametrize("remembered", [1_000, 1])
def test_a_message_in_several_parts_has_one_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    """As far as texts are remembered, it is scored once, and its scores are equal to the bit."""
    monkeypatch.setattr("tamis.workflows.score_table.parts.REMEMBERED_TEXTS", remembered)
    texts = [f"text {number % 30}" for number in range(90)]
    table, engine = tmp_path / "in.jsonl", StandIn()
    table.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    score(table, tmp_path / "out", engine, part_rows=20)
    rows = [
        json.loads(line)
        for path in sorted((tmp_path / "out").glob("part-*"))
        for line in path.read_text("utf-8").splitlines()
    ]
    assert [row["text"] for row in rows] == texts
    found = {text: {row["p_spam"] for row in rows if row["text"] == text} for text in texts}
    for text, scores in found.items():
        assert max(scores) == pytest.approx(probability(text), abs=1e-8)
        assert max(scores) - min(scores) < 1e-8
    if remembered == 1_000:
        assert all(len(scores) == 1 for scores in found.values())
        assert sorted(engine.computed) == sorted(set(texts))
    else:
        # Only the first part is remembered; ten texts are new to three of the four others.
        assert len(engine.computed) == 20 + 10 + 10 + 0 + 10


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path) -> None:
    table, out = write_table(tmp_path / "in.jsonl", 20), tmp_path / "out"
    out.mkdir()
    with locked(out / LOCK) as free:
        assert free
        with pytest.raises(RunError, match="another process"):
            score(table, out)
    score(table, out)
    assert not (out / LOCK).exists()


def test_too_many_bad_rows_end_the_run_and_more_may_be_allowed_later(tmp_path: Path) -> None:
    table, out = write_table(tmp_path / "in.jsonl"), tmp_path / "out"
    bad = score(table, tmp_path / "whole", part_rows=50).summary["bad_rows"]
    with pytest.raises(DataError, match=r"--max-bad 3 .*row "):
        score(table, out, part_rows=50, max_bad=3)
    assert score(table, out, part_rows=50, max_bad=bad).summary["bad_rows"] == bad
    assert runs.contents(out) == runs.contents(tmp_path / "whole")


def test_a_table_of_bad_rows_alone_is_an_error_that_names_the_list(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": null}\n' * 3, encoding="utf-8")
    with pytest.raises(DataError, match=r"none of the 3 rows .*bad-rows.jsonl"):
        score(tmp_path / "in.jsonl", tmp_path / "out", text="text")
    assert len((tmp_path / "out" / "bad-rows.jsonl").read_text("utf-8").splitlines()) == 3


PROGRAM = """
import os, signal, sys
from pathlib import Path

from tamis.workflows.score_table import parts, run
from tests.workflows.score_table import stand_in

table, out, moment, model = sys.argv[1:]
left = int(moment)
folder = str(Path(out).resolve())

def seen(event, arguments):
    global left
    places = [os.fspath(each) for each in arguments if isinstance(each, (str, os.PathLike))]
    if event != "import" and any(folder in place for place in places):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

parts.CHUNK_TEXTS, parts.REMEMBERED_TEXTS = 7, 60
stand_in.runs.head_model = lambda: Path(model)
if left:
    sys.addaudithook(seen)
stand_in.score(Path(table), Path(out), stand_in.StandIn(left, 3), part_rows=200)
"""
"""Ends with SIGKILL just before the file system is asked something about the output folder for the
given time: a file opened, renamed, removed, a folder listed."""


def run_until(table: Path, out: Path, moment: int) -> int:
    command = [sys.executable, "-c", PROGRAM, str(table), str(out), str(moment)]
    return subprocess.run([*command, str(runs.head_model())], check=False).returncode


def killed_at(tmp_path: Path, moments: Iterable[int]) -> None:
    """Kill a run at these moments, each in a folder of its own, and once more when it goes on."""
    table = write_table(tmp_path / "in.jsonl")
    assert run_until(table, tmp_path / "whole", 0) == 0
    whole = runs.contents(tmp_path / "whole")
    for moment in moments:
        out = tmp_path / "out"
        assert run_until(table, out, moment) == -signal.SIGKILL, moment
        while run_until(table, out, moment):
            assert not (out / "summary.json").exists() or (out / ".tamis-score").exists()
            moment += 1 + moment // 2  # a kill at the same moment each time would never end
        assert runs.contents(out) == whole, moment
        shutil.rmtree(out)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_kill_while_files_are_written_changes_nothing(tmp_path: Path) -> None:
    killed_at(tmp_path, [40])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_kills_at_any_access_change_nothing(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    kills = request.config.getoption("--kills")
    killed_at(tmp_path, sorted(random.Random(42).sample(range(1, 150), kills)))


class Told:
    """A progress display that remembers."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.steps: list[int] = []

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> Told:
        self.begun.append((total, done))
        return self

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.steps.append(amount)


@pytest.mark.usefixtures("small")
def test_progress_counts_every_row_also_where_nothing_is_left_to_score(tmp_path: Path) -> None:
    texts = [f"text {number % 50}" for number in range(1_000)]
    table = tmp_path / "in.jsonl"
    table.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    told = Told()
    score(table, tmp_path / "out", part_rows=100, progress=told)
    assert told.begun == [(1_000, 0)]
    assert sum(told.steps) == 1_000
    # The first part has eight chunks; each of the others is a step, though it has none.
    assert len(told.steps) == 8 + 9
