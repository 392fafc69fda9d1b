"""From a backbone and rows to a tuned classifier: defaults, every way of tuning end to end,
interruptions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.errors import ConfigError, DataError
from tamis.evaluation.model_selection import Scores
from tamis.gpt2.backbones import Backbone, load_backbone, scratch_backbone
from tamis.gpt2.checkpoints import write_checkpoint
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.gpt2.model import GPT2, GPT2Config, MeanPoolingBlock, initialise
from tamis.gpt2.packing import pack
from tamis.gpt2.scoring import score
from tamis.head import layer_selection, linear_probe
from tamis.head.class_weights import class_weights
from tamis.head.linear_head import START
from tamis.head.refit import head_of
from tamis.head.result import TrainingResult
from tamis.head.training_set import TrainingSet
from tamis.text.encoding import EncodedTexts
from tamis.text.tokenizer import Tokenizer, prepared_tokenizer
from tamis.training.callbacks import Callbacks
from tamis.training.defaults import (
    default_wise_ft,
    epochs_for,
    resolve_cv_folds,
    resolve_defaults,
    resolve_tune,
)
from tamis.training.fit import fit
from tamis.training.loop import Training
from tests.rows import messages as sms
from tests.tiny import equal, weights_of

ROWS = sms()[:61]
TEXTS, CLASSES = [text for _, text in ROWS], ("ham", "spam")
TARGETS = np.array([CLASSES.index(label) for label, _ in ROWS])
HELD_OUT = np.arange(0, 61, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone on disk, narrow and with a context of 31 tokens."""
    path = tmp_path_factory.mktemp("backbone")
    tokenizer = Tokenizer.train(TEXTS, vocab_size=300)
    model = GPT2(
        GPT2Config(vocab_size=tokenizer.size, n_positions=31, n_embd=20, n_layer=3, n_head=5)
    )
    initialise(model, torch.Generator().manual_seed(1))
    with torch.no_grad():
        model.wte.weight *= 8  # what tokens mean outweighs where they stand, as after pretraining
    write_checkpoint(path, model)
    tokenizer.save(path, max_length=31)
    return path


def fresh(folder: Path, name: str = "pretrained") -> Backbone:
    return (
        load_backbone(folder)
        if name == "pretrained"
        else scratch_backbone("scratch:tiny", TEXTS, seed=42)
    )


def recipe_of(settings: dict[str, Any], *, pretrained: bool = True) -> Recipe:
    recipe = Recipe().changed({"compute.device": "cpu", **settings})
    how, _ = resolve_tune(recipe.tune, pretrained=pretrained, small=False)
    return resolve_defaults(
        recipe.changed({"tune": how}), pretrained=pretrained, rows=5000, classes=2
    )


def tuned(
    backbone: Backbone,
    recipe: Recipe,
    *,
    texts: list[str] = TEXTS,
    targets: NDArray = TARGETS,
    held_out: NDArray = HELD_OUT,
    fold_ids: NDArray | None = None,
    **hooks: Any,
) -> tuple[TrainingResult, EncodedTexts]:
    of = EncodedTexts.encode(
        texts,
        prepared_tokenizer(recipe, backbone.tokenizer),
        context=backbone.model.config.n_positions,
    )
    data = TrainingSet(
        of,
        targets,
        CLASSES,
        class_weights(recipe, targets, CLASSES),
        np.arange(len(texts)),
        np.arange(len(targets)),
        validation=held_out,
        fold_ids=fold_ids,
    )
    return fit(backbone, recipe, data, Callbacks(**hooks)), of


def centred(logits: NDArray) -> NDArray:
    """(N, K) logits that sum to zero over classes."""
    return logits - logits.mean(1, keepdims=True)


@pytest.mark.parametrize(
    ("tune", "pretrained", "small", "expected", "reason"),
    [
        ("blocks:2", True, True, "blocks:2", "requested"),
        ("head", False, False, "head", "requested"),
        ("auto", False, False, "full", "random"),
        ("auto", True, False, "head", "large"),
        ("auto", True, True, "full", "small"),
    ],
)
def test_auto_is_settled_by_the_backbone_and_says_why(
    tune: str, pretrained: bool, small: bool, expected: str, reason: str
) -> None:
    found, why = resolve_tune(tune, pretrained=pretrained, small=small)
    assert found == expected and reason in why


def test_with_few_labels_the_head_of_an_embedded_backbone_is_trained() -> None:
    def found(rows: float, classes: int = 2, tune: str = "auto") -> str:
        return resolve_tune(tune, pretrained=True, small=True, rows=rows, classes=classes)[0]

    assert [found(rows) for rows in (1, 16, 300, 301, 4000)] == ["head"] * 3 + ["full"] * 2
    assert [found(rows, 3) for rows in (3, 60, 61)] == ["head"] * 2 + ["full"]
    assert found(16, tune="full") == "full" and found(16, tune="blocks:2") == "blocks:2"
    assert resolve_tune("auto", pretrained=False, small=False, rows=16)[0] == "full"


