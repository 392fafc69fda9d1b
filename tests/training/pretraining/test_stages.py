"""A pretraining in stages: each goes on from the one before, what is finished is not done again,
settings by hand hold in all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tamis.errors import ConfigError, RunError
from tamis.gpt2.backbones import load_backbone, local_folder
from tamis.training.pretraining import stages
from tamis.training.pretraining.checkpoint import StateFiles
from tamis.training.pretraining.corpus import Corpus, read_corpus
from tamis.training.pretraining.loop import Pretraining
from tamis.training.pretraining.recipe import CorpusSettings, PretrainRecipe, read_pretrain_recipe
from tamis.training.pretraining.result import FACTS
from tamis.training.pretraining.run import Inputs, pretrain
from tamis.training.pretraining.stages import pretrain_in_stages, stage_recipes
from tests.training.pretraining.test_run import corpus_file, recipe

STAGES = [
    {"schedule.tokens": 300, "schedule.decay_share": 0.0},
    {"schedule.tokens": 420, "objective.lm_loss_share": 1.0},
]


def staged() -> PretrainRecipe:
    return PretrainRecipe.model_validate(recipe().model_dump() | {"stages": STAGES})


def test_each_stage_goes_on_from_the_one_before(tmp_path: Path) -> None:
    corpus = corpus_file(tmp_path)
    result = pretrain_in_stages(Inputs([corpus]), tmp_path / "out", staged())
    by_hand = recipe(**{"schedule.tokens": 300, "schedule.decay_share": 0.0})
    pretrain(Inputs([corpus]), tmp_path / "first", by_hand)
    second = recipe(**{"schedule.tokens": 420, "objective.lm_loss_share": 1.0})
    pretrain(Inputs([corpus], start=tmp_path / "first"), tmp_path / "second", second)
    assert (
        load_backbone(tmp_path / "out").fingerprint
        == load_backbone(tmp_path / "second").fingerprint
    )
    facts = json.loads((tmp_path / "out" / FACTS).read_text(encoding="utf-8"))
    assert len(facts["stages"]) == 1 and 300 <= facts["stages"][0]["tokens"] < 360
    assert facts["before"] == [], "a stage's data are those of the next"
    assert facts["recipe"]["stages"] == [] and result.facts["tokens"] >= 420


def test_a_finished_stage_is_not_done_again(tmp_path: Path) -> None:
    corpus = corpus_file(tmp_path)
    said: list[str] = []
    pretrain_in_stages(Inputs([corpus]), tmp_path / "out", staged(), say=said.append)
    first = tmp_path / "out" / "pretraining" / "stage-1"
    before = {path.name: path.stat().st_mtime_ns for path in first.iterdir() if path.is_file()}
    again: list[str] = []
    pretrain_in_stages(Inputs([corpus]), tmp_path / "out", staged(), say=again.append)
    assert before == {
        path.name: path.stat().st_mtime_ns for path in first.iterdir() if path.is_file()
    }
    assert "stage 1 of 2" in said and "stage 1 of 2" not in again


def test_a_stage_of_other_work_is_refused_and_kept(tmp_path: Path) -> None:
    corpus, out = corpus_file(tmp_path), tmp_path / "out"
    pretrain_in_stages(Inputs([corpus]), out, staged())
    first = out / "pretraining" / "stage-1"
    for path in out.iterdir():  # as if the run had been killed in its second stage
        if path.is_file():
            path.unlink()
    for path in (out / "pretraining").iterdir():
        if path.is_file():
            path.unlink()
    kept = {path.name: path.read_bytes() for path in first.iterdir() if path.is_file()}
    other = tmp_path / "other.txt"
    other.write_text(corpus.read_text(encoding="utf-8").upper(), encoding="utf-8")
    for place, wanted in (
        (other, staged()),
        (corpus, staged().changed({"seed": 5})),
        (corpus, staged().changed({"schedule.tokens": 200})),
    ):
        with pytest.raises(RunError, match="choose another"):
            pretrain_in_stages(Inputs([place]), out, wanted)
    with pytest.raises(RunError, match="choose another"):
        pretrain_in_stages(
            Inputs([corpus], excluded=corpus.read_text(encoding="utf-8").splitlines()[:3]),
            out,
            staged(),
        )
    assert kept == {path.name: path.read_bytes() for path in first.iterdir() if path.is_file()}
    pretrain_in_stages(Inputs([corpus]), out, staged())
    pretrain_in_stages(Inputs([corpus]), tmp_path / "whole", staged())
    assert (out / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def test_the_corpus_is_read_once_for_all_stages_that_want_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted(places: Sequence[Path], settings: CorpusSettings, **options: Any) -> Corpus:
        read.append(options["seed"])
        return read_corpus(places, settings, **options)

    monkeypatch.setattr(stages, "read_corpus", counted)
    pretrain_in_stages(Inputs([corpus_file(tmp_path)]), tmp_path / "out", staged())
    assert read == [42]
    third = PretrainRecipe.model_validate(
        staged().model_dump() | {"stages": [*STAGES, {"corpus.single_share": 0.5}]}
    )
    pretrain_in_stages(Inputs([tmp_path / "words.txt"]), tmp_path / "three", third)
    assert read == [42, 42, 42]


def test_each_stage_sees_the_texts_in_an_order_of_its_own(tmp_path: Path) -> None:
    corpus = corpus_file(tmp_path)
    orders: list[list[int]] = []

    def noted(_: StateFiles, training: Pretraining) -> None:
        assert training.order is not None
        order = training.order[1].tolist()
        if training.order[0] == 0 and order not in orders:
            orders.append(order)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(StateFiles, "after_step", noted)
        pretrain_in_stages(Inputs([corpus]), tmp_path / "out", staged())
        assert len(orders) == 2 and sorted(orders[0]) == sorted(orders[1]) != orders[1]
        pretrain(
            Inputs([corpus], start=tmp_path / "out"),
            tmp_path / "further",
            recipe(**{"schedule.tokens": 120}),
        )
    assert len(orders) == 3 and orders[2] not in orders[:2], "a backbone tells its stages"


def test_a_setting_by_hand_holds_in_every_stage() -> None:
    shorter = staged().changed({"schedule.tokens": 90, "optimizer.name": "adamw"})
    assert [stage.schedule.tokens for stage in stage_recipes(shorter)] == [90, 90]
    assert {stage.optimizer.name for stage in stage_recipes(shorter)} == {"adamw"}
    assert [stage.objective.lm_loss_share for stage in stage_recipes(shorter)] == [0.25, 1.0]
    assert all(stage.stages == () for stage in stage_recipes(shorter))
    assert stage_recipes(recipe()) == [recipe()]


def test_stages_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 2 stages; call pretrain_in_stages"):
        pretrain(Inputs([corpus_file(tmp_path)]), tmp_path / "out", staged())
    assert not (tmp_path / "out").exists()


def test_a_stage_with_an_unknown_setting_is_refused() -> None:
    wrong = PretrainRecipe.model_validate(
        recipe().model_dump() | {"stages": [{"schedule.token": 3}]}
    )
    with pytest.raises(ConfigError, match=r"unknown setting 'schedule\.token'"):
        stage_recipes(wrong)


def test_a_stage_that_goes_on_has_no_shape_of_its_own(tmp_path: Path) -> None:
    wrong = PretrainRecipe.model_validate(
        recipe().model_dump() | {"stages": [{"shape.n_layer": 1}, {"shape.n_layer": 3}]}
    )
    with pytest.raises(ConfigError, match=r"stage 2 sets shape\.n_layer, but goes on from"):
        stage_recipes(wrong)


def test_the_recipe_that_ships_says_how_the_nano_that_ships_was_made() -> None:
    folder = local_folder("nano")
    assert folder is not None
    card = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    made = [*card["stages"], {"tokens": card["tokens"], "objective": card["recipe"]["objective"]}]
    written = stage_recipes(read_pretrain_recipe("nano"))
    assert len(made) == len(written)
    batch = 6144
    for stage, done in zip(written, made, strict=True):
        assert done["tokens"] - batch < stage.schedule.length <= done["tokens"]
        objective = stage.objective.model_dump(mode="json")
        assert {
            name: value for name, value in objective.items() if name in done["objective"]
        } == done["objective"]
    last = written[-1]
    for part in ("shape", "corpus", "optimizer", "teacher"):
        assert getattr(last, part).model_dump(mode="json") == card["recipe"][part], part
    skipped = {"measure_every"}
    assert {k: v for k, v in last.schedule.model_dump().items() if k not in skipped} == {
        k: v for k, v in card["recipe"]["schedule"].items() if k not in skipped
    }
