"""The programs of others that the page runs: onnxruntime-web and Oniguruma, from npm packages.

They are not part of tamis: the WebAssembly of ONNX Runtime alone has 14 MB. Each file is pinned by
its SHA-256, and taken from a folder `node_modules` or downloaded into the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tamis.cache import cache_directory
from tamis.download import Progress, fetch, is_verified
from tamis.errors import CheckpointError

MIRRORS = ("https://cdn.jsdelivr.net/npm", "https://unpkg.com")
"""Servers of single files of npm packages; each has every published version."""


@dataclass(frozen=True)
class RuntimeFile:
    """A file of an npm package."""

    package: str
    version: str
    path: str
    sha256: str
    size: int

    @property
    def urls(self) -> list[str]:
        """Addresses of the file."""
        return [f"{base}/{self.package}@{self.version}/{self.path}" for base in MIRRORS]


def _ort(path: str, sha256: str, size: int) -> RuntimeFile:
    return RuntimeFile("onnxruntime-web", "1.30.0", f"dist/{path}", sha256, size)


def _onig(path: str, sha256: str, size: int) -> RuntimeFile:
    return RuntimeFile("vscode-oniguruma", "2.0.1", f"release/{path}", sha256, size)


ORT_SCRIPT = _ort(
    "ort.wasm.min.js", "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81", 50_196
)
ORT_MODULE = _ort(
    "ort-wasm-simd-threaded.mjs",
    "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    24_381,
)
ORT_WASM = _ort(
    "ort-wasm-simd-threaded.wasm",
    "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    14_239_897,
)
ONIG_SCRIPT = _onig(
    "main.js", "d49f2bfcbffca8732aac82fb84db5aab2521bcf0acb612f27454dc75cab85b82", 20_469
)
ONIG_WASM = _onig(
    "onig.wasm", "76ebc1f0d87b2e7449a45ff3cd1a1546a9f05f54bdac44ee03e8a2b8348897be", 473_151
)
ORT = (ORT_SCRIPT, ORT_MODULE, ORT_WASM)
ONIG = (ONIG_SCRIPT, ONIG_WASM)


@dataclass(frozen=True)
class Runtime:
    """Where the files come from."""

    node_modules: Path | None = None
    """folder into which npm installed the packages; None: downloads"""
    progress: Progress | None = None
    """receives the bytes so far and the total bytes of a download"""

    def path(self, file: RuntimeFile) -> Path:
        """Return the path of a file with the pinned content.

        Raises:
            CheckpointError: `node_modules` lacks it, or has another version.
            DownloadError: it cannot be downloaded.
        """
        if self.node_modules is None:
            target = cache_directory() / "npm" / f"{file.package}-{file.version}" / file.path
            what = f"{file.path} of the npm package {file.package} {file.version}"
            instead = (
                f"{what} (without a connection: npm install {file.package}@{file.version}, and "
                "pass --node-modules DIR)"
            )
            return fetch(
                file.urls,
                target,
                sha256=file.sha256,
                size=file.size,
                what=instead,
                progress=self.progress,
            )
        path = self.node_modules / file.package / file.path
        if not is_verified(path, sha256=file.sha256, size=file.size):
            found = "another content" if path.is_file() else "no such file"
            raise CheckpointError(
                f"{path}: expected the file of {file.package} {file.version}, found {found}; run: "
                f"npm install {file.package}@{file.version}"
            )
        return path