def test_an_open_tune_is_not_resolved() -> None:
    with pytest.raises(ConfigError, match="still auto"):
        resolve_defaults(Recipe(), pretrained=True, rows=9, classes=2)


@pytest.mark.parametrize(
    ("settings", "pretrained", "expected"),
    [
        ({}, True, ("head", 1, 5e-5, 5e-5, 0.0, 0.0, 0.0)),
        ({}, False, ("full", 5, 5e-4, 1e-3, 0.1, 1.0, 0.25)),
        ({"tune": "full"}, True, ("full", 4, 3e-4, 3e-3, 0.1, 0.0, 0.0)),
        ({"tune": "blocks:2"}, True, ("blocks:2", 5, 3e-4, 3e-3, 0.0, 0.0, 0.0)),
        (
            {"tune": "blocks:1", "epochs": 9, "dropout": 0.3},
            True,
            ("blocks:1", 9, 3e-4, 3e-3, 0.3, 0.0, 0.0),
        ),
        ({"tune": "lora:4"}, True, ("lora:4", 5, 1e-3, 3e-3, 0.0, 0.0, 0.0)),
        ({"tune": "head"}, False, ("head", 1, 5e-5, 5e-5, 0.0, 0.0, 0.0)),
        (
            {"tune": "full", "lm_loss_weight": 0.0, "token_dropout": 0.0},
            False,
            ("full", 5, 5e-4, 1e-3, 0.1, 0.0, 0.0),
        ),
    ],
    ids=str,
)
def test_open_settings_become_what_the_way_of_tuning_wants(
    settings: dict[str, Any], pretrained: bool, expected: tuple[Any, ...]
) -> None:
    recipe, names = (
        recipe_of(settings, pretrained=pretrained),
        ("epochs", "learning_rate", "head_learning_rate", "dropout"),
    )
    train = recipe.train
    assert (
        recipe.tune,
        *(getattr(train, n) for n in names),
        train.lm_loss_weight,
        train.token_dropout,
    ) == expected
    assert recipe.text.pooling == (
        "auto" if recipe.tune == "head" else "mean"
    )  # a solved head finds its own
    assert resolve_defaults(recipe, pretrained=pretrained, rows=5000, classes=2) == recipe


def test_few_rows_get_more_epochs_and_only_where_all_of_a_pretrained_backbone_is_trained() -> None:
    assert [epochs_for(rows, 2) for rows in (0, 2, 16, 64, 256, 900, 10**6)] == [
        20,
        20,
        20,
        11,
        5,
        4,
        4,
    ]
    assert [epochs_for(rows, 77) for rows in (770, 10_003, 10**6)] == [20, 8, 6]
    assert [epochs_for(10**6, classes) for classes in (1, 2, 3, 6)] == [4, 4, 6, 6]
    few = Recipe().changed({"tune": "full"})
    assert resolve_defaults(few, pretrained=True, rows=64, classes=2).train.epochs == 11
    assert (
        resolve_defaults(
            few.changed({"train.epochs": 2}), pretrained=True, rows=64, classes=2
        ).train.epochs
        == 2
    )
    assert resolve_defaults(few, pretrained=False, rows=64, classes=2).train.epochs == 5
    hardened = few.changed(
        {"train.augment_positives": 3.0, "train.augment_negatives": 1.0}
    )  # every row twice at least
    assert [
        resolve_defaults(hardened, pretrained=True, rows=rows, classes=2).train.epochs
        for rows in (16, 64, 5000)
    ] == [10, 6, 2]
    assert (
        resolve_defaults(
            few.changed({"train.augment_positives": 9.0}), pretrained=True, rows=5000, classes=2
        ).train.epochs
        == 4
    )


def test_many_rows_of_many_classes_are_learnt_at_twice_the_rate_by_a_small_backbone() -> None:
    full = Recipe().changed({"tune": "full"})

    def rate(
        rows: int, classes: int, *, small: bool = True, asked: float | None = None
    ) -> float | None:
        return resolve_defaults(
            full.changed({"train.learning_rate": asked}),
            pretrained=True,
            rows=rows,
            classes=classes,
            small=small,
        ).train.learning_rate

    assert [rate(rows, 2) for rows in (16, 5000)] == [3e-4, 3e-4]
    assert [rate(rows, 6) for rows in (60, 599, 600, 5000)] == [3e-4, 3e-4, 6e-4, 6e-4]
    assert rate(5000, 6, small=False) == 3e-4 and rate(5000, 6, asked=1e-4) == 1e-4
    assert (
        resolve_defaults(
            full, pretrained=False, rows=5000, classes=6, small=False
        ).train.learning_rate
        == 5e-4
    )


