"""A classifier that knows what it has learnt: its limit travels with it, verdicts tell, reports count, predict marks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tamis import NotFittedError, TextClassifier
from tamis.classifier.out_of_distribution import looked_through
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
    assert classifier.learn_familiarity(TEXTS) is not None
    return classifier


@pytest.fixture(scope="module")
def saved(learnt: TextClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("familiar") / "model"
    learnt.save(folder)
    return folder


def test_its_own_texts_need_fewer_bits_than_another_language(learnt: TextClassifier) -> None:
    own, foreign = learnt.familiarity(TEXTS), learnt.familiarity(FOREIGN)
    assert own.shape == (len(TEXTS),) and isinstance(foreign, float)
    assert foreign > np.median(own) + 1


def test_verdicts_tell_only_when_asked(learnt: TextClassifier) -> None:
    plain = learnt.verdicts([HAM, FOREIGN])
    assert [v.familiar for v in plain] == [None, None] and "familiar" not in plain[0].to_dict()
    told = learnt.verdicts([HAM, FOREIGN], familiarity=True)
    assert [v.familiar for v in told] == [True, False]
    assert told[1].bits_per_byte == pytest.approx(learnt.familiarity(FOREIGN))
    assert [(v.label, v.verdict, v.probabilities) for v in told] == [(v.label, v.verdict, v.probabilities) for v in plain]
    assert told[0].to_dict(familiarity=True).keys() == {"text", "label", "verdict", "probabilities", "familiar", "bits_per_byte"}


def test_the_limit_travels_with_the_model(learnt: TextClassifier, saved: Path) -> None:
    loaded = TextClassifier.load(saved, threads=1)
    assert loaded.familiarity_ == learnt.familiarity_
    np.testing.assert_allclose(loaded.familiarity(TEXTS[:9]), learnt.familiarity(TEXTS[:9]), rtol=1e-5)
    meta = json.loads((saved / "tamis.json").read_text())
    del meta["familiarity"]
    (other := saved.parent / "without").mkdir(exist_ok=True)
    for file in saved.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "tamis.json").write_text(json.dumps(meta))
    unknown = TextClassifier.load(other, threads=1)
    assert unknown.familiarity_ is None and unknown.verdicts([FOREIGN], familiarity=True)[0].familiar is None
    assert looked_through(unknown, TEXTS, LABELS) is None


def test_a_new_fit_forgets_the_limit_and_few_texts_set_none() -> None:
    settings = runs.settings(**{"train.epochs": 1})
    classifier = TextClassifier("scratch:tiny", settings=settings, threads=1).fit(TEXTS, LABELS)
    with pytest.raises(NotFittedError):
        TextClassifier().familiarity(["x"])
    assert classifier.learn_familiarity(TEXTS[:50]) is None
    assert classifier.learn_familiarity(TEXTS) is not None
    assert classifier.fit(TEXTS[:60], LABELS[:60]).familiarity_ is None


def test_the_backbone_reads_for_a_trunk_that_was_cut(tmp_path: Path) -> None:
    backbone = runs.copy_of(runs.pretrained(), tmp_path / "backbone")
    classifier = TextClassifier(str(backbone), "head", settings={"text.layer": 1, "text.position": "mean"}, threads=1).fit(TEXTS, LABELS)
    whole = load_backbone(backbone)
    limit = classifier.learn_familiarity(TEXTS)
    assert limit is not None and limit.reader == whole.fingerprint
    expected = bits_per_byte(whole.model, TEXTS[:9], classifier.tokenizer_)
    np.testing.assert_allclose(classifier.familiarity(TEXTS[:9]), expected, rtol=1e-5)
    classifier.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1)
    np.testing.assert_allclose(loaded.familiarity(TEXTS[:9]), expected, rtol=1e-5)
    assert loaded.familiarity_ == limit and loaded.verdicts([HAM], familiarity=True)[0].familiar is not None
    backbone.rename(tmp_path / "gone")  # verdicts need no backbone; what is unknown is said to be unknown
    alone = TextClassifier.load(tmp_path / "model", threads=1)
    told = alone.verdicts([HAM], familiarity=True)[0]
    assert told.familiar is None and told.bits_per_byte is not None and alone.familiarity_ is None
    uncut = TextClassifier(str(tmp_path / "gone"), "head", settings={"text.layer": 3, "text.position": "mean"}, threads=1).fit(
        TEXTS, LABELS
    )
    own = uncut.learn_familiarity(TEXTS)
    assert own is not None and own.reader is None


def test_the_report_counts_and_names(learnt: TextClassifier) -> None:
    found = looked_through(learnt, [*TEXTS[:40], FOREIGN], [*LABELS[:40], "ham"])
    assert found is not None and found["n"] == 41
    assert FOREIGN in [one["text"] for one in found["examples"]]
    assert next(one for one in found["examples"] if one["text"] == FOREIGN)["row"] == 40


def test_predict_marks_them_and_json_only_when_asked(saved: Path, tmp_path: Path) -> None:
    lines = run("predict", saved, HAM, FOREIGN).out.splitlines()
    assert len(lines[0].split("\t")) == 3
    assert lines[1].split("\t")[3].startswith("unlike what was learnt (")
    plain = [json.loads(line) for line in run("predict", saved, FOREIGN, "--json").out.splitlines()]
    assert plain[0].keys() == {"text", "label", "verdict", "probabilities"}
    asked = [json.loads(line) for line in run("predict", saved, HAM, FOREIGN, "--json", "--familiarity").out.splitlines()]
    assert [one["familiar"] for one in asked] == [True, False]
    table = tmp_path / "out.csv"
    assert run("predict", saved, FOREIGN, "--out", table, "--familiarity").code == 0
    assert table.read_text().splitlines()[0].endswith("familiar,bits_per_byte") and ",false," in table.read_text()
