"""The folder of the page: what is in it, where it comes from, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tamis.errors import CheckpointError, ConfigError, DownloadError, RunError
from tamis.export.web import page_folder as pages
from tamis.export.web import runtime as runtimes
from tamis.export.web.page_folder import export_web, is_web_page
from tamis.export.web.runtime import ONIG, ORT, Runtime, RuntimeFile
from tamis.export.web.tokenizer_support import check_tokenizer
from tests import runs
from tests.export import exported


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runtime:
    """Packages with other content: what is written does not depend on what it is."""
    for name in ("ORT_SCRIPT", "ORT_MODULE", "ORT_WASM", "ONIG_SCRIPT", "ONIG_WASM"):
        file: RuntimeFile = getattr(runtimes, name)
        content = f"content of {name}".encode()
        path = tmp_path / "node_modules" / file.package / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        changed = RuntimeFile(file.package, file.version, file.path, digest(content), len(content))
        monkeypatch.setattr(pages, name, changed)
    return Runtime(tmp_path / "node_modules")


def digest(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def test_the_folder_holds_everything_and_names_no_host(stand_in: Runtime, tmp_path: Path) -> None:
    description = export_web(exported.folder("mean"), tmp_path / "page", stand_in)
    files = set(runs.contents(tmp_path / "page"))
    assert files == {
        "LICENSES.txt",
        "classifier.js",
        "data/description.js",
        "data/model.js",
        "data/runtime.js",
        "data/tokenizer.js",
        "index.html",
        "normalizer.js",
        "page.js",
        "runtime/ort.wasm.min.js",
        "style.css",
        "tokenizer.js",
    }
    assert is_web_page(tmp_path / "page") and description.labels == ("ham", "spam")
    for name in ("index.html", "style.css", "page.js", "classifier.js", "data/description.js"):
        text = (tmp_path / "page" / name).read_text(encoding="utf-8")
        assert "http://" not in text and "https://" not in text and "oniguruma.js" not in text
    assert "Permission is hereby granted" in (tmp_path / "page" / "LICENSES.txt").read_text()


def test_expressions_bring_oniguruma(stand_in: Runtime, tmp_path: Path) -> None:
    export_web(exported.folder("no_bos"), tmp_path / "page", stand_in)
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert '<script src="runtime/oniguruma.js"></script>' in page
    assert (tmp_path / "page" / "runtime" / "oniguruma.js").read_text() == "content of ONIG_SCRIPT"
    told = (tmp_path / "page" / "data" / "description.js").read_text(encoding="utf-8")
    assert '"oniguruma.js", "tokenizer.js"' in told


def test_what_only_the_owner_knows_is_not_published(stand_in: Runtime, tmp_path: Path) -> None:
    export_web(exported.folder("mean"), tmp_path / "page", stand_in)
    told = (tmp_path / "page" / "data" / "description.js").read_text(encoding="utf-8")
    value = json.loads(told[told.index("{ description: ") + 15 : told.rindex(", files:")])
    assert set(value["source"]) == {"backbone", "tune", "version"}
    assert value["windows"]["context"] == 64 and value["labels"] == ["ham", "spam"]


def test_a_folder_that_exists_is_replaced_whole(stand_in: Runtime, tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "stray.txt").write_text("x")
    export_web(exported.folder("mean"), tmp_path / "page", stand_in)
    assert not (tmp_path / "page" / "stray.txt").exists()


def test_a_run_is_not_an_exported_folder(stand_in: Runtime, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not an exported folder"):
        export_web(runs.head_model(), tmp_path / "page", stand_in)


def test_a_model_that_no_string_can_hold_is_refused(
    stand_in: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_BYTES", 1000)
    with pytest.raises(ConfigError, match="a web page can have at most"):
        export_web(exported.folder("mean"), tmp_path / "page", stand_in)
    assert not (tmp_path / "page").exists()


def test_packages_are_checked(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no such file; run: npm install onnxruntime-web@"):
        Runtime(tmp_path).path(ORT[0])
    path = tmp_path / ORT[0].package / ORT[0].path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * ORT[0].size)
    with pytest.raises(CheckpointError, match="found another content"):
        Runtime(tmp_path).path(ORT[0])


def test_without_a_folder_they_are_downloaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: Any
) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("TAMIS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    content = b"a program"
    file = RuntimeFile("package", "1.2.3", "dist/a.js", digest(content), len(content))
    path = tmp_path / "npm" / "package@1.2.3" / "dist" / "a.js"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    monkeypatch.setattr(runtimes, "MIRRORS", (served(tmp_path / "npm").rstrip("/"),))
    first = Runtime().path(file)
    assert first.read_bytes() == content and first.is_relative_to(tmp_path / "cache")
    path.unlink()
    assert Runtime().path(file) == first


def test_offline_the_way_without_a_connection_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path))
    monkeypatch.setenv("TAMIS_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"npm install onnxruntime-web@1.30.0.*--node-modules"):
        Runtime().path(ORT[0])


def test_the_pinned_facts_are_well_formed() -> None:
    for file in (*ORT, *ONIG):
        assert len(file.sha256) == 64 and file.size > 1000
        assert all(url.startswith("https://") and file.version in url for url in file.urls)


def file_with(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(
        exported.classifier("mean").predictor_.tokenizer.backend.to_str()
    )
    return whole | changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"type": "WordPiece"}}, "model: the web page knows BPE, got WordPiece"),
        ({"model": {"type": "BPE", "byte_fallback": True}}, "model.byte_fallback"),
        ({"model": {"type": "BPE", "end_of_word_suffix": "</w>"}}, "end_of_word_suffix"),
        ({"normalizer": {"type": "BertNormalizer"}}, "normalizer: .*got BertNormalizer"),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Metaspace"}]}},
            "pre_tokenizer: .*got Metaspace",
        ),
        ({"pre_tokenizer": None}, "pre_tokenizer: .*got no ByteLevel"),
        ({"post_processor": {"type": "BertProcessing"}}, "post_processor: .*got BertProcessing"),
        ({"padding": {"pad_to_multiple_of": 8}}, "pad_to_multiple_of"),
    ],
)
def test_a_tokenizer_that_the_page_does_not_know_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        check_tokenizer(file_with(**changes))
    assert check_tokenizer(file_with()) is False