def test_a_solved_start_is_the_exact_head_and_training_goes_on_from_it(folder: Path) -> None:
    """With a learning rate of nearly nothing, everything trained gives the exact head's logits; a
    random start does not.
    """
    still = {
        "tune": "full",
        "learning_rate": 1e-12,
        "head_learning_rate": 1e-12,
        "epochs": 1,
        "dropout": 0.0,
    }
    whole = {"tune": "head", "text.layers": 3, "text.pooling": "mean"}  # as what is trained
    exact, _ = tuned(fresh(folder), recipe_of(whole), held_out=HELD_OUT[:0])
    solved, of = tuned(
        fresh(folder), recipe_of({**still, "head_init": "linear_probe"}), held_out=HELD_OUT[:0]
    )
    random, _ = tuned(
        fresh(folder), recipe_of({**still, "head_init": "random"}), held_out=HELD_OUT[:0]
    )
    wanted, got, other = (score(found.model, of) for found in (exact, solved, random))
    np.testing.assert_allclose(got, wanted, atol=1e-4)
    assert np.abs(other - wanted).max() > 0.05
    assert solved.facts["first_inverse_penalty"] == exact.facts["inverse_penalty"]


def test_a_layer_chosen_by_some_of_many_rows_is_read_for_all_as_if_all_had_been_computed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The states of the other layers are computed for the rows that choose alone."""
    monkeypatch.setattr("tamis.head.layer_selection.MOST_ROWS", 25)
    computed: list[int] = []
    all_layers = layer_selection.all_layers

    def watched(model: GPT2, messages: EncodedTexts, *rest: Any, **more: Any) -> Any:
        computed.append(len(messages.windows))
        return all_layers(model, messages, *rest, **more)

    monkeypatch.setattr(linear_probe, "all_layers", watched)
    found = {}
    for ratio in (1.0, 1000.0):
        monkeypatch.setattr(linear_probe, "APART_RATIO", ratio)
        found[ratio], of = tuned(fresh(folder), recipe_of({"tune": "head"}))
    some, every = found[1.0], found[1000.0]
    assert computed[0] < 45 <= len(of.windows) == computed[1]
    assert some.selected_settings == every.selected_settings
    np.testing.assert_allclose(score(some.model, of), score(every.model, of), atol=1e-3)


def test_where_rows_are_many_the_head_begins_at_one_penalty_and_none_is_searched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamis.training.defaults.FEW_ROWS", 1)
    found, _ = tuned(
        fresh(folder),
        recipe_of({"tune": "full", "epochs": 1, "head_init": "linear_probe"}),
        held_out=HELD_OUT[:0],
    )
    assert found.facts["first_inverse_penalty"] == START


def test_the_weights_that_come_out_lie_between_start_and_end(folder: Path) -> None:
    """A third of the start, two thirds of what training made of it, for every weight that was
    trained.
    """
    changes = {"tune": "full", "epochs": 2, "head_init": "linear_probe", "dropout": 0.0}
    still = {"learning_rate": 1e-12, "head_learning_rate": 1e-12}
    start, end, between = (
        tuned(fresh(folder), recipe_of({**changes, **more}), held_out=HELD_OUT[:0])[
            0
        ].model.state_dict()
        for more in ({**still, "wise_ft": 0.0}, {"wise_ft": 0.0}, {"wise_ft": 1 / 3})
    )
    assert not torch.equal(start["transformer.wte.weight"], end["transformer.wte.weight"])
    for name, tensor in between.items():
        torch.testing.assert_close(
            tensor, start[name] / 3 + end[name] * (2 / 3), atol=1e-6, rtol=1e-5
        )


def test_the_share_of_the_start_that_held_out_rows_chose_is_told_and_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held-out rows that like every look better than the one before choose the last share tried."""
    looks = iter(range(1, 100))
    monkeypatch.setattr(Training, "held_out_scores", lambda _: Scores(1.0, 0.5, float(next(looks))))
    changes = {"tune": "full", "epochs": 2, "head_init": "linear_probe", "dropout": 0.0}
    chosen, half = (
        tuned(fresh(folder), recipe_of({**changes, "wise_ft": share}), held_out=HELD_OUT)[0]
        for share in ("auto", 0.5)
    )
    assert chosen.facts["wise_ft"] == 0.5 and "wise_ft" not in half.facts
    assert [note for note in chosen.notes if "50% of the initial weights" in note]
    assert not [note for note in half.notes if "initial weights" in note]
    assert equal(weights_of(chosen.model), weights_of(half.model))


def test_part_of_the_start_is_kept_where_rows_are_few_and_the_head_begins_solved() -> None:
    assert [default_wise_ft(rows, 2) for rows in (16, 199, 200, 5000)] == [0.5, 0.5, "auto", "auto"]
    full = Recipe().changed({"tune": "full"})
    assert resolve_defaults(full, pretrained=True, rows=16, classes=2).train.wise_ft == 0.5
    assert (
        resolve_defaults(
            full.changed({"train.head_init": "random"}), pretrained=True, rows=16, classes=2
        ).train.wise_ft
        == 0.0
    )
    assert (
        resolve_defaults(
            full.changed({"train.wise_ft": 0.1}), pretrained=True, rows=16, classes=2
        ).train.wise_ft
        == 0.1
    )
    assert resolve_defaults(full, pretrained=False, rows=16, classes=2).train.wise_ft == 0.0


