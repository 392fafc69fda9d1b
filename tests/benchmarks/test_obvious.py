"""The benchmark of obvious texts: its texts, its figures by hand, and small runs of its methods."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.obvious import __main__ as obvious
from benchmarks.obvious import methods
from benchmarks.obvious.methods import Score
from benchmarks.obvious.table import by_text, figures, summary
from benchmarks.obvious.texts import Text, texts
from tests.rows import messages

TWO_OF_EACH = [
    Text("win a prize", True, "prize"),
    Text("meet | at 5", False, "everyday"),
    Text("send us money", True, "bank"),
    Text("your code is 7", False, "code"),
]


def test_half_of_the_texts_is_unwanted_and_none_is_there_twice() -> None:
    judged, corrections = texts("judged"), texts("correction")
    assert Counter(text.unwanted for text in judged) == {True: 30, False: 30}
    assert Counter(text.unwanted for text in corrections) == {True: 10, False: 10}
    every = [text.text for text in (*judged, *corrections)]
    assert len(set(every)) == 80 and all(text == text.strip() and text for text in every)
    # The corrections are of the same kinds, and of the wanted ones too.
    assert {text.kind for text in corrections} <= {text.kind for text in judged}
    assert max(len(text) for text in every) < 161


def test_figures_by_hand() -> None:
    found = figures(TWO_OF_EACH, np.array([0.9, 0.6, 0.55, 0.12345]), 0.58)
    # In falling order: unwanted, wanted, unwanted, wanted: (1/1 + 2/3) / 2.
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)
    assert (found["unwanted_found"], found["wanted_let_through"]) == (1, 1)
    assert found["probabilities"] == [0.9, 0.6, 0.55, 0.1235]
    on_the_cut = figures(TWO_OF_EACH, np.full(4, 0.5), 0.5)
    assert (on_the_cut["unwanted_found"], on_the_cut["wanted_let_through"]) == (2, 0)


def test_the_tables_show_both_states_and_mark_what_is_wrong() -> None:
    found = {
        "one": {
            "threshold": 0.5,
            "before": figures(TWO_OF_EACH, np.array([0.9, 0.6, 0.2, 0.1]), 0.5),
            "after": figures(TWO_OF_EACH, np.array([0.95, 0.3, 0.7, 0.2]), 0.5),
        }
    }
    assert summary(TWO_OF_EACH, found).splitlines()[-1] == "| one | 0.833 | 1 | 1 | 1.000 | 2 | 2 |"
    rows = by_text(TWO_OF_EACH, found).splitlines()
    assert rows[2:] == [
        "| unwanted | prize | win a prize | 0.90 → 0.95 |",
        r"| wanted | everyday | meet \| at 5 | **0.60** → 0.30 |",
        "| unwanted | bank | send us money | **0.20** → 0.70 |",
        "| wanted | code | your code is 7 | 0.10 → 0.20 |",
    ]


def test_a_wrong_correction_counts_more_until_it_is_right_or_counts_eight() -> None:
    given: list[list[float]] = []

    def fit(weights: np.ndarray) -> Score:
        given.append(weights.tolist())
        return lambda _: weights

    items = TWO_OF_EACH[:3]
    # The first is right at once, the second from a weight of 4 on, the third never.
    methods.emphasized(fit, lambda score: np.array([True, score(0)[1] >= 4, False]), items)
    assert given == [[1, 1, 1], [1, 2, 2], [1, 4, 4], [1, 4, 8]]
    given.clear()
    methods.emphasized(fit, lambda _: np.zeros(0, dtype=bool), [])
    assert given == [[]]


def test_unknown_methods_are_refused() -> None:
    for wrong in ("minilm", "setfit", "nano=nano", "=@"):
        with pytest.raises(ValueError, match="expected tfidf, minilm"):
            methods.named(wrong, None, {})
    assert methods.named("tfidf", None, {}) == ("tfidf", methods.tfidf)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "sms-spam"
    folder.mkdir(parents=True)
    rows = [f"{label}\t{' '.join(text.split())}" for label, text in messages() if text.strip()]
    (folder / "SMSSpamCollection").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder.parent


def test_methods_are_measured_before_and_after_the_corrections(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "results.json"
    asked = ["--data", str(data), "--out", str(out), "--method", "tfidf"]
    asked += ["--method", "tiny=scratch:tiny@head"]
    monkeypatch.setattr(sys, "argv", ["obvious", *asked])
    obvious.main()
    shown = capsys.readouterr().out
    found = json.loads(out.read_text(encoding="utf-8"))["methods"]
    assert set(found) == {"tfidf", "tiny"}
    for one in found.values():
        assert 0 < one["threshold"] <= 1 and len(one["before"]["probabilities"]) == 60
        assert one["before"]["probabilities"] != one["after"]["probabilities"]
    rows = [line for line in shown.splitlines() if line.startswith("| tfidf |")]
    assert f"{found['tfidf']['after']['average_precision']:.3f}" in rows[0]
    assert shown.count("| unwanted |") == shown.count("| wanted |") == 30
    monkeypatch.setattr(sys, "argv", ["obvious", "--out", str(out), "--table"])
    obvious.main()
    assert capsys.readouterr().out == shown
    kept = json.loads(out.read_text(encoding="utf-8"))
    out.write_text(json.dumps(kept | {"texts": "others"}), encoding="utf-8")
    obvious.main()
    assert "tfidf" not in capsys.readouterr().out  # figures of other texts are not shown


def test_a_folder_without_the_collection_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["obvious", "--data", str(tmp_path), "--out", str(tmp_path / "x.json")]
    monkeypatch.setattr(sys, "argv", asked)
    with pytest.raises(SystemExit):
        obvious.main()
    assert "sms-spam/SMSSpamCollection" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()
