"""`tamis search`: test rows are never read, the same seed gives the same trials, a killed search
goes on to what it would have found.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tamis import RunError
from tamis.config import Recipe, read_recipe
from tamis.workflows.dataset import load_dataset
from tamis.workflows.hyperparameter_search import search
from tamis.workflows.search_space import DEPTHS, depths_of, suggested
from tamis.workflows.search_split import TrialScores, search_split
from tests import runs
from tests.rows import messages
from tests.runs import tamis as run

optuna = pytest.importorskip("optuna")

RECIPE = Recipe().changed(
    {
        "backbone": "nano",
        "tune": "head",
        "compute.threads": 1,
        "compute.dtype": "fp32",
        "compute.device": "cpu",
        "data.validation_share": 0.1,
    }
)


WORDS = {
    "ham": "mum bus pasta fridge lecture keys plumber flowers platform bench walking home charger "
    "match dinner brother rain sofa".split(),
    "spam": "prize claim urgent ringtone voucher winner account verify parcel fee singles chat "
    "weekly draw bonus credit loan code".split(),
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    random = np.random.default_rng(2)
    kinds = ["spam" if row % 3 == 0 else "ham" for row in range(150)]
    return runs.write_table(
        tmp_path / "rows.tsv",
        [(kind, " ".join(random.permutation(WORDS[kind])[:7])) for kind in kinds],
    )


class Fake:
    """Probabilities made up from the settings instead of a training; counts, reports epochs, and
    can be killed.
    """

    def __init__(self, die_at: int | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.die_at = die_at

    def __call__(self, rows: Any, recipe: Recipe, on_epoch: Any, progress: Any) -> TrialScores:
        self.calls.append(recipe.model_dump())
        if len(self.calls) == self.die_at:
            raise KeyboardInterrupt
        skill = {"head": 0.5, "full": 2.0}.get(recipe.tune, 1.0) + (
            0 if recipe.train.dropout is None else recipe.train.dropout
        )
        if recipe.tune != "head":
            from tamis.evaluation.model_selection import Scores

            for epoch in (1, 2, 3):
                on_epoch(epoch, Scores(0.5, 0.5, skill / 10 * epoch, skill / 20 * epoch))
        random = np.random.default_rng(3)
        parts = []
        for own in (rows.choosing, rows.confirming):
            truth = np.array([rows.labels[row] == rows.positive for row in own.tolist()])
            score = 1 / (1 + np.exp(-(skill * truth + random.normal(size=len(own)))))
            second = sorted(set(rows.labels))[1] == rows.positive
            parts.append(np.stack([1 - score, score] if second else [score, 1 - score], 1))
        return TrialScores(*parts)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    monkeypatch.setattr("tamis.workflows.hyperparameter_search.fitted", made)
    return made


def table_of(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(row["state"], row["average_precision"], row["settings"]) for row in found["trials"]]


def test_the_same_seed_gives_the_same_trials_and_the_best_is_written(
    table: Path, tmp_path: Path, fake: Fake
) -> None:
    found = search(str(table), RECIPE, tmp_path / "a", trials=7)
    again = search(str(table), RECIPE, tmp_path / "b", trials=7)
    assert table_of(found) == table_of(again) and len(found["trials"]) == 7
    other = search(str(table), RECIPE.changed({"seed": 7}), tmp_path / "c", trials=3)
    assert table_of(other) != table_of(found)[:3]
    assert found["trials"][0]["settings"] == {}
    best = found["best"]
    assert best["average_precision"] == max(
        row["average_precision"] or 0 for row in found["trials"]
    )
    written = read_recipe(tmp_path / "a" / "best.toml")
    assert written == RECIPE.changed(best["settings"])
    assert json.loads((tmp_path / "a" / "trials.json").read_text()) == found


def test_a_killed_search_comes_to_the_same_trials(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamis.workflows.hyperparameter_search.fitted", Fake())
    whole = search(str(table), RECIPE, tmp_path / "whole", trials=7)
    monkeypatch.setattr("tamis.workflows.hyperparameter_search.fitted", Fake(die_at=2))
    with pytest.raises(KeyboardInterrupt):
        search(str(table), RECIPE, tmp_path / "cut", trials=7)
    assert not (tmp_path / "cut" / "best.toml").exists()
    rest = Fake()
    monkeypatch.setattr("tamis.workflows.hyperparameter_search.fitted", rest)
    resumed = search(str(table), RECIPE, tmp_path / "cut", trials=7)
    assert table_of(resumed) == table_of(whole) and len(rest.calls) > 1
    nothing = Fake()
    monkeypatch.setattr("tamis.workflows.hyperparameter_search.fitted", nothing)
    assert (
        table_of(search(str(table), RECIPE, tmp_path / "cut", trials=7)) == table_of(whole)
        and nothing.calls == []
    )


def test_settings_that_were_tried_are_not_trained_again(
    table: Path, tmp_path: Path, fake: Fake
) -> None:
    found = search(str(table), RECIPE, tmp_path / "s", trials=9)
    complete = [row for row in found["trials"] if row["state"] == "complete"]
    tried = [json.dumps(row["settings"]) for row in complete]
    pruned = len(found["trials"]) - len(complete)
    assert len(set(tried)) < len(tried) and len(fake.calls) == len(set(tried)) + pruned


def test_bad_trials_are_cut_off(table: Path, tmp_path: Path, fake: Fake) -> None:
    found = search(str(table), RECIPE, tmp_path / "s", trials=10)
    states = [row["state"] for row in found["trials"]]
    assert "pruned" in states and "complete" in states
    assert all(
        row["average_precision"] is None for row in found["trials"] if row["state"] == "pruned"
    )


def test_no_test_row_is_ever_seen_and_groups_stay_together(table: Path) -> None:
    prepared = load_dataset(str(table), RECIPE)
    rows = search_split(prepared, RECIPE)
    assert set(rows.texts) == set(prepared.split.texts("train"))
    assert not set(rows.texts) & set(prepared.split.texts("test"))
    parts = [rows.fit, rows.choosing, rows.confirming]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(rows.texts)))
    groups = [set(rows.groups[part].tolist()) for part in parts]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]


def test_a_folder_of_another_search_or_of_something_else_is_left_alone(
    table: Path, tmp_path: Path, fake: Fake
) -> None:
    search(str(table), RECIPE, tmp_path / "s", trials=1)
    with pytest.raises(RunError, match="with other data or another recipe"):
        search(str(table), RECIPE.changed({"seed": 1}), tmp_path / "s", trials=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="is not a search folder"):
        search(str(table), RECIPE, tmp_path / "mine", trials=1)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_no_trial_begins_after_the_time_is_over(table: Path, tmp_path: Path, fake: Fake) -> None:
    said: list[str] = []
    found = search(str(table), RECIPE, tmp_path / "s", trials=9, minutes=0, say=said.append)
    assert len(found["trials"]) == 1 and any(
        "stopped after 0 minutes and 1 trials" in one for one in said
    )


def test_a_backbone_from_scratch_is_trained_whole() -> None:
    assert depths_of("scratch:tiny") == ("full",) and depths_of("nano") == DEPTHS

    class Lowest:
        def suggest_float(self, name, low, high, *, log=False):
            assert low < high
            return low

        def suggest_int(self, name, low, high):
            return low

        def suggest_categorical(self, name, choices):
            return choices[-1]

    settings = suggested(Lowest(), "scratch:tiny")
    assert settings["tune"] == "full" and Recipe().changed(settings).train.epochs == 2


def test_the_command_from_trials_to_a_recipe_that_trains(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    said = run("search", table, "--trials", "2", "-o", folder, *runs.TINY)
    assert said.code == 0, said.err
    assert "unchanged recipe" in said.out and "best recipe: " in said.out
    again = run("search", table, "--trials", "2", "-o", folder, *runs.TINY, "--json")
    assert json.loads(again.out)["trials"][1]["settings"]["tune"] == "full"
    said = run("train", table, "--recipe", folder / "best.toml", "-o", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    few = runs.write_table(tmp_path / "few.tsv", messages()[:12])
    assert (
        "training rows are too few for a search"
        in run("search", few, *runs.TINY, "-o", tmp_path / "x").error
    )


def test_trials_are_compared_by_macro_f1_where_no_class_is_looked_for(
    tmp_path: Path, fake: Fake
) -> None:
    random = np.random.default_rng(2)
    kinds = [("bad", "spam") if row % 3 == 0 else ("good", "ham") for row in range(150)]
    rows = [(name, " ".join(random.permutation(WORDS[kind])[:7])) for name, kind in kinds]
    table = str(runs.write_table(tmp_path / "reviews.tsv", rows))
    found = search(table, RECIPE, tmp_path / "s", trials=6)
    assert found["metric"] == "f1_macro" and "average_precision" not in found["best"]
    split = search_split(load_dataset(table, RECIPE), RECIPE)
    best = RECIPE.changed(found["best"]["settings"])
    scores = fake(split, best, lambda *_: None, None)
    truth = [split.labels[row] == "good" for row in split.choosing.tolist()]
    cuts = scores.choosing[:, 1]
    by_hand = max(f1_score(truth, cuts >= cut, average="macro") for cut in cuts)
    assert found["best"]["f1_macro"] == pytest.approx(by_hand)
    assert found["best"]["f1_macro"] == max(row["f1_macro"] or 0 for row in found["trials"])
    ordered = np.sort(cuts)
    midpoints = (ordered[1:] + ordered[:-1]) / 2  # thresholds lie between scores
    cut = max(midpoints, key=lambda cut: f1_score(truth, cuts >= cut, average="macro"))
    truth = [split.labels[row] == "good" for row in split.confirming.tolist()]
    after = f1_score(truth, scores.confirming[:, 1] >= cut, average="macro")
    assert found["gain"]["after"] == pytest.approx(after)
    named = search(table, RECIPE.changed({"data.positive": "bad"}), tmp_path / "n", trials=1)
    assert named["metric"] == "average_precision" and "f1_macro" not in named["best"]