def test_merges_are_dropped_where_a_pretrained_backbone_is_trained_whole_on_many_rows() -> None:
    full = Recipe().changed({"tune": "full"})
    for rows, pretrained, share in (
        (199, True, 0.0),
        (200, True, 0.1),
        (5000, True, 0.1),
        (5000, False, 0.0),
    ):
        assert (
            resolve_defaults(full, pretrained=pretrained, rows=rows, classes=2).train.bpe_dropout
            == share
        )
    assert (
        resolve_defaults(
            full.changed({"train.bpe_dropout": 0.3}), pretrained=True, rows=16, classes=2
        ).train.bpe_dropout
        == 0.3
    )
    assert (
        resolve_defaults(
            full.changed({"tune": "lora:2"}), pretrained=True, rows=5000, classes=2
        ).train.bpe_dropout
        == 0.0
    )


@pytest.mark.parametrize("how", ["head", "blocks:1"])
def test_the_next_token_loss_needs_everything_trained(how: str) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"train\.lm_loss_weight: expected tune = full, got tune = {how}",
    ):
        recipe_of({"tune": how, "lm_loss_weight": 0.1})


def test_class_weights_balance_or_are_named() -> None:
    targets, classes = np.array([0, 0, 0, 1, 2, 2]), ["a", "b", "c"]
    assert class_weights(Recipe(), targets, classes).tolist() == [1, 1, 1]
    balanced = class_weights(Recipe().changed({"class_weight": "balanced"}), targets, classes)
    np.testing.assert_allclose(balanced, [6 / (3 * 3), 6 / (3 * 1), 6 / (3 * 2)])
    assert class_weights(
        Recipe().changed({"class_weight": {"c": 2.5}}), targets, classes
    ).tolist() == [1, 1, 2.5]
    with pytest.raises(
        ConfigError,
        match=r"train\.class_weight names 'spma', which is not one of the labels \['a', 'b', 'c'\]",
    ):
        class_weights(Recipe().changed({"class_weight": "spma=2"}), targets, classes)


WAYS: list[tuple[str, dict[str, Any]]] = [
    ("pretrained", {"tune": "head"}),
    ("pretrained", {"tune": "head", "pooling": "last_token"}),
    ("pretrained", {"tune": "head", "train.head_solver": "adamw", "epochs": 2, "batch_rows": 7}),
    (
        "pretrained",
        {
            "tune": "head",
            "train.head_solver": "adamw",
            "padding": "fixed:19",
            "pooling": "last_position",
            "add_bos": False,
        },
    ),
    ("pretrained", {"tune": "blocks:1", "epochs": 2}),
    ("pretrained", {"tune": "blocks:2", "epochs": 2, "pooling": "last_token"}),
    ("pretrained", {"tune": "blocks:4", "epochs": 1}),
    ("pretrained", {"tune": "lora:3", "epochs": 2}),
    ("pretrained", {"tune": "lora:5", "epochs": 1, "pooling": "last_token"}),
    ("pretrained", {"tune": "full", "epochs": 2, "pooling": "last_token", "normalize": "nfkc"}),
    ("scratch", {"tune": "full", "epochs": 2}),
    ("scratch", {"tune": "full", "epochs": 1, "padding": "fixed:23", "pooling": "last_position"}),
]


@pytest.mark.parametrize(("name", "settings"), WAYS, ids=str)
def test_every_way_of_tuning_runs_to_the_end(
    name: str, settings: dict[str, Any], folder: Path
) -> None:
    backbone, recipe = fresh(folder, name), recipe_of(settings, pretrained=name == "pretrained")
    before = weights_of(backbone.model)
    found, of = tuned(backbone, recipe)
    model, exact = found.model, recipe.tune == "head" and recipe.train.head_solver == "lbfgs"
    position = found.selected_settings.get("text.pooling", recipe.text.pooling)
    folded = position == "mean" and recipe.blocks is None
    assert isinstance(model.transformer.h[-1], MeanPoolingBlock) == folded
    rows = np.arange(61) if exact else HELD_OUT
    assert found.held_out.tolist() == rows.tolist() and found.held_out_logits.shape == (
        len(rows),
        2,
    )
    logits = score(model, of)
    assert np.isfinite(logits).all()
    if not exact:
        np.testing.assert_allclose(found.held_out_logits, logits[HELD_OUT], atol=2e-4)
        assert (
            found.facts["epochs"] == recipe.train.epochs
            and found.history[-1]["step"] == found.facts["steps"]
        )
    if recipe.tune != "full":  # what lies under the trained part is as it was
        names = [
            "wte.weight",
            "wpe.weight",
            *(
                n
                for n in before
                if n.startswith("h.0.") and recipe.tune != "blocks:4" and not recipe.rank
            ),
        ]
        assert all(torch.equal(model.transformer.state_dict()[n], before[n]) for n in names)
    assert 0 < found.facts["trained_parameters"] <= sum(p.numel() for p in model.parameters())


