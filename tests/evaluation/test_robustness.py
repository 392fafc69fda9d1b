"""The attack suite: what each attack does and never does, the same seed the same texts, and figures
against hand-counted ones.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tamis.errors import ConfigError, DataError
from tamis.evaluation.metrics import wilson
from tamis.evaluation.report import robustness_plot
from tamis.evaluation.robustness import evaluate_robustness, robustness_rows
from tamis.text.perturbations import PERTURBATIONS, Perturbation, perturb

HAM = ["see you at home", "ok then", " "]
TEXTS = [
    "FREE entry! Win £1000 now, call 08712345678 or visit http://www.win-cash.co.uk/x before 10:30",
    "txt STOP to 87121",
    "ok",
]
NAMED = {
    "look_alikes", "full_width", "invisible", "accents", "leetspeak", "spaced", "dotted",
    "split", "broken", "case", "typos", "numbers", "links", "good_words_appended",
    "good_words_prepended",
}  # fmt: skip


def test_the_suite_has_every_kind_with_a_line_about_it() -> None:
    assert set(PERTURBATIONS) == NAMED
    for name, attack in PERTURBATIONS.items():
        assert isinstance(attack, Perturbation) and attack.name == name and attack.strength > 0
        assert 10 < len(attack.description) < 80 and "\n" not in attack.description


@pytest.mark.parametrize("name", sorted(NAMED))
def test_the_same_seed_gives_the_same_texts_and_another_seed_others(name: str) -> None:
    texts = [f"{text} number {i}" for i, text in enumerate(TEXTS * 5)]
    once = perturb(texts, name, seed=42, ham=HAM)
    assert once == perturb(texts, name, seed=42, ham=HAM) != texts
    if name != "full_width":
        assert once != perturb(texts, name, seed=43, ham=HAM)
    if name != "full_width":
        assert (
            len(set(perturb([TEXTS[0]] * 9, name, seed=42, ham=HAM))) > 1
        )  # repeats are not disguised alike
    # A text's disguise depends on its row, not on what stands behind it.
    assert perturb(texts[:4], name, seed=42, ham=HAM) == once[:4]


@given(st.lists(st.text(max_size=30), max_size=4), st.integers(0, 99), st.floats(0.01, 1))
@settings(max_examples=60)
@example(["", " ", "a", "7", "\ud800x", "é", "£", "....", "www.a.com"], 3, 0.01)
def test_no_attack_empties_a_text_breaks_unicode_or_leaves_letters_alone(
    texts: list[str], seed: int, strength: float
) -> None:
    for name, attack in PERTURBATIONS.items():
        changed = perturb(texts, name, seed=seed, ham=HAM, strength=strength)
        assert len(changed) == len(texts)
        for before, after in zip(texts, changed, strict=True):
            assert after.strip() or not before.strip()
            surrogates = [c for c in after if unicodedata.category(c) == "Cs"]
            assert len(surrogates) <= sum(unicodedata.category(c) == "Cs" for c in before)
            if attack.always_changes and re.search("[A-Za-z]", before):
                assert after != before, name


def test_full_width_is_what_compatibility_folding_takes_back() -> None:
    assert perturb(["Free 4 U"], "full_width", seed=1) == ["Ｆｒｅｅ 4 Ｕ"]
    for name in ("full_width", "invisible"):
        for before, after in zip(TEXTS, perturb(TEXTS, name, seed=5), strict=True):
            folded = "".join(
                c for c in unicodedata.normalize("NFKC", after) if c.isascii() or c == "£"
            )
            assert folded == before


def test_look_alikes_keep_length_and_case_and_are_no_ascii() -> None:
    (after,) = perturb([TEXTS[0]], "look_alikes", seed=7, strength=1.0)
    assert len(after) == len(TEXTS[0])
    for old, new in zip(TEXTS[0], after, strict=True):
        assert (not new.isascii()) if old.isascii() and old.isalpha() else new == old


def test_words_are_set_apart_and_split_so_that_their_letters_stay() -> None:
    for name in ("spaced", "dotted", "split"):
        (after,) = perturb(["winner claims price"], name, seed=3, strength=1.0)
        assert re.sub(r"[^a-z]", "", after) == "winnerclaimsprice"
    assert perturb(["win"], "spaced", seed=3, strength=1.0) == ["w i n"]
    assert re.fullmatch(r"w(.)i\1n", perturb(["win"], "dotted", seed=3, strength=1.0)[0])


def test_leetspeak_reads_back_by_its_table() -> None:
    (after,) = perturb(["please visit store"], "leetspeak", seed=3, strength=1.0)
    for signs, letter in (("4@", "a"), ("3", "e"), ("!", "i"), ("0", "o"), ("5$", "s"), ("7", "t")):
        after = re.sub(f"[{re.escape(signs)}]", letter, after)
    assert re.fullmatch(r"p[l1]ease v[i1]s[i1]t store", after)


def test_case_changes_case_alone() -> None:
    changed = perturb(TEXTS, "case", seed=3)
    assert changed != TEXTS
    for before, after in zip(TEXTS, changed, strict=True):
        assert after.lower() == before.lower()


def test_a_typo_is_one_edit_in_a_word() -> None:
    for seed in range(40):
        (after,) = perturb(["winner"], "typos", seed=seed, strength=1.0)
        assert after != "winner"
        assert len(after) in (5, 6, 7)
        same = sum(a == b for a, b in zip("winner", after, strict=False)) + sum(
            a == b for a, b in zip("winner"[::-1], after[::-1], strict=False)
        )
        assert same >= 4  # what stands before and behind the one place is the word's own


def test_numbers_change_and_nothing_else_does() -> None:
    text = "call 08712345678 win £1,000 at 9.30 or 150p"
    seen = set()
    for seed in range(20):
        (after,) = perturb([text], "numbers", seed=seed)
        assert after != text
        assert re.sub(r"[^a-z£]", "", after) == re.sub(r"[^a-z£]", "", text)
        assert not any(kept in after for kept in ("1,000", "9.30", "150p"))
        seen.add(re.search(r"call (.*) win", after).group(1))  # type: ignore[union-attr]
    assert any(re.sub(r"\D", "", number) == "08712345678" for number in seen)  # broken up
    assert any(re.fullmatch(r"\d{11}", number) for number in seen)  # another number
    assert perturb(["no number here"], "numbers", seed=1) == ["no number here"]


def test_links_go_elsewhere_and_the_sentence_stays() -> None:
    text = "see http://www.win-cash.co.uk/x?a=1, or spam.com."
    seen = [perturb([text], "links", seed=seed)[0] for seed in range(60)]
    assert all(
        s != text and s.startswith("see ") and ", or " in s and s.endswith(".") for s in seen
    )
    for part in (
        "hxxp://win-cash.co.uk/x?a=1,",
        "bit.ly/",
        "see win-cash.co.uk/x?a=1,",
        "[.]",
        ".top/x?a=1,",
    ):
        assert any(part in s for s in seen), part
    assert perturb(["no link here. None."], "links", seed=1) == ["no link here. None."]


def test_good_words_are_the_negatives_own() -> None:
    (after,) = perturb(["win"], "good_words_appended", seed=1, ham=HAM)
    assert after.startswith("win ") and set(after[4:].split()) <= {
        "see",
        "you",
        "at",
        "home",
        "ok",
        "then",
    }
    (before,) = perturb(["win"], "good_words_prepended", seed=1, ham=["ok then"], strength=2)
    assert before == "ok then ok then win"
    same = perturb(HAM, "good_words_appended", seed=1, ham=HAM, strength=1)
    assert all(
        one in HAM and one != text
        for text, one in zip(
            HAM, (s[len(t) + 1 :] for s, t in zip(same, HAM, strict=True)), strict=True
        )
    )
    assert perturb(["ok"], "good_words_appended", seed=1, ham=["ok"], strength=1) == [
        "ok ok"
    ]  # there is no other
    with pytest.raises(
        DataError, match="'good_words_appended' needs texts of the negative class, got none with a"
    ):
        perturb(["win"], "good_words_appended", seed=1, ham=[" ", ""])


def test_an_unknown_attack_and_a_strength_out_of_range_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"perturbation: expected one of look_alikes, .*; got 'homoglyphs'"
    ):
        perturb(["a"], "homoglyphs", seed=1)
    for name, strength in (
        ("typos", 0),
        ("typos", 1.5),
        ("good_words_appended", 101),
        ("case", float("nan")),
    ):
        with pytest.raises(ConfigError, match="expected a number above 0 and at most"):
            perturb(["a"], name, seed=1, ham=HAM, strength=strength)


def _scorer(texts: Sequence[str]) -> Any:
    return np.array([0.9 if "win" in text else 0.3 if "you" in text else 0.1 for text in texts])


def test_the_figures_are_the_hand_counted_ones() -> None:
    texts = ["win now", "win big", "hello", "love you", "win at chess"]
    truth = np.array([True, True, True, False, False])
    clean, wide = evaluate_robustness(
        _scorer, texts, truth, threshold=0.5, seed=42, perturbations=["full_width"]
    )
    assert (clean.perturbation, clean.strength, clean.changed, wide.perturbation, wide.changed) == (
        "clean",
        None,
        0.0,
        "full_width",
        1.0,
    )
    assert clean.recall == 2 / 3 and clean.recall_ci95 == wilson(2, 3) and clean.positives == 3
    assert (
        clean.false_positive_rate == 0.5
        and clean.false_positive_rate_ci95 == wilson(1, 2)
        and clean.negatives == 2
    )
    assert (
        wide.recall == 0.0 and wide.recall_ci95 == wilson(0, 3) and wide.false_positive_rate == 0.0
    )
    (at,) = evaluate_robustness(_scorer, texts, truth, threshold=0.9, seed=42, perturbations=[])
    assert at.recall == 2 / 3  # at the threshold counts as flagged


def test_all_attacks_run_and_good_words_only_where_there_are_any() -> None:
    truth = np.array([True, False, False])
    names = [
        result.perturbation
        for result in evaluate_robustness(_scorer, TEXTS, truth, threshold=0.5, seed=1, ham=HAM)
    ]
    assert names == ["clean", *PERTURBATIONS]
    fewer = [
        result.perturbation
        for result in evaluate_robustness(_scorer, TEXTS, truth, threshold=0.5, seed=1)
    ]
    assert fewer == [name for name in names if not name.startswith("good_words")]


def test_results_go_to_json_and_to_a_table() -> None:
    results = evaluate_robustness(
        _scorer,
        ["win now", "win big"],
        np.array([True, True]),
        threshold=0.5,
        seed=1,
        perturbations=["full_width"],
    )
    plain = json.loads(json.dumps([result.to_dict() for result in results]))
    assert (
        plain[0]["recall"] == 1.0
        and plain[0]["false_positive_rate"] is None
        and plain[0]["false_positive_rate_ci95"] is None
        and len(plain[1]["recall_ci95"]) == 2
    )
    header, rows = robustness_rows(results)
    assert all(len(row) == len(header) for row in rows)
    assert rows[0] == ["clean", "original texts", "0", "100.0 [34.2, 100.0]", "-"]
    assert rows[1][0] == "full_width" and rows[1][3] == "0.0 [0.0, 65.8]"


def test_the_plot_shows_every_share_that_there_is_with_its_interval(tmp_path: Path) -> None:
    truth = np.array([True, False, True])
    results = evaluate_robustness(
        _scorer,
        ["win now", "see you", "win"],
        truth,
        threshold=0.5,
        seed=1,
        perturbations=["full_width", "case"],
    )
    axes = robustness_plot.robustness(results, positive="spam").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["clean", "full width", "case"]
    caught, blocked = (cast("Any", container) for container in axes.containers)
    for drawn, key in ((caught, "recall"), (blocked, "false_positive_rate")):
        line, _, (bars,) = drawn.lines
        assert line.get_xdata() == pytest.approx([100 * getattr(result, key) for result in results])
        ends = [segment[:, 0] for segment in bars.get_segments()]
        assert np.array(ends) == pytest.approx(
            100 * np.array([getattr(result, f"{key}_ci95") for result in results])
        )
    assert (
        robustness_plot.write_robustness(tmp_path / "a.png", results[:1], positive="$x$")
        .stat()
        .st_size
        > 5_000
    )
    alone = evaluate_robustness(
        _scorer, ["win"], np.array([True]), threshold=0.5, seed=1, perturbations=["case"]
    )
    assert (
        len(robustness_plot.robustness(alone, positive="spam").axes[0].containers) == 1
    )  # nothing can be blocked


def test_rows_and_scores_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"got 2 texts and shape \(3,\)"):
        evaluate_robustness(
            _scorer, ["a", "b"], np.array([True, False, True]), threshold=0.5, seed=1
        )
    with pytest.raises(DataError, match="at least one text"):
        evaluate_robustness(_scorer, [], np.array([]), threshold=0.5, seed=1)
    with pytest.raises(
        DataError, match=r"perturbation 'clean': expected 2 finite scores, got shape \(1,\)"
    ):
        evaluate_robustness(
            lambda texts: np.zeros(1), ["a", "b"], np.array([True, False]), threshold=0.5, seed=1
        )
    with pytest.raises(ConfigError, match="perturbation: expected one of"):
        evaluate_robustness(
            _scorer, ["a"], np.array([True]), threshold=0.5, seed=1, perturbations=["nothing"]
        )
