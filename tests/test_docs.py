"""The documentation against the code: the settings page is what the fields say, and README's Python
runs.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tamis.training.defaults import FEW_LABELS, FEW_LABELS_OF_TWO

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


def test_the_page_of_the_command_line_is_made_from_the_help_texts() -> None:
    script = load_script(ROOT / "docs" / "make_cli.py")
    assert script.TARGET.read_text(encoding="utf-8") == script.page(), (
        "run: python docs/make_cli.py"
    )


def test_the_results_page_is_made_from_the_figures() -> None:
    script = load_script(ROOT / "docs" / "make_results.py")
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), (
        "run: python docs/make_results.py"
    )


def test_the_demo_output_on_the_results_page_is_of_the_run_in_the_results() -> None:
    script = load_script(ROOT / "docs" / "make_results.py")
    results = script.json.loads(script.RESULTS.read_text(encoding="utf-8"))
    demo = next(result for result in results if result["command"] == "make demo")
    text = script.PAGE.read_text(encoding="utf-8")
    shown = text[text.index("<!-- demo -->") : text.index("<!-- /demo -->")]
    figures = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["F1"])
    ours = demo["figures"]["tamis"]["f1"]
    rival = demo["figures"]["TF-IDF + logistic regression"]["f1"]
    assert figures[1:3] == [f"{value:.3f}" for value in ours[:2]]
    assert figures[-4:-2] == [f"{value:.3f}" for value in rival[:2]]


def test_the_table_and_the_picture_of_the_readme_are_made_from_the_results() -> None:
    script = load_script(ROOT / "docs" / "make_readme.py")
    command = "run: PYTHONPATH=src:. python docs/make_readme.py"
    assert script.README.read_text(encoding="utf-8") == script.page(), command
    with Image.open(script.PICTURE) as picture:
        assert picture.info["Source"] == script.fingerprint(), command
    assert len({len(line.split("|")) for line in script.table().splitlines()}) == 1


def test_a_method_of_the_readme_without_figures_is_a_dash() -> None:
    script = load_script(ROOT / "docs" / "make_readme.py")
    row = {"task": "trec6", "seed": 0, "figures": {"accuracy": 0.5}}
    rows = [row | {"method": "tfidf"}, row | {"method": "minilm", "figures": {"accuracy": 0.25}}]
    line = script.quality_line(rows, "trec6", "accuracy", "TREC-6")
    assert line == f"| TREC-6 | {script.DASH} | **0.500** | 0.250 | {script.DASH} |"


def test_the_readme_fits_on_three_screens() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert lines[0] == "# tamis"
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert headings == ["What it is good at", "Install", "Quickstart", "Documentation"]


def test_every_link_in_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert "://" in link or (ROOT / link).exists(), link


def documents() -> list[Path]:
    """The pages of the site, and those of the repository beside it."""
    return [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]


def present_documents() -> list[Path]:
    """The documents that are written by hand and tell of the present: no log, no changelog."""
    past = {ROOT / "CHANGELOG.md", ROOT / "docs" / "reference" / "cli.md"}
    return [path for path in documents() if path not in past and path.parent.name != "log"]


def test_the_site_lists_every_page_and_every_page_is_there() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {
        str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")
    }


def test_every_local_link_of_the_documents_leads_somewhere() -> None:
    wrong = []
    for path in documents():
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if "://" not in link and not (path.parent / link).exists():
                wrong.append(f"{path.relative_to(ROOT)}: {link}")
    assert not wrong, "\n".join(wrong)


def test_every_option_on_the_pages_exists() -> None:
    """In the lines that begin with `tamis COMMAND`, of every page but the log."""
    helped = load_script(ROOT / "docs" / "make_cli.py")
    options = {name: helped.help_text(name) for name in helped.commands()}
    wrong = []
    for path in present_documents():
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for name, rest in re.findall(r"(?:^    |`)tamis (\w+)([^`\n]*)", text, flags=re.MULTILINE):
            known = options.get(name)
            asked = re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)", rest.split("#")[0])
            if known is None:
                wrong.append(f"{path.relative_to(ROOT)}: there is no command {name!r}")
            else:
                wrong += [
                    f"{path.relative_to(ROOT)}: tamis {name} has no option {option}"
                    for option in asked
                    if not re.search(rf"{option}(?![\w-])", known)
                ]
    assert not wrong, "\n".join(wrong)


def test_every_option_that_stands_alone_in_a_guide_exists() -> None:
    """Such as `--max-fpr 0.2%` in a table of README, the tutorials, the guides or the reference."""
    helped = load_script(ROOT / "docs" / "make_cli.py")
    known = "\n".join([helped.help_text(), *map(helped.help_text, helped.commands())])
    others = {"--index-url", "--debug"}  # of pip, and of every command
    others |= {"--nproc-per-node", "--node-rank", "--max-restarts"}  # of torchrun
    wrong = []
    for path in present_documents():
        if path.parent.name not in {"tutorial", "how-to", "reference", ROOT.name}:
            continue
        for option in re.findall(r"`(--[a-z][a-z-]+)[^`]*`", path.read_text(encoding="utf-8")):
            if option not in others and not re.search(rf"{option}(?![\w-])", known):
                wrong.append(f"{path.relative_to(ROOT)}: {option}")
    assert not wrong, "\n".join(wrong)


def test_every_setting_on_the_pages_exists() -> None:
    """Names such as `train.epochs`, of every page but the log and the changelog."""
    script = load_script(ROOT / "docs" / "make_settings.py")
    named = set(re.findall(r"^\| `([\w.]+)` \|", script.page(), flags=re.MULTILINE))
    sections = "data|text|train|decision|compute"
    wrong = []
    for path in present_documents():
        found = re.findall(
            rf"(?<![\w./])((?:{sections})\.[a-z_]+)(?![\w.(/])", path.read_text(encoding="utf-8")
        )
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in set(found) - named]
    assert not wrong, "\n".join(wrong)


def architecture() -> list[tuple[str, str, str]]:
    """Question, file and name of each line of the table in docs/explanation/architecture.md."""
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(
        r"^\| (Where .+\?) \| `(src/[\w/.]+)` \| `(\w+)` \|$", text, flags=re.MULTILINE
    )


def test_the_architecture_page_answers_questions_with_files_that_hold_the_answer() -> None:
    answers = architecture()
    assert len(answers) >= 30 and len({question for question, _, _ in answers}) == len(answers)
    for question, file, name in answers:
        assert (ROOT / file).is_file(), f"{question} {file} does not exist"
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        defined = {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert name in defined, f"{question} {file} does not define {name}"


def test_the_folder_of_an_answer_is_told_by_the_list_of_folders() -> None:
    """A reader who knows the list of folders alone finds the folder of each answer in it."""
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    folders = set(re.findall(r"^      (\w+)/", text, flags=re.MULTILINE))
    for question, file, _ in architecture():
        place = Path(file).relative_to("src/tamis").parts[0]
        assert place in folders, f"{question} {file}"


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


def test_the_readme_names_every_command() -> None:
    from tamis.cli.app import PANELS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    known = {name for commands in PANELS.values() for name in commands}
    assert set(re.findall(r"^    tamis (\w+)", text, flags=re.MULTILINE)) == known


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
    held_out = {name: counts["held_out"] for name, counts in facts["corpus"].items()}
    assert {name: bits["sources"][name]["texts"] for name in held_out} == held_out, (
        "run benchmarks.nano.bits with the recipe and the --exclude of the pretraining"
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


def test_the_page_about_other_kinds_of_text_is_made_from_the_results() -> None:
    script = load_script(ROOT / "docs" / "make_obvious.py")
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), (
        "run: PYTHONPATH=src:. python docs/make_obvious.py"
    )


def test_the_obvious_texts_are_counted_by_kind_and_told_in_a_sentence() -> None:
    script = load_script(ROOT / "docs" / "make_obvious.py")
    judged = script.texts("judged")
    none, every = ([float(p)] * len(judged) for p in (False, True))
    figures = {"average_precision": 0.5, "unwanted_found": 0, "wanted_let_through": 30}
    method = {
        "threshold": 0.5,
        "before": figures | {"probabilities": none},
        "after": figures | {"probabilities": every, "unwanted_found": 30, "wanted_let_through": 7},
    }
    lines = script.by_kind({"nano-head": method})
    assert lines[2] == "| prize | 4 | 0 → 4 |" and lines[-1].endswith("| 4 | 0 → 4 |")
    assert sum(int(line.split("|")[2]) for line in lines[2:]) == 30
    # The default model speaks where it is measured; until then a dash stands for it.
    assert "the exact head of `nano` finds 0 of" in script.sentence({"nano-head": method})
    said = script.sentence({"nano": method, "nano-head": method})
    assert "the default model finds 0 of" in said and "it finds 30 and blocks 23." in said
    assert any("default model" in row and "not measured" in row for row in script.summary({}))


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


def test_nothing_in_the_configuration_of_the_site_is_fetched_from_another_host() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "  font: false\n" in text
    # The theme would ask the host of the repository for the number of stars.
    assert not re.search(r"^(repo_url|extra_javascript):", text, flags=re.MULTILINE)
    assert not re.search(r"^extra_css:\n(  - .*\n)*  - \w+://", text, flags=re.MULTILINE)


@pytest.mark.slow
def test_the_site_builds_and_its_pages_fetch_nothing_from_another_host(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 30
    loaded = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)\"|<link\b([^>]+)>")
    for page in pages:
        for source, link in loaded.findall(page.read_text(encoding="utf-8")):
            fetched = source or (("stylesheet" in link or "icon" in link) and link)
            assert not fetched or "://" not in fetched, f"{page.name}: {fetched}"


def test_the_pages_name_the_number_of_labels_up_to_which_the_head_is_trained() -> None:
    for page, words in (
        ("README.md", "at most {} labels per class of two, or {} of more classes"),
        ("docs/how-to/few-labels.md", "at most {} rows per class of two, or {} of more classes"),
        ("docs/decisions.md", "at most {} rows per class of two, or {} of more classes"),
        ("docs/quality.md", "more than {} labels per class of two, or {} of more classes"),
    ):
        text = (ROOT / page).read_text(encoding="utf-8").replace("\n", " ")
        assert words.format(FEW_LABELS_OF_TWO, FEW_LABELS) in text, page