def test_the_exact_head_learns_these_rows(folder: Path) -> None:
    found, of = tuned(fresh(folder), recipe_of({"tune": "head", "class_weight": "balanced"}))
    assert (score(found.model, of).argmax(1) == TARGETS).mean() > 0.9
    assert found.facts["inverse_penalty"] > 0
    tried = [row for row in found.history if "inverse_penalty" in row]
    assert found.facts["inverse_penalty"] in [row["inverse_penalty"] for row in tried]
    assert len(found.history) > len(tried) and "layer" in found.history[0]
    (note,) = found.notes
    assert note.startswith(
        f"Features: {found.selected_settings['text.pooling']} pooling of layer "
        f"{found.selected_settings['text.layers']} of 3, "
    )


def test_layer_and_pooling_may_be_given_and_more_layers_than_there_are_are_refused(
    folder: Path,
) -> None:
    found, of = tuned(
        fresh(folder), recipe_of({"tune": "head", "layers": 2, "pooling": "last_token"})
    )
    assert (
        found.selected_settings == {"text.layers": 2, "text.pooling": "last_token"}
        and found.notes == []
    )
    assert len(found.model.transformer.h) == 2
    assert found.features is not None
    scored = head_of(found.model).logits(found.features)
    np.testing.assert_allclose(scored, centred(score(found.model, of)), atol=2e-4)
    for how in ("head", "full"):
        with pytest.raises(ConfigError, match=r"text\.layers = 4: the backbone has only 3 blocks"):
            tuned(fresh(folder), recipe_of({"tune": how, "layers": 4, "epochs": 1}))
    shallow, _ = tuned(fresh(folder), recipe_of({"tune": "full", "layers": 1, "epochs": 1}))
    assert len(shallow.model.transformer.h) == 2  # one block and the pooling block


def test_attention_begins_as_the_mean_and_is_trained_from_there(folder: Path) -> None:
    still = {
        "tune": "full",
        "learning_rate": 1e-12,
        "head_learning_rate": 1e-12,
        "epochs": 1,
        "dropout": 0.0,
        "head_init": "linear_probe",
    }
    mean, of = tuned(fresh(folder), recipe_of(still))
    attention, _ = tuned(fresh(folder), recipe_of({**still, "pooling": "attention"}))
    np.testing.assert_allclose(score(attention.model, of), score(mean.model, of), atol=5e-3)
    moved, _ = tuned(
        fresh(folder),
        recipe_of({"tune": "full", "pooling": "attention", "learning_rate": 1e-2, "epochs": 2}),
    )
    assert not isinstance(moved.model.transformer.h[-1], MeanPoolingBlock)
    keys = moved.model.transformer.state_dict()["h.3.attn.c_attn.weight"][20:40]
    assert keys.abs().max() > 1e-3  # they were zero


def test_attention_is_trained_by_adapters_too_and_only_where_it_is_asked_for(folder: Path) -> None:
    settings = {"tune": "lora:4", "epochs": 3, "learning_rate": 1e-2, "batch_tokens": 200}
    mean, _ = tuned(fresh(folder), recipe_of(settings))
    attention, of = tuned(fresh(folder), recipe_of({**settings, "pooling": "attention"}))
    assert isinstance(mean.model.transformer.h[-1], MeanPoolingBlock)
    assert not isinstance(attention.model.transformer.h[-1], MeanPoolingBlock)
    keys = attention.model.transformer.state_dict()["h.3.attn.c_attn.weight"][20:40]
    assert keys.abs().max() > 1e-3  # they were zero
    first, *_, last = np.array_split(
        [entry["loss"] for entry in attention.history if "loss" in entry], 4
    )
    assert np.isfinite(score(attention.model, of)).all() and last.mean() < first.mean()


@pytest.mark.parametrize(
    ("settings", "pretrained", "position"),
    [
        ({"tune": "head"}, True, "auto"),
        ({"tune": "head", "train.head_solver": "adamw"}, True, "mean"),
        ({"tune": "full"}, False, "mean"),
        ({"tune": "full", "lm_loss_weight": 0.0}, False, "attention"),
        ({"tune": "full"}, True, "attention"),
        ({"tune": "lora:2"}, False, "attention"),
        ({"tune": "blocks:1"}, True, "attention"),
    ],
    ids=str,
)
def test_the_resolved_recipe_says_attention_where_it_is_trained(
    settings: dict[str, Any], pretrained: bool, position: str
) -> None:
    assert (
        recipe_of({"text.pooling": "attention", **settings}, pretrained=pretrained).text.pooling
        == position
    )


def test_training_everything_learns_these_rows(folder: Path) -> None:
    found, of = tuned(
        fresh(folder, "scratch"),
        recipe_of({"epochs": 8, "learning_rate": 5e-3, "batch_tokens": 200}, pretrained=False),
    )
    assert (score(found.model, of).argmax(1) == TARGETS).mean() > 0.9
    assert found.history[0]["loss"] > found.history[-2]["loss"]


