"""The recipe that ships, and what a recipe refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tamis.errors import ConfigError
from tamis.training.pretraining.recipe import PretrainRecipe, SourceSettings, read_pretrain_recipe


@pytest.mark.parametrize("name", ["nano", "nano_from_scratch"])
def test_a_shipped_recipe_reads_and_each_source_has_licence_and_upstream(name: str) -> None:
    nano = read_pretrain_recipe(name)
    default = SourceSettings(file="any.txt")
    assert nano.name == name and nano.corpus.sources
    for place, source in nano.corpus.sources.items():
        assert source.licence not in ("", default.licence), f"{place}: no licence"
        assert source.upstream not in ("", default.upstream), f"{place}: no upstream"
        assert source.form in ("flat", "doc"), (
            f"{place}: the form of a file that is known is stated"
        )
    files = [source.file for source in nano.corpus.sources.values()]
    assert len(set(files)) == len(files)
    assert nano.shape.n_embd % nano.shape.n_head == 0


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = (
        'name = "mine"\nseed = 7\n[schedule]\ntokens = 123\n[corpus.sources.a]\nfile = '
        '"a.txt"\nclean = ["markdown", "spacing"]\n'
    )
    path.write_text(text, encoding="utf-8")
    recipe = read_pretrain_recipe(path)
    assert (recipe.name, recipe.seed, recipe.schedule.tokens) == ("mine", 7, 123)
    assert recipe.corpus.sources == {
        "a": SourceSettings(file="a.txt", clean=("markdown", "spacing"))
    }
    assert recipe == read_pretrain_recipe(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sede = 3", r"sede: extra inputs are not permitted, got 3"),
        ("[shape]\nwidth = 3", r"shape\.width: extra inputs are not permitted, got 3"),
        (
            '[corpus.sources.a]\nfile = "a"\nweight = 2',
            r"corpus\.sources\.a\.weight: extra inputs are not permitted, got 2",
        ),
        ("[corpus.sources.a]\ntimes = 1", r"corpus\.sources\.a\.file: field required"),
        (
            '[corpus.sources.a]\nfile = "a"\ntimes = 0',
            r"corpus\.sources\.a\.times: input should be greater than 0, got 0",
        ),
        (
            '[corpus.sources.a]\nfile = "a"\nclean = ["html"]',
            r"corpus\.sources\.a\.clean\.0: .*'html'",
        ),
        (
            '[corpus.sources.a]\nfile = "a"\nform = "tree"',
            r"corpus\.sources\.a\.form: .*'flat'.*'doc', got 'tree'",
        ),
        (
            "[corpus]\nheld_out_share = 1.5",
            r"corpus\.held_out_share: .*less than or equal to 1, got 1\.5",
        ),
        (
            "[schedule]\ntokens = 0\nbatch_tokens = -1",
            r"schedule\.tokens: .*got 0; schedule\.batch_tokens: .*got -1",
        ),
        ("seed = -1", r"seed: .*got -1"),
        (
            "[objective]\nlm_loss_weight = 0\nteacher_weight = 0\nsimilarity_weight = 0",
            r"every weight of \[objective\] is zero, so nothing would be learnt",
        ),
        ("name = ", r"is not readable as TOML"),
    ],
)
def test_what_is_unknown_or_wrong_is_refused_by_name_and_file(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        read_pretrain_recipe(path)
    assert str(path) in str(caught.value)


def test_a_recipe_that_is_not_there_or_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"nowhere\.toml does not exist; the package has nano, nano_from_scratch"
    ):
        read_pretrain_recipe(tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "caf\xe9"')
    for wrong in ("latin.toml", "."):
        with pytest.raises(ConfigError, match="is not readable as TOML"):
            read_pretrain_recipe(tmp_path / wrong)


def test_changed_reaches_every_depth_and_leaves_the_rest(tmp_path: Path) -> None:
    nano = read_pretrain_recipe("nano")
    wanted: dict[str, Any] = {
        "seed": 7,
        "name": "other",
        "schedule.tokens": 999,
        "corpus.sources.nus_sms.times": 1.5,
        "corpus.sources.masc.clean": ["spacing", "markdown"],
        "compute.device": "cpu",
    }
    changed = nano.changed(wanted)
    assert (changed.seed, changed.name, changed.schedule.tokens, changed.compute.device) == (
        7,
        "other",
        999,
        "cpu",
    )
    assert changed.corpus.sources["nus_sms"].times == 1.5
    assert changed.corpus.sources["masc"].clean == ("spacing", "markdown")
    before = nano.model_dump()
    back = {
        name: before[name] for name in ("seed", "name", "corpus", "compute", "schedule", "stages")
    }
    assert nano.corpus.sources["nus_sms"].times != 1.5 and changed.changed(
        back
    ) == nano == nano.changed({})
    assert nano.changed({"schedule": {"tokens": 5}}).schedule == type(nano.schedule)(tokens=5)


@pytest.mark.parametrize(
    "name",
    [
        "sede",
        "schedule.token",
        "schedul.tokens",
        "schedule.tokens.more",
        "corpus.sources.none.times",
        "",
        ".",
        "seed.",
        "corpus..seed",
    ],
)
def test_changing_what_does_not_exist_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PretrainRecipe().changed({name: 1})
    assert f"unknown setting {name!r}" in str(caught.value) and "schedule.tokens" in str(
        caught.value
    )


def test_changing_to_a_wrong_value_is_an_error_that_names_it() -> None:
    with pytest.raises(
        ConfigError, match=r"settings: schedule\.tokens: .*greater than or equal to 1, got 0"
    ):
        PretrainRecipe().changed({"schedule.tokens": 0})


def test_a_recipe_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        PretrainRecipe().seed = 3
