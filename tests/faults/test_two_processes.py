"""Two processes on one folder, one store or one cache: the second is told who has the folder, and
what they share is never mixed.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tamis.files import locked
from tests import runs
from tests.faults.kills import End, Forks, Undisturbed, Work, differences, made, state_of
from tests.faults.test_kill_learn import CORRECTIONS, LOOK, given, learn
from tests.faults.test_kill_pretrain import pretrain
from tests.faults.test_kill_score import score
from tests.faults.test_kill_train import train

FOLDERS: dict[str, tuple[Callable[[], Work], str]] = {
    "train": (lambda: train("--tune", "head"), "run/checkpoint/lock"),
    "overwrite": (lambda: train("--tune", "head", "--overwrite"), "run/checkpoint/lock"),
    "pretrain": (pretrain, "out/pretraining/lock"),
    "score": (score, "scored/.tamis-score.lock"),
}


@pytest.fixture(scope="module")
def others() -> Iterator[Forks]:
    """A second fork server."""
    server = Forks()
    yield server
    server.close()


@pytest.mark.parametrize(
    "name", [*list(FOLDERS)[:-1], pytest.param("score", marks=pytest.mark.slow)]
)
def test_the_second_is_told_who_has_the_folder(name: str, forks: Forks, tmp_path: Path) -> None:
    work, lock = FOLDERS[name][0](), FOLDERS[name][1]
    here = made(tmp_path / "here", work)
    (here / lock).parent.mkdir(parents=True)
    with locked(here / lock) as mine:
        assert mine
        before = runs.contents(here)
        end = forks.run(work, here)
        assert end.code == 1 and runs.contents(here) == before
        holder = f"in use by another process ({os.getpid()} on {platform.node()}); wait until it"
        assert holder in end.err.splitlines()[-1]
    # A lock file that a killed process left, on a machine that has given its number to another.
    (here / lock).parent.mkdir(parents=True, exist_ok=True)
    (here / lock).write_text(f"{os.getpid()}\n{platform.node()}\n", encoding="utf-8")
    assert forks.run(work, here).code == 0


def at_once(forks: Forks, others: Forks, works: tuple[Work, Work], here: Path) -> list[End]:
    with ThreadPoolExecutor(2) as pool:
        servers = (forks, others)
        return list(pool.map(lambda place: servers[place].run(works[place], here), range(2)))


def test_two_trainings_share_a_cache(forks: Forks, others: Forks, tmp_path: Path) -> None:
    work = train("--tune", "full")
    whole = Undisturbed.of(forks, work, tmp_path)
    second = replace(work, arguments=(*work.arguments[:-1], "{here}/second"))
    here = made(tmp_path / "here", work)
    ends = at_once(forks, others, (work, second), here)
    assert [end.code for end in ends] == [0, 0], ends
    for name in ("run", "second"):
        found = {
            f"run/{file}": work.shown(file, content)
            for file, content in runs.contents(here / name).items()
        }
        alone = {file: content for file, content in whole.state.items() if file.startswith("run/")}
        assert differences(alone, found) == []


def test_two_commands_learn_into_one_store(forks: Forks, others: Forks, tmp_path: Path) -> None:
    def both(here: Path) -> None:
        given(here)
        runs.write_table(here / "others.tsv", OTHERS)

    OTHERS = [("ham", "ok, ill ring u later x"), ("spam", "You won a holiday! Call 0900 555 0100")]
    first = replace(learn(), before=both)
    words = ["{here}/others.tsv" if "corrections" in word else word for word in first.arguments]
    here = made(tmp_path / "here", first)
    ends = at_once(forks, others, (first, replace(first, arguments=tuple(words))), here)
    assert [end.code for end in ends] == [0, 0], ends
    seen = forks.run(first, here, program=LOOK.format(learn=True))
    items, held_back, _, sound = json.loads(seen.out)
    assert {(text, label) for text, label, _ in items} == {
        (text, label) for label, text in (*CORRECTIONS, *OTHERS)
    }
    # Six together may take a guard's limit; both commands' are in effect up to there.
    assert held_back < len(items) and sound == ["ok"]


def test_two_exports_to_one_folder_leave_one_of_them(
    forks: Forks, others: Forks, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    from tests.faults.test_kill_export import export

    work = export(earlier=True)
    whole = Undisturbed.of(forks, work, tmp_path)
    here = made(tmp_path / "here", work)
    ends = at_once(forks, others, (work, work), here)
    assert [end.code for end in ends] == [0, 0], ends
    assert differences(whole.state, state_of(forks, work, here)) == []