def test_adapters_learn_these_rows_and_leave_plain_weights(folder: Path) -> None:
    backbone = fresh(folder)
    before = weights_of(backbone.model)
    found, _ = tuned(
        backbone,
        recipe_of({"tune": "lora:4", "epochs": 20, "learning_rate": 1e-3, "batch_tokens": 200}),
    )
    first, *_, last = np.array_split(
        [entry["loss"] for entry in found.history if "loss" in entry], 4
    )
    assert (
        last.mean() < 0.5 * first.mean()
    )  # verdicts of so few rows may differ from processor to processor
    after = found.model.transformer.state_dict()
    assert not any("lora" in name for name in after)
    change = after["h.1.mlp.c_fc.weight"] - before["h.1.mlp.c_fc.weight"]
    assert torch.linalg.matrix_rank(change, rtol=1e-4) == 4
    # A and B of 20 channels, inner 80: (20 + 60) + (20 + 20) + (20 + 80) + (80 + 20), times the
    # rank, in three blocks; ln_f and head.
    assert found.facts["trained_parameters"] == 3 * 4 * 320 + 2 * 20 + 2 * 20


@pytest.mark.parametrize("how", ["blocks:1", "head"])
def test_kept_states_change_nothing(how: str, folder: Path, tmp_path: Path) -> None:
    recipe, store = recipe_of({"tune": how, "epochs": 2}), FeatureCache(tmp_path)
    plain, first, second = (
        tuned(fresh(folder), recipe, cache=s)[0] for s in (NO_CACHE, store, store)
    )
    assert equal(weights_of(plain.model), weights_of(first.model)) and equal(
        weights_of(plain.model), weights_of(second.model)
    )
    assert len(list(tmp_path.glob("*.npy"))) == 1


@pytest.mark.parametrize(
    "settings",
    [{"tune": "full", "epochs": 1}, {"tune": "blocks:1", "epochs": 1}, {"tune": "head"}],
    ids=str,
)
def test_texts_longer_than_the_context_are_trained_and_scored_by_windows(
    settings: dict[str, Any], folder: Path
) -> None:
    texts = [*TEXTS[:20], *(" ".join(TEXTS[i : i + 5]) for i in range(20, 30))]
    found, of = tuned(
        fresh(folder),
        recipe_of(settings),
        texts=texts,
        targets=TARGETS[:30],
        held_out=np.arange(15, 30),
    )
    assert len(of.windows) > 45 and max(of.lengths) == 31
    logits = score(found.model, of)
    with torch.no_grad():
        for row in (0, 21, 29):
            each = torch.cat(
                [found.model(pack([of.windows[w]])) for w in of.windows_of(np.array([row]))]
            )
            np.testing.assert_allclose(logits[row], each.mean(0).numpy(), atol=1e-4)


def test_rows_beyond_the_training_rows_are_not_learned_from(
    folder: Path,
) -> None:
    recipe = recipe_of({"tune": "head"})
    both, _ = tuned(fresh(folder), recipe, texts=TEXTS, targets=TARGETS[:40], held_out=np.arange(0))
    alone, _ = tuned(
        fresh(folder), recipe, texts=TEXTS[:40], targets=TARGETS[:40], held_out=np.arange(0)
    )
    scored = []
    for found in (both, alone):
        assert found.features is not None and found.features.shape == (40, 20)
        scored.append(head_of(found.model).logits(found.features))
    np.testing.assert_allclose(scored[0], scored[1], atol=1e-3)


def test_the_head_by_epochs_moves_head_and_final_norm_alone(folder: Path) -> None:
    settings = {
        "tune": "head",
        "train.head_solver": "adamw",
        "pooling": "last_token",
        "learning_rate": 1e-2,
        "head_learning_rate": 1e-2,
    }
    backbone = fresh(folder)
    before = weights_of(backbone.model)
    found, _ = tuned(backbone, recipe_of(settings))
    moved = {
        name
        for name, tensor in weights_of(found.model.transformer).items()
        if not torch.equal(tensor, before[name])
    }
    assert (
        moved == {"ln_f.weight", "ln_f.bias"}
        and found.facts["trained_parameters"] == 2 * 20 + 2 * 20
    )


def test_a_frozen_trunk_in_bfloat16_comes_near_and_leaves_the_model_in_fp32(folder: Path) -> None:
    exact, of = tuned(fresh(folder), recipe_of({"tune": "head"}))
    rough, _ = tuned(fresh(folder), recipe_of({"tune": "head", "dtype": "bf16"}))
    assert {p.dtype for p in rough.model.parameters()} == {torch.float32}
    assert (score(exact.model, of).argmax(1) == score(rough.model, of).argmax(1)).mean() > 0.9
    assert not equal(weights_of(exact.model), weights_of(rough.model))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(folder: Path) -> None:
    runs = [
        weights_of(
            tuned(fresh(folder), recipe_of({"tune": "full", "epochs": 1, "seed": seed}))[0].model
        )
        for seed in (5, 5, 6)
    ]
    assert equal(runs[0], runs[1]) and not equal(runs[0], runs[2])


