"""The recipe: writing and reading TOML, names and ranges, settings from the command line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tamis.cli.options import parse_setting
from tamis.config import Recipe, fields, named_recipe, read_recipe, recipe_names
from tamis.errors import ConfigError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SHARE = st.floats(0, 1)
BELOW_ONE = st.floats(0, 1, exclude_max=True)
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False, allow_nan=False)
COUNT = st.integers(1, 10**12)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "backbone": TEXT,
    "tune": st.sampled_from(["auto", "head", "full", "blocks:1", "blocks:37"]),
    "seed": st.integers(0, 2**32 - 1),
    "data.split": st.sampled_from(["leakfree", "tp2", "almeida", "stratified", "none"]),
    "data.text": st.none() | TEXT,
    "data.label": st.none() | TEXT,
    "data.test": st.none() | TEXT,
    "data.positive": st.none() | TEXT,
    "data.validation_share": BELOW_ONE,
    "text.add_bos": st.booleans(),
    "text.normalize": st.sampled_from(["none", "nfkc", "robust"]),
    "text.padding": st.sampled_from(["none", "fixed:1", "fixed:120"]),
    "text.pooling": st.sampled_from(["auto", "mean", "last_token", "last_position"]),
    "train.class_weight": st.sampled_from(["none", "balanced"])
    | st.dictionaries(TEXT, POSITIVE, max_size=3),
    "train.learning_rate": st.none() | POSITIVE,
    "train.epochs": st.none() | COUNT,
    "train.warmup_ratio": SHARE,
    "train.batch_rows": st.none() | COUNT,
    "train.undersample": st.booleans(),
    "train.dropout": st.none() | BELOW_ONE,
    "train.patience": st.none() | COUNT,
    "decision.max_fpr": st.none() | SHARE,
    "compute.device": TEXT,
    "compute.threads": st.none() | COUNT,
    "compute.dtype": st.sampled_from(["fp32", "bf16", "int8", "auto"]),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
@settings(max_examples=150)
@example(
    {
        "backbone": 'a"b\\c\n\x00\x7f\u2028🙂',
        "train.class_weight": {'say "hi"': 1e-300, "é.x": 2.0, "": 5e300},
    }
)
def test_a_recipe_written_as_toml_reads_back_the_same(changes: dict[str, Any]) -> None:
    recipe = Recipe().changed(changes)
    tree = tomllib.loads(recipe.to_toml())
    again = Recipe.model_validate(tree)
    # None has no place in TOML: it is what a recipe that does not name the setting has, but for
    # `patience`.
    for section, name, field in fields():
        before = getattr(getattr(recipe, section) if section else recipe, name)
        after = getattr(getattr(again, section) if section else again, name)
        if before is None and field.default is not None:
            assert name not in tree.get(section or "", {})
        else:
            assert after == before and type(after) is type(before), name


def test_what_is_switched_off_stays_off_through_a_file(tmp_path: Path) -> None:
    recipe = Recipe().changed({"patience": None})
    (tmp_path / "recipe.toml").write_text(recipe.to_toml(), "utf-8")
    assert read_recipe(tmp_path / "recipe.toml") == recipe


def test_the_toml_contains_every_setting_with_its_description() -> None:
    text = Recipe().to_toml()
    for section, name, field in fields():
        assert field.description, name
        assert f"# {field.description}\n" in text and (
            f"\n{name} = " in text or f"\n# {name} = (none)" in text
        )
        assert section is None or f"[{section}]" in text


def test_every_setting_is_drawn_or_simple() -> None:
    known = {f"{section}.{name}" if section else name for section, name, _ in fields()}
    assert set(VALUES) <= known and {name.partition(".")[0] for name in known} >= {
        "data",
        "text",
        "train",
        "decision",
        "compute",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "[tain]\nepochs = 3\n",
            "unknown section [tain]; known sections: data, text, train, decision, compute",
        ),
        ("epochs = 3\n", "epochs is in the wrong section; write epochs under [train]"),
        ("[train]\nseed = 3\n", "unknown setting 'train.seed'; did you mean "),
    ],
)
def test_a_setting_in_the_wrong_section_of_a_file_gives_an_error_that_names_the_right_one(
    content: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "r.toml").write_text(content)
    with pytest.raises(ConfigError) as error:
        read_recipe(tmp_path / "r.toml")
    assert words in str(error.value)


def test_settings_are_named_in_full_or_by_their_key() -> None:
    recipe = Recipe().changed({"train.epochs": 3, "add_bos": False, "seed": 7, "text": "body"})
    assert (recipe.train.epochs, recipe.text.add_bos, recipe.seed, recipe.data.text) == (
        3,
        False,
        7,
        "body",
    )
    assert recipe != Recipe() and Recipe().changed({}) == Recipe()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("epoch", "did you mean 'epochs'?"),
        ("train.learnin_rate", "did you mean 'train.learning_rate'?"),
        ("zzzzzz", "known settings: backbone, tune, seed, data.split"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_known_one(
    name: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        Recipe().changed({name: 1})
    assert f"unknown setting {name!r}; {hint}" in str(error.value)
    section, _, key = name.rpartition(".")
    (tmp_path / "r.toml").write_text((f"[{section}]\n" if section else "") + f"{key} = 1\n")
    with pytest.raises(ConfigError) as error:
        read_recipe(tmp_path / "r.toml")
    assert str(tmp_path / "r.toml") in str(error.value) and "unknown setting" in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tune", "blocks:0"),
        ("tune", "head2"),
        ("tune", "lora"),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", 1.5),
        ("data.split", "random"),
        ("data.validation_share", 1.0),
        ("data.validation_share", -0.1),
        ("text.padding", "fixed:0"),
        ("text.padding", "120"),
        ("text.add_bos", "maybe"),
        ("train.epochs", 0),
        ("train.learning_rate", 0),
        ("train.learning_rate", float("nan")),
        ("train.dropout", 1.0),
        ("train.batch_tokens", 0),
        ("train.class_weight", "sometimes"),
        ("train.class_weight", {"spam": -1}),
        ("train.class_weight", "spam=0"),
        ("decision.abstain_rate", 1.01),
        ("compute.threads", 0),
        ("compute.dtype", "fp64"),
    ],
)
def test_a_value_out_of_range_is_refused_with_name_and_value(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        Recipe().changed({name: value})
    shown = value["spam"] if isinstance(value, dict) else value
    assert name.rpartition(".")[2] in str(error.value), str(error.value)
    if value != "spam=0":
        assert f"got {shown!r}" in str(error.value) or f"got {value!r}" in str(error.value), str(
            error.value
        )


def test_all_problems_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('seed = -1\n[train]\nepochs = 0\nepoch = 3\n[text]\nadd_bos = "x"\n')
    with pytest.raises(ConfigError) as error:
        read_recipe(path)
    for words in (
        str(path),
        "seed",
        "train.epochs",
        "unknown setting 'train.epoch'; did you mean 'train.epochs'?",
        "text.add_bos",
    ):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.epochs=3", ("train.epochs", 3)),
        (" lr = 5e-5 ", ("lr", 5e-5)),
        ("add_bos=false", ("add_bos", False)),
        ("tune=blocks:2", ("tune", "blocks:2")),
        ('positive="3"', ("positive", "3")),
        ("patience=none", ("patience", None)),
        ("split=none", ("split", "none")),
        ("text.padding=none", ("text.padding", "none")),
        ("class_weight=none", ("class_weight", "none")),
        ("class_weight=spam=5,ham=1", ("class_weight", "spam=5,ham=1")),
        ("class_weight={spam = 5}", ("class_weight", {"spam": 5})),
        ("backbone=", ("backbone", "")),
        ("test=C:\\x\\y.csv", ("test", "C:\\x\\y.csv")),
    ],
)
def test_settings_from_a_command_line(text: str, expected: tuple[str, Any]) -> None:
    assert parse_setting(text) == expected


def test_a_setting_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="setting: expected name=value, got 'epochs 3'"):
        parse_setting("epochs 3")


def test_weights_by_label_are_written_as_pairs() -> None:
    recipe = Recipe().changed(dict([parse_setting("class_weight=spam=5, a=b=0.5")]))
    assert recipe.train.class_weight == {"spam": 5.0, "a=b": 0.5}


def test_columns_and_labels_may_be_numbers() -> None:
    recipe = Recipe().changed(
        dict(parse_setting(text) for text in ("data.text=2", "label=1", "positive=1"))
    )
    assert (recipe.data.text, recipe.data.label, recipe.data.positive) == ("2", "1", "1")


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_read_and_survives_the_round_trip(
    name: str, tmp_path: Path
) -> None:
    recipe = named_recipe(name)
    (tmp_path / "again.toml").write_text(recipe.to_toml(), "utf-8")
    assert named_recipe(str(tmp_path / "again.toml")) == recipe


def test_the_reference_is_among_the_shipped_recipes() -> None:
    recipe = named_recipe("tp2")
    assert (recipe.text.fixed_length, recipe.text.pooling, recipe.data.split, recipe.tune) == (
        120,
        "last_position",
        "tp2",
        "head",
    )


def test_a_missing_recipe_is_told_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"recipe nowhere does not exist; give a TOML file or .*tp2"
    ):
        named_recipe("nowhere")
    (tmp_path / "x.toml").write_bytes(b"seed = = 3")
    with pytest.raises(ConfigError, match=r"x\.toml cannot be read as TOML"):
        read_recipe(tmp_path / "x.toml")
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"x\.toml cannot be read as TOML"):
        read_recipe(tmp_path / "x.toml")


def test_a_section_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("train = 3\n")
    with pytest.raises(ConfigError, match="train"):
        read_recipe(tmp_path / "x.toml")


def test_blocks_and_fixed_length_are_read_from_their_texts() -> None:
    assert Recipe().changed({"tune": "blocks:12"}).blocks == 12 and Recipe().blocks is None
    assert Recipe().text.fixed_length is None


@pytest.mark.parametrize(
    ("text", "share"),
    [("0.1%", 0.001), (" 2 % ", 0.02), ("100%", 1.0), ("0.003", 0.003), (0.25, 0.25)],
)
def test_a_share_may_be_written_in_percent(text: Any, share: float) -> None:
    assert Recipe().changed({"decision.max_fpr": text}).decision.max_fpr == share
    if share < 1:
        assert Recipe().changed({"decision.prior": text}).decision.prior == share


@pytest.mark.parametrize("text", ["150%", "-1%", "many%", "%", "nan%"])
def test_a_percentage_that_is_none_is_refused(text: str) -> None:
    for name in ("max_fpr", "prior"):
        with pytest.raises(ConfigError, match=rf"decision\.{name}"):
            Recipe().changed({f"decision.{name}": text})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "tune",
            "block:2",
            "tune: expected auto, head, full, blocks:K or lora:R, where K and R are whole numbers "
            "from 1, got 'block:2'; did you mean blocks:K?",
        ),
        ("tune", "lora:0", "got 'lora:0'; did you mean lora:R?"),
        (
            "padding",
            "120",
            "text.padding: expected none or fixed:N, where N is a whole number from 1, got '120'",
        ),
        (
            "max_fpr",
            "2",
            "decision.max_fpr: input should be less than or equal to 1, got '2'; did you mean "
            "0.02, that is 2%?",
        ),
        ("max_fpr", 2.5, "did you mean 0.025, that is 2.5%?"),
        (
            "prior",
            20,
            "decision.prior: input should be 'rows' or 'trained', or input should be less than 1, "
            "got 20; did you mean 0.2, that is 20%?",
        ),
        ("split", "leekfree", "got 'leekfree'; did you mean 'leakfree'?"),
    ],
)
def test_a_wrong_value_is_told_with_the_choices_and_what_was_meant(
    name: str, value: object, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe().changed({name: value})
    assert message in str(caught.value)
    assert not re.search(r"pattern|\^|\[1-9\]", str(caught.value)), "no regular expression"


@pytest.mark.parametrize("value", [200, -1, 1.01])
def test_a_number_that_is_no_percentage_is_not_taken_for_one(value: float) -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe().changed({"max_fpr": value})
    assert ("did you mean" in str(caught.value)) == (value == 1.01)
