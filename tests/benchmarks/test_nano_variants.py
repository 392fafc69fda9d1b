"""The variants of the pretraining differ from one another in what their names say, and in nothing
else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.nano import variants
from tamis.training.pretraining.recipe import read_pretrain_recipe
from tamis.training.pretraining.result import FACTS
from tamis.training.pretraining.run import Inputs


def flat(tree: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= (
            flat(value, f"{before}{name}.")
            if isinstance(value, dict)
            else {f"{before}{name}": value}
        )
    return found


@pytest.mark.parametrize(
    ("name", "differs"),
    [
        ("both", set()),
        ("next-token", {"objective.teacher_weight", "objective.similarity_weight"}),
        ("teacher", {"objective.lm_loss_weight"}),
        ("adamw", {"optimizer.name"}),
    ],
)
def test_a_variant_differs_from_the_whole_in_its_part_alone(name: str, differs: set[str]) -> None:
    recipe = read_pretrain_recipe("nano_from_scratch")
    both, other = (
        flat(variants.variant(recipe, which, 1_000_000).model_dump()) for which in ("both", name)
    )
    assert {key for key in both | other if both.get(key) != other.get(key)} - {"name"} == differs
    assert (
        both["schedule.tokens"] == 1_000_000
        and both["schedule.warmup_tokens"] == 40_000
        and both["stages"] == ()
    )


def test_without_nus_the_other_sources_stay() -> None:
    recipe = read_pretrain_recipe("nano_from_scratch")
    left = variants.variant(recipe, "without-nus", 1000).corpus.sources
    assert set(recipe.corpus.sources) - set(left) == {"nus_sms"} and len(left) > 10
    assert all(left[name] == recipe.corpus.sources[name] for name in left)


def test_a_teacher_is_loaded_only_where_it_weighs() -> None:
    recipe = read_pretrain_recipe("nano_from_scratch")
    assert [
        variants.taught(variants.variant(recipe, name, 1000)) for name in variants.VARIANTS
    ] == [True, False, True, True, True]
    with pytest.raises(ValueError, match="expected one of both, next-token"):
        variants.variant(recipe, "neither", 1000)


def test_every_finished_variant_is_a_method_of_the_quality_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.quality.methods import named

    finished = ("both", "teacher")
    for name in finished:
        (tmp_path / name).mkdir()
        (tmp_path / name / FACTS).touch()
    (tmp_path / "adamw").mkdir()
    monkeypatch.setattr(sys, "argv", ["variants", "--methods", "--out", str(tmp_path)])
    variants.main()
    words = capsys.readouterr().out.split()
    assert words[::2] == ["--method"] * 3
    found = [named(word, None, {})[:3] for word in words[1::2]]
    assert found == [
        *((name, str(tmp_path / name), "head") for name in finished),
        ("untrained", "scratch:nano", "head"),
    ]


def test_the_figures_of_the_finished_variants_are_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, cosine in (("both", {"cosine": 0.5}), ("next-token", {})):
        (tmp_path / name).mkdir()
        held_out = {"bits_per_byte": 2.0, "by_source": {"irc": 2.5}, **cosine}
        whole = {"tokens": 10, "tokens_per_second": 3.5, "held_out": held_out, "history": [1]}
        (tmp_path / name / FACTS).write_text(json.dumps(whole), encoding="utf-8")
    (tmp_path / "adamw").mkdir()  # begun, not finished
    out = tmp_path / "facts.json"
    monkeypatch.setattr(sys, "argv", ["variants", "--out", str(tmp_path), "--facts", str(out)])
    variants.main()
    same = {"tokens": 10, "tokens_per_second": 3.5, "by_source": {"irc": 2.5}}
    assert json.loads(out.read_text(encoding="utf-8")) == {
        "both": same | {"cosine": 0.5},
        "next-token": same | {"cosine": None},
    }


def test_what_is_finished_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, object]] = []

    class Found:
        def rows(self) -> list[tuple[str, float]]:
            return [("bits per byte", 2.0)]

    def told(inputs: Inputs, out: Path, recipe: Any, **rest: Any) -> Found:
        done.append((out.name, inputs.teacher))
        assert sorted(inputs.excluded) == ["WIN now", "hi"]
        assert inputs.excluded_sets == {"kept-out.tsv": 2}  # the card names them
        out.mkdir()
        (out / FACTS).touch()
        return Found()

    monkeypatch.setattr(variants, "pretrain", told)
    (tmp_path / "kept-out.tsv").write_text("label\ttext\nham\thi\nspam\tWIN now\n")
    exclude = ["--exclude", str(tmp_path / "kept-out.tsv")]
    monkeypatch.setattr(
        sys, "argv", ["variants", str(tmp_path), "--teacher", "t", "--out", str(tmp_path), *exclude]
    )
    for _ in range(2):
        variants.main()
    assert done == [
        (name, None if name == "next-token" else Path("t")) for name in variants.VARIANTS
    ]