@pytest.fixture
def kept_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamis.training.checkpoint.EVERY_S", 0.0)


@pytest.mark.usefixtures("kept_every_step")
@pytest.mark.parametrize(
    ("stop", "calls"),
    [(KeyboardInterrupt, 1), (KeyboardInterrupt, 5), (MemoryError, 8), (KeyboardInterrupt, 14)],
)
def test_an_interruption_anywhere_ends_in_the_same_bytes(
    stop: type[BaseException], calls: int, folder: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(
        {"tune": "full", "epochs": 3, "batch_rows": 12, "token_dropout": 0.2, "dropout": 0.1}
    )
    plain, _ = tuned(fresh(folder), recipe)
    backbone, seen = fresh(folder), []

    def hook(*_: object) -> None:
        seen.append(1)
        if len(seen) == calls:
            raise stop

    backbone.model.ln_f.register_forward_hook(hook)
    with pytest.raises(stop):
        tuned(backbone, recipe, checkpoint=tmp_path)
    resumed, _ = tuned(fresh(folder), recipe, checkpoint=tmp_path)
    assert (
        equal(weights_of(resumed.model), weights_of(plain.model))
        and resumed.history == plain.history
    )
    np.testing.assert_array_equal(resumed.held_out_logits, plain.held_out_logits)


@pytest.mark.usefixtures("kept_every_step")
def test_a_checkpoint_of_another_recipe_or_other_rows_is_not_taken_up(
    folder: Path, tmp_path: Path
) -> None:
    settings = {"tune": "blocks:1", "epochs": 2}
    tuned(fresh(folder), recipe_of(settings), checkpoint=tmp_path)
    assert (tmp_path / "training.safetensors").is_file()
    for changed, held_out in (
        (settings | {"weight_decay": 0.2}, HELD_OUT),
        (settings, HELD_OUT[1:]),
    ):
        with_old, _ = tuned(
            fresh(folder), recipe_of(changed), held_out=held_out, checkpoint=tmp_path
        )
        plain, _ = tuned(fresh(folder), recipe_of(changed), held_out=held_out)
        assert equal(weights_of(with_old.model), weights_of(plain.model))


@pytest.mark.parametrize(
    ("position", "filled"), [("last_position", True), ("last_token", False), ("auto", False)]
)
def test_a_fixed_length_is_filled_up_only_where_the_last_position_is_read(
    position: str, filled: bool, folder: Path
) -> None:
    recipe = recipe_of({"padding": "fixed:9", "pooling": position})
    short, long = prepared_tokenizer(recipe, fresh(folder).tokenizer).encode(
        ["k", "abcdefghijklmnopqrstuvwxyz"]
    )
    assert len(long) == 9 and len(short) == (9 if filled else 2)


def test_held_out_rows_are_not_learned_from(folder: Path) -> None:
    recipe, other = recipe_of({"tune": "blocks:1", "epochs": 1}), TARGETS.copy()
    other[HELD_OUT] = 1 - other[HELD_OUT]
    a, b = tuned(fresh(folder), recipe)[0], tuned(fresh(folder), recipe, targets=other)[0]
    assert equal(weights_of(a.model), weights_of(b.model)) and a.history[-1] != b.history[-1]


def test_more_blocks_than_there_are_is_refused(folder: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"tune = blocks:5: the backbone has only 4 blocks \(including the pooling block\)",
    ):
        tuned(fresh(folder), recipe_of({"tune": "blocks:5"}))


def test_a_class_without_rows_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="class 'spam' has no training row; every class needs one"):
        tuned(fresh(folder), recipe_of({}), targets=np.zeros(61, dtype=np.int64))


def test_balanced_weights_do_not_correct_twice_what_undersampling_has_balanced() -> None:
    from tamis.head.class_weights import class_weights

    targets = np.array([0, 0, 0, 1])
    recipe = Recipe().changed({"train.class_weight": "balanced"})
    assert class_weights(recipe, targets, ["a", "b"]).tolist() == [4 / 6, 2.0]
    assert class_weights(
        recipe.changed({"train.undersample": True}), targets, ["a", "b"]
    ).tolist() == [1.0, 1.0]


FOLDED = {"tune": "full", "epochs": 1, "batch_rows": 12, "dropout": 0.1, "token_dropout": 0.1}
FOLD_IDS = np.arange(61) % 3


def test_each_folds_scores_are_those_of_a_model_trained_without_it_and_the_model_learns_all_rows(
    folder: Path,
) -> None:
    folded, _ = tuned(fresh(folder), recipe_of(FOLDED), held_out=HELD_OUT[:0], fold_ids=FOLD_IDS)
    assert folded.cross_validated and folded.held_out.tolist() == list(range(61))
    for fold in range(3):
        alone, _ = tuned(
            fresh(folder), recipe_of(FOLDED), held_out=np.flatnonzero(FOLD_IDS == fold)
        )
        np.testing.assert_array_equal(
            folded.held_out_logits[FOLD_IDS == fold], alone.held_out_logits
        )
    everything, _ = tuned(fresh(folder), recipe_of(FOLDED), held_out=HELD_OUT[:0])
    assert (
        equal(weights_of(folded.model), weights_of(everything.model))
        and not everything.cross_validated
    )


