"""A classifier that knows what it has learnt: its limit travels with it, verdicts tell, reports
count, predict marks.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tamis import NotFittedError, TextClassifier
from tamis.classifier.out_of_distribution import OODDetector
from tamis.gpt2.backbones import load_backbone
from tamis.gpt2.likelihood import bits_per_byte
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
    assert told[1].bits_per_byte == pytest.approx(learnt.ood_detector_.bits_per_byte(FOREIGN))
    assert [(v.label, v.verdict, v.probabilities) for v in told] == [
        (v.label, v.verdict, v.probabilities) for v in plain
    ]
    assert told[0].to_dict(ood=True).keys() == {
        "text",
        "label",
        "verdict",
        "probabilities",
        "ood",
        "bits_per_byte",
    }


def test_the_limit_travels_with_the_model(learnt: TextClassifier, saved: Path) -> None:
    loaded = TextClassifier.load(saved, threads=1)
    assert loaded.ood_detector_.limit == learnt.ood_detector_.limit
    np.testing.assert_allclose(
        loaded.ood_detector_.bits_per_byte(TEXTS[:9]),
        learnt.ood_detector_.bits_per_byte(TEXTS[:9]),
        rtol=1e-5,
    )
    meta = json.loads((saved / "tamis.json").read_text())
    del meta["ood"]
    other = runs.copy_of(saved, saved.parent / "without")
    (other / "tamis.json").write_text(json.dumps(meta))
    unknown = TextClassifier.load(other, threads=1)
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


def test_the_backbone_reads_for_a_trunk_that_was_cut(tmp_path: Path) -> None:
    backbone = runs.copy_of(runs.pretrained(), tmp_path / "backbone")
    classifier = TextClassifier(
        str(backbone), "head", settings={"text.layers": 1, "text.pooling": "mean"}, threads=1
    ).fit(TEXTS, LABELS)
    whole = load_backbone(backbone)
    classifier.ood_detector_ = classifier.ood_detector_.fitted(TEXTS)
    limit = classifier.ood_detector_.limit
    assert limit is not None and limit.language_model == whole.fingerprint
    expected = bits_per_byte(whole.model, TEXTS[:9], classifier.predictor_.tokenizer)
    np.testing.assert_allclose(
        classifier.ood_detector_.bits_per_byte(TEXTS[:9]), expected, rtol=1e-5
    )
    classifier.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1)
    np.testing.assert_allclose(loaded.ood_detector_.bits_per_byte(TEXTS[:9]), expected, rtol=1e-5)
    assert (
        loaded.ood_detector_.limit == limit and loaded.verdicts([HAM], ood=True)[0].ood is not None
    )
    backbone.rename(
        tmp_path / "gone"
    )  # verdicts need no backbone; what is unknown is said to be unknown
    alone = TextClassifier.load(tmp_path / "model", threads=1)
    told = alone.verdicts([HAM], ood=True)[0]
    assert told.ood is None and told.bits_per_byte is not None
    assert alone.ood_detector_.usable_limit is None
    uncut = TextClassifier(
        str(tmp_path / "gone"),
        "head",
        settings={"text.layers": 3, "text.pooling": "mean"},
        threads=1,
    ).fit(TEXTS, LABELS)
    own = uncut.ood_detector_.fitted(TEXTS).limit
    assert own is not None and own.language_model is None


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
        table.read_text().splitlines()[0].endswith("ood,bits_per_byte")
        and ",true," in table.read_text()
    )


def test_a_detector_works_alone(learnt: TextClassifier) -> None:
    detector = OODDetector(learnt.predictor_, learnt.recipe_)
    assert detector.limit is None and detector.is_ood([HAM], np.array([9.0])) == [None]
    fitted = detector.fitted(TEXTS)
    assert detector.limit is None and fitted.limit == learnt.ood_detector_.limit
    bits = fitted.bits_per_byte([HAM, FOREIGN])
    assert fitted.is_ood([HAM, FOREIGN], bits) == [False, True]
    told = fitted.mark(learnt.verdicts([HAM, FOREIGN]))
    assert [verdict.ood for verdict in told] == [False, True]
    assert [verdict.bits_per_byte for verdict in told] == pytest.approx(bits.tolist())
