"""The pictures of README and the pages: each is there, small, described, and made from what is
present; none fetches anything.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.test_docs import documents, load_script

ROOT = Path(__file__).parents[1]
SCRIPT = load_script(ROOT / "docs" / "make_pictures.py")
LARGEST = 200_000
"""Bytes of a picture of any script."""
ELSEWHERE = {"overview.png", "speed.png", "robustness.png", "nano_curve.png"}
"""Pictures of other scripts."""


def shown() -> list[tuple[Path, str, Path]]:
    """Page, alternative text and file of every picture on the pages."""
    found = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        pictures = re.findall(r"!\[([^\]]*)\]\(([^)\s#]+)", text)
        for dark, light, said in re.findall(
            r'<picture><source media="[^"]*" srcset="([^"]+)"><img src="([^"]+)" alt="([^"]*)"',
            text,
        ):
            pictures += [(said, dark), (said, light)]
        assert text.count("<img ") == text.count("<picture>"), path.name
        found += [(path, said, (path.parent / file).resolve()) for said, file in pictures]
    return found


def test_every_picture_on_a_page_is_there_small_and_described() -> None:
    pictures = shown()
    assert len(pictures) >= 5
    for page, said, file in pictures:
        assert file.is_file(), f"{page.name}: {file}"
        assert file.stat().st_size <= LARGEST, file.name
        assert len(said.split()) >= 5, f"{page.name}: say what {file.name} shows"


def test_every_picture_is_on_a_page_and_made_by_a_script() -> None:
    made = {
        *SCRIPT.DRAWN,
        *(SCRIPT.photograph(name, how) for name in SCRIPT.PHOTOGRAPHED for how in SCRIPT.SCHEMES),
    }
    assert set(SCRIPT.PICTURES.iterdir()) == made, "run: python docs/make_pictures.py --run RUN"
    files = {file for _, _, file in shown()}
    assert made <= files
    assert {file.name for file in files - made} <= ELSEWHERE
    assert max(file.stat().st_size for file in made) <= SCRIPT.LARGEST


@pytest.mark.parametrize("path", SCRIPT.DRAWN, ids=lambda path: path.name)
def test_the_drawn_pictures_are_made_from_what_is_measured(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == SCRIPT.DRAWN[path](), (
        "run: PYTHONPATH=src:. python docs/make_pictures.py"
    )


@pytest.mark.parametrize("path", SCRIPT.DRAWN, ids=lambda path: path.name)
def test_a_drawn_picture_is_one_file_that_fetches_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert not re.search(r"url\((?!#)|@import|<image|<script|href=\"(?!#)", text)


def test_the_chart_has_the_methods_and_a_dark_side() -> None:
    text = SCRIPT.FEW_LABELS.read_text(encoding="utf-8")
    measured = [name for name, points in SCRIPT.make_readme.curves().items() if points]
    assert len(measured) >= 3 and all(f">{name}</text>" in text for name in measured)
    assert "prefers-color-scheme: dark" in text
    # A colour of the chart without a dark one would be lost on a dark ground.
    used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", text[: text.index("<style")]))
    used |= set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", text[text.index("</style>") :]))
    assert used <= set(SCRIPT.DARK)


def test_the_terminal_shows_the_words_of_the_recorded_explanation() -> None:
    found = SCRIPT.explanation()
    text = SCRIPT.EXPLAIN.read_text(encoding="utf-8").replace("&#160;", " ")
    for word in found.words:
        assert f"{word.attribution:+.2f}" in text
        assert found.text[word.start : word.end] in text
    assert found.remainder == pytest.approx(
        SCRIPT.make_examples.results()["explanation"]["remainder"], abs=1e-3
    )


def test_the_messages_on_the_photographed_page_are_examples() -> None:
    assert set(SCRIPT.MESSAGES) <= set(SCRIPT.make_examples.EXAMPLES)


def test_photographs_are_png_files_of_one_size() -> None:
    for name in SCRIPT.PHOTOGRAPHED:
        sizes = set()
        for scheme in SCRIPT.SCHEMES:
            with Image.open(SCRIPT.photograph(name, scheme)) as picture:
                assert picture.format == "PNG"
                sizes.add(picture.size)
        assert len(sizes) == 1


def test_a_picture_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SCRIPT, "LARGEST", 40)
    plain = tmp_path / "plain.png"
    Image.new("RGB", (30, 30)).save(plain)
    with pytest.raises(ValueError, match=r"out\.png: expected at most 40 bytes, got \d+"):
        SCRIPT.write_png(tmp_path / "out.png", plain.read_bytes())
    assert not (tmp_path / "out.png").exists()