@pytest.mark.usefixtures("kept_every_step")
@pytest.mark.parametrize("calls", [2, 7, 11, 16])
def test_an_interruption_in_any_fold_ends_in_the_same_bytes(
    calls: int, folder: Path, tmp_path: Path
) -> None:
    plain, _ = tuned(fresh(folder), recipe_of(FOLDED), held_out=HELD_OUT[:0], fold_ids=FOLD_IDS)
    seen: list[int] = []
    step = Training.train_step

    def counted(self: Training, *rest: Any) -> tuple[float, float]:
        seen.append(1)
        if len(seen) == calls:
            raise KeyboardInterrupt
        return step(self, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "train_step", counted)
        with pytest.raises(KeyboardInterrupt):
            tuned(
                fresh(folder),
                recipe_of(FOLDED),
                held_out=HELD_OUT[:0],
                fold_ids=FOLD_IDS,
                checkpoint=tmp_path,
            )
    resumed, _ = tuned(
        fresh(folder),
        recipe_of(FOLDED),
        held_out=HELD_OUT[:0],
        fold_ids=FOLD_IDS,
        checkpoint=tmp_path,
    )
    np.testing.assert_array_equal(resumed.held_out_logits, plain.held_out_logits)
    assert equal(weights_of(resumed.model), weights_of(plain.model))


def test_the_copies_of_a_fold_go_out_with_its_rows(folder: Path) -> None:
    """Copies of the rows of one fold change the scores of the others' rows, not of its own."""
    texts = [*TEXTS, *(TEXTS[row] + " copied out once more" for row in range(0, 61, 3))]
    of, copies = np.arange(0, 61, 3), np.arange(61, len(texts))
    recipe = recipe_of(FOLDED)
    messages = EncodedTexts.encode(
        texts, prepared_tokenizer(recipe, fresh(folder).tokenizer), context=31
    )
    groups, targets = np.concatenate([np.arange(61), of]), np.concatenate([TARGETS, TARGETS[of]])
    rows = np.arange(61)
    data = TrainingSet(messages, targets, CLASSES, np.ones(2), groups, rows, fold_ids=FOLD_IDS)
    plain, with_copies = (
        fit(fresh(folder), recipe, replace(data, copies=some)).held_out_logits
        for some in (copies[:0], copies)
    )
    np.testing.assert_array_equal(plain[FOLD_IDS == 0], with_copies[FOLD_IDS == 0])
    assert (plain[FOLD_IDS != 0] != with_copies[FOLD_IDS != 0]).any(axis=1).all()


def test_folds_are_for_budgets_of_small_backbones_or_asked_for() -> None:
    budget = Recipe().changed({"tune": "full", "decision.max_fpr": 0.001})
    assert (
        resolve_defaults(
            budget, pretrained=True, rows=5000, classes=2, small=True
        ).decision.cv_folds
        == 3
    )
    assert (
        resolve_defaults(
            budget, pretrained=True, rows=5000, classes=2, small=False
        ).decision.cv_folds
        == 0
    )
    assert (
        resolve_defaults(
            budget.changed({"decision.cv_folds": 0}),
            pretrained=True,
            rows=5000,
            classes=2,
            small=True,
        ).decision.cv_folds
        == 0
    )
    asked = Recipe().changed({"tune": "blocks:1", "decision.cv_folds": 4})
    assert resolve_defaults(asked, pretrained=True, rows=5000, classes=2).decision.cv_folds == 4
    assert (
        resolve_defaults(
            asked.changed({"decision.cv_folds": 1}), pretrained=True, rows=5000, classes=2
        ).decision.cv_folds
        == 0
    )
    assert (
        resolve_defaults(
            asked.changed({"tune": "head"}), pretrained=True, rows=5000, classes=2
        ).decision.cv_folds
        == 0
    )  # has its own
    assert (
        resolve_cv_folds(
            asked.changed({"tune": "auto"}), pretrained=True, small=False, rows=5000, classes=2
        )
        == 0
    )  # a large one's head
    assert (
        resolve_cv_folds(
            asked.changed({"tune": "auto"}), pretrained=True, small=True, rows=5000, classes=2
        )
        == 4
    )
    few = Recipe().changed({"tune": "full"})
    for rows, classes, folds in ((16, 2, 5), (199, 2, 5), (200, 2, 0), (300, 6, 5), (301, 6, 0)):
        assert (
            resolve_cv_folds(few, pretrained=True, small=True, rows=rows, classes=classes) == folds
        )
    assert resolve_cv_folds(few, pretrained=False, small=True, rows=16, classes=2) == 0
