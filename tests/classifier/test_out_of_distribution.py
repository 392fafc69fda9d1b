"""A classifier that knows what it has learnt: its limit travels with it, verdicts tell, reports
count, predict marks.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis import NotFittedError, TextClassifier
from tamis.classifier.out_of_distribution import OODDetector
from tamis.decision.out_of_distribution import OODLimit, fit_ood_limit, utf8_lengths
from tamis.gpt2.backbones import load_backbone
from tamis.gpt2.feature_cache import FeatureCache
from tamis.gpt2.likelihood import bits_per_byte
from tamis.gpt2.packing import Packed
from tests import runs
from tests.rows import messages
from tests.runs import tamis as run

FOREIGN = "Мы хотели бы узнать, есть ли у вас время завтра утром"
TEXTS = [text for _, text in messages()]
LABELS = [label for label, _ in messages()]
HAM = "running 5 min late, traffic is mad x"


@pytest.fixture(scope="module")
def learnt() -> TextClassifier:
    settings = runs.settings(**{"train.epochs": 4})
    classifier = TextClassifier("scratch:tiny", settings=settings, threads=1).fit(TEXTS, LABELS)
    classifier.ood_detector_ = classifier.ood_detector_.fitted(TEXTS)
    assert classifier.ood_detector_.limit is not None
    return classifier


@pytest.fixture(scope="module")
def saved(learnt: TextClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ood") / "model"
    learnt.save(folder)
    return folder


def test_its_own_texts_need_fewer_bits_than_another_language(learnt: TextClassifier) -> None:
    own, foreign = (
        learnt.ood_detector_.bits_per_byte(TEXTS),
        learnt.ood_detector_.bits_per_byte(FOREIGN),
    )
    assert own.shape == (len(TEXTS),) and isinstance(foreign, float)
    assert foreign > np.median(own) + 1


def test_verdicts_tell_only_when_asked(learnt: TextClassifier) -> None:
    plain = learnt.verdicts([HAM, FOREIGN])
    assert [v.ood for v in plain] == [None, None] and "ood" not in plain[0].to_dict()
    told = learnt.verdicts([HAM, FOREIGN], ood=True)
    assert [v.ood for v in told] == [False, True]
    assert told[1].ood_score == pytest.approx(learnt.ood_detector_.scores([FOREIGN])[0])
    assert [(v.label, v.verdict, v.probabilities) for v in told] == [
        (v.label, v.verdict, v.probabilities) for v in plain
    ]
    assert told[0].to_dict(ood=True).keys() == {
        "text",
        "label",
        "verdict",
        "probabilities",
        "ood",
        "ood_score",
    }


def test_verdicts_and_scores_come_from_one_pass(
    learnt: TextClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [HAM, FOREIGN, " ".join(TEXTS)]  # the last one has several windows
    plain, scores = learnt.verdicts(texts), learnt.ood_detector_.scores(texts)
    trunk = learnt.predictor_.scorer.transformer
    tokens: list[int] = []
    embed = trunk.embed

    def counted(packed: Packed) -> torch.Tensor:
        tokens.append(packed.tokens)
        return embed(packed)

    monkeypatch.setattr(trunk, "embed", counted)
    told = learnt.verdicts(texts, ood=True)
    assert sum(tokens) == int(learnt.predictor_.encoder.encode(texts).lengths.sum())
    np.testing.assert_allclose(np.array([v.ood_score for v in told], float), scores, rtol=1e-6)
    assert [replace(v, ood=None, ood_score=None) for v in told] == list(plain)
    assert told[2].window is not None and list(learnt.verdicts([], ood=True)) == []


def test_the_limit_travels_with_the_model(learnt: TextClassifier, saved: Path) -> None:
    loaded = TextClassifier.load(saved, threads=1)
    assert loaded.ood_detector_.limit == learnt.ood_detector_.limit
    np.testing.assert_allclose(
        loaded.ood_detector_.scores(TEXTS[:9]), learnt.ood_detector_.scores(TEXTS[:9]), atol=1e-4
    )
    meta = json.loads((saved / "tamis.json").read_text())
    del meta["ood"]
    other = runs.copy_of(saved, saved.parent / "without")
    (other / "tamis.json").write_text(json.dumps(meta))
    unknown = TextClassifier.load(other, threads=1)
    assert np.isnan(unknown.ood_detector_.scores([FOREIGN])).all()
    assert (
        unknown.ood_detector_.limit is None and unknown.verdicts([FOREIGN], ood=True)[0].ood is None
    )
    assert unknown.ood_detector_.report(TEXTS, LABELS) is None


def test_a_new_fit_forgets_the_limit_and_few_texts_set_none() -> None:
    settings = runs.settings(**{"train.epochs": 1})
    classifier = TextClassifier("scratch:tiny", settings=settings, threads=1).fit(TEXTS, LABELS)
    with pytest.raises(NotFittedError):
        TextClassifier().verdicts(["x"], ood=True)
    assert classifier.ood_detector_.fitted(TEXTS[:50]).limit is None
    classifier.ood_detector_ = classifier.ood_detector_.fitted(TEXTS)
    assert classifier.ood_detector_.limit is not None
    assert classifier.fit(TEXTS[:60], LABELS[:60]).ood_detector_.limit is None


def with_old_limit(classifier: TextClassifier) -> TextClassifier:
    """Give a classifier the limit on bits per byte that was fitted before."""
    detector = classifier.ood_detector_
    limit = fit_ood_limit(detector.bits_per_byte(TEXTS), utf8_lengths(TEXTS))
    assert limit is not None
    reader = detector.language_model.fingerprint
    classifier.ood_detector_ = replace(detector, limit=replace(limit, language_model=reader))
    return classifier


def test_a_model_with_a_limit_on_bits_per_byte_works_as_before(
    learnt: TextClassifier, tmp_path: Path
) -> None:
    old = with_old_limit(copy.copy(learnt))
    old.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1)
    assert isinstance(loaded.ood_detector_.limit, OODLimit)
    assert loaded.ood_detector_.limit == old.ood_detector_.limit
    told = loaded.verdicts([HAM, FOREIGN], ood=True)
    assert [verdict.ood for verdict in told] == [False, True]
    limit, bits = loaded.ood_detector_.limit, loaded.ood_detector_.bits_per_byte([HAM, FOREIGN])
    mean, spread = limit.expected(utf8_lengths([HAM, FOREIGN]))
    assert [one.ood_score for one in told] == pytest.approx(((bits - mean) / spread).tolist())
    found = loaded.ood_detector_.report([*TEXTS[:40], FOREIGN], [*LABELS[:40], "ham"])
    assert found is not None and FOREIGN in [one["text"] for one in found["examples"]]


def test_the_backbone_reads_for_a_trunk_that_was_cut(tmp_path: Path) -> None:
    backbone = runs.copy_of(runs.pretrained(), tmp_path / "backbone")
    classifier = with_old_limit(
        TextClassifier(
            str(backbone), "head", settings={"text.layers": 1, "text.pooling": "mean"}, threads=1
        ).fit(TEXTS, LABELS)
    )
    whole, limit = load_backbone(backbone), classifier.ood_detector_.limit
    assert isinstance(limit, OODLimit) and limit.language_model == whole.fingerprint
    expected = bits_per_byte(whole.model, TEXTS[:9], classifier.predictor_.tokenizer)
    np.testing.assert_allclose(
        classifier.ood_detector_.bits_per_byte(TEXTS[:9]), expected, rtol=1e-5
    )
    classifier.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1)
    np.testing.assert_allclose(loaded.ood_detector_.bits_per_byte(TEXTS[:9]), expected, rtol=1e-5)
    assert loaded.ood_detector_.limit == limit
    assert loaded.verdicts([HAM], ood=True)[0].ood is not None
    backbone.rename(
        tmp_path / "gone"
    )  # verdicts need no backbone; what is unknown is said to be unknown
    alone = TextClassifier.load(tmp_path / "model", threads=1)
    told = alone.verdicts([HAM], ood=True)[0]
    assert told.ood is None and told.ood_score is None
    assert alone.ood_detector_.usable_limit is None
    # The limit of today needs no language model.
    assert alone.ood_detector_.fitted(TEXTS).usable_limit is not None
    uncut = TextClassifier(
        str(tmp_path / "gone"),
        "head",
        settings={"text.layers": 3, "text.pooling": "mean"},
        threads=1,
    ).fit(TEXTS, LABELS)
    assert uncut.ood_detector_.language_model.fingerprint is None


def test_given_features_and_cached_states_give_the_same_and_compute_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = TextClassifier("scratch:tiny", "head", threads=1).fit(TEXTS, LABELS)
    predictor, features = classifier.predictor_, classifier.training_.features
    cache = FeatureCache(tmp_path / "states")
    predictor.probabilities(TEXTS[:50], cache=cache)
    computed = OODDetector(predictor, classifier.recipe_).fitted(TEXTS)
    expected = computed.report(TEXTS[:50], LABELS[:50])
    assert computed.limit is not None and expected is not None

    def none(*positional: object, **named: object) -> None:
        raise AssertionError("states are computed")

    monkeypatch.setattr("tamis.gpt2.features.compute_in_parallel", none)
    given = OODDetector(predictor, classifier.recipe_).fitted([*TEXTS], features=features)
    assert given.limit is not None
    assert given.limit.deviations == pytest.approx(computed.limit.deviations, rel=1e-3)
    found = given.report(TEXTS[:50], LABELS[:50], cache=cache)
    assert found is not None
    assert found["flagged"] == expected["flagged"]
    assert found["median_score"] == pytest.approx(expected["median_score"], abs=1e-3)


def test_the_report_counts_and_names(learnt: TextClassifier) -> None:
    found = learnt.ood_detector_.report([*TEXTS[:40], FOREIGN], [*LABELS[:40], "ham"])
    assert found is not None and found["n"] == 41
    assert FOREIGN in [one["text"] for one in found["examples"]]
    assert next(one for one in found["examples"] if one["text"] == FOREIGN)["row"] == 40


def test_predict_marks_them_and_json_only_when_asked(saved: Path, tmp_path: Path) -> None:
    lines = run("predict", saved, HAM, FOREIGN).out.splitlines()
    assert len(lines[0].split("\t")) == 3
    assert lines[1].split("\t")[3].startswith("out-of-distribution (")
    plain = [json.loads(line) for line in run("predict", saved, FOREIGN, "--json").out.splitlines()]
    assert plain[0].keys() == {"text", "label", "verdict", "probabilities"}
    asked = [
        json.loads(line)
        for line in run("predict", saved, HAM, FOREIGN, "--json", "--ood").out.splitlines()
    ]
    assert [one["ood"] for one in asked] == [False, True]
    table = tmp_path / "out.csv"
    assert run("predict", saved, FOREIGN, "--out", table, "--ood").code == 0
    assert (
        table.read_text().splitlines()[0].endswith("ood,ood_score")
        and ",true," in table.read_text()
    )


def test_a_detector_works_alone(learnt: TextClassifier) -> None:
    detector = OODDetector(learnt.predictor_, learnt.recipe_)
    assert detector.limit is None and detector.is_ood([HAM], np.array([9.0])) == [None]
    fitted = detector.fitted(TEXTS)
    assert detector.limit is None and fitted.limit == learnt.ood_detector_.limit
    scores = fitted.scores([HAM, FOREIGN])
    assert fitted.is_ood([HAM, FOREIGN], scores) == [False, True]
    told = fitted.mark(learnt.verdicts([HAM, FOREIGN]))
    assert [verdict.ood for verdict in told] == [False, True]
    assert [verdict.ood_score for verdict in told] == pytest.approx(scores.tolist())
