"""The source distribution: documentation and examples are in it, weights and data of a checkout
that do not belong to it are not.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of the source distribution, below its folder."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (archive,) = folder.glob("tamis-*.tar.gz")
    with tarfile.open(archive) as file:
        return {name.partition("/")[2] for name in file.getnames()}


def tracked(*folders: str) -> set[str]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--", *folders], capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


@pytest.mark.slow
def test_documentation_examples_and_tests_are_in_it(names: set[str]) -> None:
    missing = tracked("docs", "examples", "tests", "benchmarks", "src") - names
    assert not missing, sorted(missing)[:10]
    assert {
        "docs/notebooks/classify.ipynb",
        "examples/nginx.conf",
        "mkdocs.yml",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "constraints.txt",
        "pyproject.toml",
    } <= names


@pytest.mark.slow
def test_what_a_link_of_the_readme_leads_to_is_in_it(names: set[str]) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    local = {link for link in links if "://" not in link}
    assert len(local) > 20 and not local - names


@pytest.mark.slow
def test_nothing_that_git_ignores_is_in_it(names: set[str]) -> None:
    assert not any("__pycache__" in name or name.startswith((".venv", "runs")) for name in names)
