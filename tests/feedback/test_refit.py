"""What corrections ask of a head: training's own optimum on its rows and theirs, or the present
head, moved as little as can be.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tamis import TextClassifier
from tamis.classifier.training_features import TrainingRows, read_training_rows, text_keys
from tamis.feedback.guards import LearningSettings
from tamis.feedback.refit import (
    FOLDS,
    Base,
    CorrectionRows,
    among,
    class_balanced_fold_ids,
    no_corrections,
)
from tamis.head.refit import features_of
from tamis.text.encoding import EncodedTexts
from tests import runs
from tests.feedback.learners import TEXTS, head_classifier, head_run, mistaken

SETTINGS = LearningSettings(emphasis=1)


def kept(run: object = None) -> TrainingRows:
    rows = read_training_rows(head_run() if run is None else runs.finished_run())
    assert rows is not None
    return rows


def penalised() -> TrainingRows:
    """The same by a penalty that does not depend on which one did best on these few rows with the
    present `nano`.
    """
    return replace(kept(), inverse_penalty=30.0)


def base(
    classifier: TextClassifier | None = None, rows: TrainingRows | None = None, **settings: float
) -> Base:
    return Base(
        classifier or head_classifier(),
        rows or kept(),
        LearningSettings.model_validate({"emphasis": 1, **settings}),
    )


def features(classifier: TextClassifier, texts: list[str]) -> NDArray[np.float64]:
    trunk = classifier.predictor_.scorer.transformer
    context = trunk.config.n_positions
    return features_of(
        trunk, EncodedTexts.encode(texts, classifier.predictor_.tokenizer, context=context)
    ).astype(np.float64)


def taught(
    classifier: TextClassifier | None = None, count: int = 4, force: bool = False
) -> CorrectionRows:
    classifier = classifier or head_classifier()
    some = mistaken(count, classifier)
    texts = [item.text for item in some]
    targets = np.array([[str(c) for c in classifier.classes_].index(item.label) for item in some])
    return CorrectionRows(
        features(classifier, texts), targets, np.full(len(some), force), text_keys(texts)
    )


def margins(features: NDArray[np.float64], found: Base, head: object) -> NDArray[np.float64]:
    logits = head.logits(features)  # type: ignore[attr-defined]
    return np.asarray(logits[:, 1] - logits[:, 0])


def test_a_solved_head_is_solved_again_on_training_rows_and_corrections_as_training_would() -> None:
    found, some = base(), taught()
    candidate = found.candidate(some)
    rows = np.concatenate([found.features, some.features])
    model = LogisticRegression(
        C=kept().inverse_penalty, solver="newton-cholesky", tol=1e-12, max_iter=1000
    )
    model.fit(rows, np.concatenate([found.targets, some.targets]))
    there = (rows @ model.coef_[0] + model.intercept_[0]) / head_classifier().temperature_
    assert candidate.weights.tolist() == [1.0] * 4 and found.exact
    np.testing.assert_allclose(margins(rows, found, candidate.head), there, atol=2e-3)


def test_class_weights_of_training_count_for_corrections_too() -> None:
    found, some = base(rows=replace(kept(), class_weights=np.array([1.0, 4.0]))), taught()
    rows, targets = (
        np.concatenate([found.features, some.features]),
        np.concatenate([found.targets, some.targets]),
    )
    model = LogisticRegression(
        C=kept().inverse_penalty,
        solver="newton-cholesky",
        tol=1e-12,
        max_iter=1000,
        class_weight={0: 1, 1: 4},
    )
    there = model.fit(rows, targets)
    wanted = (rows @ there.coef_[0] + there.intercept_[0]) / head_classifier().temperature_
    np.testing.assert_allclose(margins(rows, found, found.candidate(some).head), wanted, atol=2e-3)


def test_corrections_of_one_class_alone_count_for_nothing_where_no_ratio_may_change() -> None:
    some = replace(taught(force=True), targets=np.ones(4, dtype=np.int64))
    found = base(max_shift=1.0)
    model = LogisticRegression(
        C=kept().inverse_penalty, solver="newton-cholesky", tol=1e-12, max_iter=1000
    )
    model.fit(found.features, found.targets)
    wanted = (some.features @ model.coef_[0] + model.intercept_[0]) / head_classifier().temperature_
    np.testing.assert_allclose(
        margins(some.features, found, found.candidate(some).head), wanted, atol=2e-3
    )
    assert (margins(some.features, found, base().candidate(some).head) > wanted + 0.1).all()


def test_the_order_of_corrections_and_the_start_do_not_matter() -> None:
    found, some = base(), taught()
    turned = CorrectionRows(
        some.features[::-1], some.targets[::-1], some.force[::-1], some.keys[::-1]
    )
    one, other = (
        found.candidate(some),
        found.candidate(turned, start=found.candidate(taught(count=1)).head),
    )
    np.testing.assert_allclose(
        margins(found.features, found, one.head),
        margins(found.features, found, other.head),
        atol=1e-3,
    )


def test_a_training_row_that_is_corrected_no_longer_speaks_against_it() -> None:
    found, rows = base(), kept()
    place = int(np.flatnonzero(rows.targets == 0)[0])
    alone = CorrectionRows(
        found.features[[place]], np.array([1]), np.array([False]), rows.keys[[place]]
    )
    stranger = replace(alone, keys=text_keys(["another text with the same features"]))
    first, second = (
        margins(alone.features, found, found.candidate(some).head)[0] for some in (alone, stranger)
    )
    assert first > second  # against the stranger the row itself still says ham
    judged = found.held_out(found.candidate(alone))  # by its own label all the same
    assert (
        judged is not None
        and judged[0]["rows"]["ham"] == judged[1]["rows"]["ham"] == (rows.targets == 0).sum()
    )


def test_what_the_model_is_sure_of_is_not_learnt_unless_forced_or_put_in_doubt() -> None:
    found = base(confident=0.6)
    some = taught()
    agreed = replace(some, targets=1 - some.targets)  # now they say what the model says
    probabilities = found.probabilities(agreed.features)[np.arange(4), agreed.targets]
    assert (found.candidate(agreed).weights == 0).tolist() == (probabilities >= 0.6).tolist() and (
        probabilities >= 0.6
    ).any()
    assert (found.candidate(replace(agreed, force=np.ones(4, dtype=bool))).weights == 1).all()
    sure = int(probabilities.argmax())
    # the same text under four other keys says the opposite: the one that was sure is in doubt, and
    # counts
    against = CorrectionRows(
        np.repeat(agreed.features[[sure]], 5, axis=0),
        np.array([agreed.targets[sure], *[1 - agreed.targets[sure]] * 4]),
        np.zeros(5, dtype=bool),
        text_keys(list("abcde")),
    )
    assert found.candidate(against).weights[0] == 1


def test_a_correction_that_is_not_heard_counts_double_until_it_is() -> None:
    rows = penalised()
    place = int(np.flatnonzero(rows.targets == 0)[0])
    found = base(
        rows=rows.selected(np.concatenate([np.arange(len(rows.targets)), np.full(3, place)]))
    )
    ham = rows.features[[place]].astype(
        np.float64
    )  # four training rows say ham, one correction says spam
    some = CorrectionRows(ham, np.array([1]), np.array([False]), text_keys(["other words"]))
    quiet, loud = (found.candidate(some, emphasis=emphasis) for emphasis in (1, 8))
    assert quiet.weights.tolist() == [1.0] and loud.weights[0] in (2.0, 4.0, 8.0)
    first, second = (
        found.rule.labels(found.probabilities(ham, candidate.head), found.classes)[0]
        for candidate in (quiet, loud)
    )
    assert (first, second) == (0, 1)


def test_a_trunk_that_was_trained_keeps_its_head_where_nothing_asks_otherwise() -> None:
    classifier = TextClassifier.load(runs.finished_run(), threads=1)
    found = base(classifier, kept("finished"))
    rows = read_training_rows(runs.finished_run())
    assert rows is not None and not found.exact and len(found.features) == (~rows.held_out).sum()
    some = taught(classifier)
    # Sure of everything: nothing is learnt, and the optimum is the present head.
    unmoved = replace(some, targets=found.probabilities(some.features).argmax(1))
    certain = Base(classifier, rows, LearningSettings(confident=0.500001))
    np.testing.assert_allclose(certain.candidate(unmoved).head.weight, found.head.weight, atol=1e-6)
    candidate = found.candidate(some, emphasis=8)
    assert (
        found.rule.labels(found.probabilities(some.features, candidate.head), found.classes)
        == some.targets
    ).all()
    moved = np.abs(
        margins(found.features, found, candidate.head) - margins(found.features, found, found.head)
    )
    towards = np.abs(
        margins(some.features, found, candidate.head) - margins(some.features, found, found.head)
    )
    assert moved.mean() < towards.mean() / 2


def test_a_trained_trunk_is_judged_on_its_validation_rows() -> None:
    classifier, rows = TextClassifier.load(runs.finished_run(), threads=1), kept("finished")
    found, some = base(classifier, rows), taught(classifier)
    judged = found.held_out(found.candidate(some))
    assert judged is not None and sum(judged[0]["rows"].values()) == rows.held_out.sum()
    scores = found.probabilities(rows.features[rows.held_out])
    wrong = found.rule.labels(scores, found.classes) != rows.targets[rows.held_out]
    assert judged[0]["wrong"]["ham"] == pytest.approx(
        wrong[rows.targets[rows.held_out] == 0].mean()
    )


def test_without_training_rows_corrections_alone_move_the_head_and_nothing_is_held_out() -> None:
    found = Base(head_classifier(), None, LearningSettings())
    some = taught()
    candidate = found.candidate(some)
    assert found.held_out(candidate) is None and len(found.features) == 0
    before, after = (
        found.probabilities(some.features, head)[np.arange(4), some.targets]
        for head in (found.head, candidate.head)
    )
    labels = found.rule.labels(found.probabilities(some.features, candidate.head), found.classes)
    assert (after > before).sum() >= 3 and (
        labels == some.targets
    ).sum() >= 1  # none was before; one pulls against three
    many = taught(count=12)
    probabilities = found.probabilities(many.features)
    sure = probabilities.max(1) > 0.5001
    sure &= probabilities.argmax(1) == found.rule.labels(
        probabilities, found.classes
    )  # a threshold may differ from one half
    assert sure.sum() >= 3
    agreed = CorrectionRows(
        many.features[sure], probabilities.argmax(1)[sure], many.force[sure], many.keys[sure]
    )
    certain = Base(head_classifier(), None, LearningSettings(confident=0.500001))
    np.testing.assert_allclose(
        certain.candidate(agreed).head.weight, found.head.weight, atol=1e-6
    )  # it holds the head, and moves nothing
    few = found.refuses(some)
    assert few is not None and few.startswith("too few rows of")
    assert Base(head_classifier(), kept(), LearningSettings()).refuses(some) is None


def test_rows_of_another_task_count_as_none() -> None:
    assert Base(head_classifier(), replace(kept(), classes=("no", "yes")), SETTINGS).rows is None


def test_out_of_fold_figures_are_from_heads_that_did_not_see_the_row() -> None:
    found, some = base(rows=penalised()), taught()
    judged = found.held_out(found.candidate(some))
    folds = class_balanced_fold_ids(found.targets, kept().groups)
    assert judged is not None and folds is not None
    temperature, threshold = head_classifier().temperature_, head_classifier().rule_.threshold
    assert threshold is not None
    for figures, extra in ((judged[0], no_corrections(found.features.shape[1])), (judged[1], some)):
        scores = np.empty(len(folds))
        for fold in range(FOLDS):
            inside = folds != fold
            rows = np.concatenate([found.features[inside], extra.features])
            model = LogisticRegression(
                C=penalised().inverse_penalty, solver="newton-cholesky", tol=1e-12, max_iter=1000
            )
            model.fit(rows, np.concatenate([found.targets[inside], extra.targets]))
            scores[~inside] = found.features[~inside] @ model.coef_[0] + model.intercept_[0]
        spam = 1 / (1 + np.exp(-scores / temperature))
        wrong = (spam >= threshold) != (found.targets == 1)
        for name, k in (("ham", 0), ("spam", 1)):
            assert figures["wrong"][name] == pytest.approx(wrong[found.targets == k].mean())
        own = np.where(found.targets == 1, spam, 1 - spam)
        assert figures["loss"] == pytest.approx(-np.log(own).mean(), abs=2e-3)


def test_folds_keep_groups_whole_and_every_class_in_every_training_part() -> None:
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 40, 200)
    targets = (groups % 5 == 0).astype(np.int64)
    folds = class_balanced_fold_ids(targets, groups)
    assert folds is not None and set(folds) == set(range(FOLDS))
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    assert all(set(targets[folds != fold]) == {0, 1} for fold in range(FOLDS))
    assert class_balanced_fold_ids(np.array([0, 0, 1, 1]), np.array([1, 2, 3, 3])) is None


def test_a_key_is_found_among_others() -> None:
    keys = text_keys(TEXTS)
    assert (
        among(keys, keys[[2, 5]]).nonzero()[0].tolist() == [2, 5]
        and not among(keys, keys[:0]).any()
    )
