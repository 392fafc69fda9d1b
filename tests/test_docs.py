"""The documentation against the code: the settings page is what the fields say, and README's Python
runs.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def load_script(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_settings_page_is_made_from_the_fields() -> None:
    script = load_script(ROOT / "docs" / "make_settings.py")
    assert script.TARGET.read_text(encoding="utf-8") == script.page(), (
        "run: python docs/make_settings.py"
    )


def test_the_results_in_the_readme_are_made_from_the_figures() -> None:
    script = load_script(ROOT / "docs" / "make_results.py")
    assert (ROOT / "README.md").read_text(encoding="utf-8") == script.page(), (
        "run: python docs/make_results.py"
    )


def test_the_demo_output_in_the_readme_is_of_the_run_in_the_results() -> None:
    script = load_script(ROOT / "docs" / "make_results.py")
    demo = next(
        r
        for r in script.json.loads(script.RESULTS.read_text(encoding="utf-8"))
        if r["command"] == "make demo"
    )
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text[text.index("<!-- demo -->") : text.index("<!-- /demo -->")]
    figures = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["F1"])
    ours, rival = (
        demo["figures"]["tamis"]["f1"],
        demo["figures"]["TF-IDF + logistic regression"]["f1"],
    )
    assert figures[1:3] == [f"{value:.3f}" for value in ours[:2]]
    assert figures[-4:-2] == [f"{value:.3f}" for value in rival[:2]]


def test_every_link_in_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_python_of_the_readme_runs(
    sms_rows: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert len(blocks) == 1
    monkeypatch.chdir(tmp_path)
    code = blocks[0].replace("max_fpr=0.01)", 'max_fpr=0.01, settings={"train.epochs": 1})')
    assert code != blocks[0]
    names: dict[str, Any] = {
        "labels": [label for label, _ in sms_rows],
        "texts": [text for _, text in sms_rows],
    }
    exec(code, names)
    assert names["classifier"].predict_proba(["See you at six?"]).shape == (1, 2)
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_the_commands_of_the_readme_exist() -> None:
    from tamis.cli.app import app

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    known = {command.name for command in app.registered_commands}
    used = text[text.index("## Use it") : text.index("## Results")]
    named = set(re.findall(r"^    tamis (\w+)", used, flags=re.MULTILINE))
    assert named == known


def test_the_page_about_nano_is_made_from_the_figures_of_the_nano_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = load_script(ROOT / "docs" / "make_nano.py")
    facts, bits = script.card(), script.bits()
    assert script.PAGE.read_text(encoding="utf-8") == script.page(facts, bits), (
        "run: python docs/make_nano.py"
    )
    assert bits["backbone"] == facts["fingerprint"], (
        "run benchmarks.nano.bits for the nano that is inside"
    )
    assert script.CURVE.is_file()


def test_the_variants_of_nano_are_compared_on_the_same_tasks_and_draws() -> None:
    script = load_script(ROOT / "docs" / "make_nano.py")
    found, rows = script.variants()
    judged: dict[str, set[tuple[str, int]]] = {}
    for row in rows:
        judged.setdefault(row["method"], set()).add((row["task"], row["seed"]))
    assert set(judged) == {*found, script.UNTRAINED} and {
        "both",
        "next-token",
        "teacher",
        "without-nus",
    } <= set(found)
    assert len({frozenset(done) for done in judged.values()}) == 1, (
        "every variant needs the draws of the others"
    )


def test_the_page_about_quality_is_made_from_the_results() -> None:
    script = load_script(ROOT / "docs" / "make_quality.py")
    assert script.PAGE.read_text(encoding="utf-8") == script.page(*script.results()), (
        "run: python docs/make_quality.py"
    )


def test_the_page_about_speed_names_the_width_from_which_matrices_are_laid_out() -> None:
    from tamis.gpt2.inference.onednn import FROM_WIDTH, MOST_BYTES

    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert (
        f"A trunk of {FROM_WIDTH} channels or more" in text
        and f"Trunks of more than {MOST_BYTES // 2**30} GiB" in text
    )


def test_the_page_about_speed_has_the_figures_of_the_results() -> None:
    from benchmarks.speed import page

    assert page.PAGE.read_text(encoding="utf-8") == page.page(), (
        "run: python -m benchmarks.speed.page"
    )


def test_the_curve_of_nano_counts_the_tokens_of_all_stages() -> None:
    script = load_script(ROOT / "docs" / "make_nano.py")
    stages = [
        {"tokens": 100, "held_out": {"bits_per_byte": 3.0}},
        {"tokens": 50, "held_out": {"bits_per_byte": 2.5}},
    ]
    history = [
        {"tokens": 5},
        {"tokens": 20, "held_out": {"bits_per_byte": 2.25}},
        {"tokens": 30, "held_out": {"bits_per_byte": 2.0}},
    ]
    assert script.curve({"stages": stages, "history": history}) == [
        (100, 3.0),
        (150, 2.5),
        (170, 2.25),
        (180, 2.0),
    ]
