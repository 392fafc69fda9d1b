"""docs/notebooks/classify.ipynb: no output of a machine stays in it, its code runs, and in a real
Jupyter kernel its cells show views and progress bars.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "classify.ipynb"
WIDGET = "application/vnd.jupyter.widget-view+json"
SHOWN = {
    "result": "tamis-report",
    "classifier": "tamis-view",
    "classifier.verdicts(TEXTS, ood=True)": 'class="bar"',
    "classifier.explain(TEXTS[0])": "tamis-explanation",
    "classifier.suggest(UNLABELLED, 3)": "predicted label",
}
"""What the view of a cell's last line contains."""


def content(data: Path, run: Path) -> dict[str, Any]:
    """The notebook on small data."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    for name, old, new in (
        ("BACKBONE", "nano", "scratch:tiny"),
        ("DATA", "sms-spam", str(data)),
        ("RUN", "runs/notebook", str(run)),
    ):
        line = f'{name} = \\"{old}\\"'
        assert line in text
        text = text.replace(line, f'{name} = \\"{new}\\"')
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_notebook_has_no_outputs() -> None:
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert len({cell["id"] for cell in found["cells"]}) == len(found["cells"])
    for cell in found["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_the_code_of_the_notebook_runs_on_small_data(sms_file: Path, tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    for number, cell in enumerate(content(sms_file, tmp_path / "run")["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    assert names["result"].path == tmp_path / "run"
    assert names["report"]["n"] == 2


@pytest.mark.slow
def test_a_real_kernel_shows_views_and_progress(sms_file: Path, tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("ipywidgets")
    text = json.dumps(content(sms_file, tmp_path / "run"))
    notebook = nbformat.reads(text, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    seen = {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        last = "".join(cell.source).rstrip().splitlines()[-1]
        pages = [one.data.get("text/html", "") for one in cell.outputs if "data" in one]
        seen[last] = "".join(pages)
        if last == "result":
            bars = [one for one in cell.outputs if WIDGET in one.get("data", {})]
            assert len(bars) >= 2, "progress bars are widgets in a notebook"
    for line, part in SHOWN.items():
        assert part in seen[line], line
    assert "tamis" not in seen["classifier.rule_"]
