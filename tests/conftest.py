"""What every test gets: no network but loopback, a cache of its own, one thread of torch, small
rows; and who is skipped.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.rows import messages

# pytest runs a process on every core; a second thread would wait for a core that is taken. The
# libraries read these when they start, here and in the processes that tests start.
TORCH_THREADS = 1
for library in ("OMP", "MKL", "OPENBLAS", "RAYON"):
    os.environ[f"{library}_NUM_THREADS"] = str(TORCH_THREADS)
os.environ["POLARS_MAX_THREADS"] = str(TORCH_THREADS)
# The processes that tests start find this checkout's package, installed or not.
SOURCES = str(Path(__file__).resolve().parents[1] / "src")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCES, os.environ.get("PYTHONPATH")]))

hypothesis.settings.register_profile("tamis", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("tamis")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")
    parser.addoption(
        "--cluster",
        action="store_true",
        help="run the tests with Ray clusters as well: on a busy machine Ray gives up to start",
    )
    parser.addoption(
        "--kills",
        type=int,
        default=4,
        help="moments at which the fault tests kill each command; from 50 on, they also damage "
        "more files and fill more disks",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of `runs.made_once`, which the workers of pytest-xdist inherit."""
    if not hasattr(config, "workerinput"):
        os.environ["SHARED_BY_TESTS"] = tempfile.mkdtemp(prefix="tamis-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["SHARED_BY_TESTS"], ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = pytest.mark.skip(reason="slow: run with --slow")
    weights = pytest.mark.skip(
        reason="needs the real GPT-2 weights: TAMIS_GPT2_FOLDER does not name their folder"
    )
    cluster = pytest.mark.skip(reason="starts a Ray cluster: run with --cluster")
    for item in items:
        if "cluster" in item.keywords and not config.getoption("--cluster"):
            item.add_marker(cluster)
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(slow)
        if "weights" in item.keywords and not os.environ.get("TAMIS_GPT2_FOLDER"):
            item.add_marker(weights)


class NetworkForbiddenError(RuntimeError):
    """A test reached for the network. Not an OSError, so that no code under test takes it for a
    failed connection.
    """


def _is_local(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    return name in (None, "", "localhost", "::1", "0.0.0.0") or (
        isinstance(name, str) and name.startswith("127.")
    )


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only loopback can be reached; names under .invalid are unknown, as everywhere (RFC 2606)."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        if isinstance(host, str) and host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not _is_local(host):
            raise NetworkForbiddenError(f"a test asked for the address of {host!r}")
        return resolve(host, *rest, **options)

    def guarded(name: str) -> Any:
        original = getattr(socket.socket, name)

        def call(self: socket.socket, *rest: Any) -> Any:
            # The address is the last argument of each of the three.
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(rest[-1][0]):
                raise NetworkForbiddenError(f"a test reached for {rest[-1]!r}")
            return original(self, *rest)

        return call

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, guarded(name))


@pytest.fixture(autouse=True)
def own_surroundings(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An empty cache directory, no setting of the user's, and hubs told to stay offline."""
    for name in [
        name
        for name in os.environ
        if name.startswith(("HF_", "TAMIS_", "HUGGING", "TRANSFORMERS_"))
    ]:
        if name != "TAMIS_GPT2_FOLDER":
            monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("TAMIS_CACHE", str(folder))
    monkeypatch.setenv("HF_HOME", str(folder / "huggingface"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def torch_as_found() -> Iterator[None]:
    """One thread and the usual algorithms before and after every test, without importing torch for
    it.
    """
    _settle_torch()
    yield
    _settle_torch()


def _settle_torch() -> None:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "set_num_threads"):
        return
    if torch.get_num_threads() != TORCH_THREADS:
        torch.set_num_threads(TORCH_THREADS)
    if torch.are_deterministic_algorithms_enabled():
        torch.set_deterministic_debug_mode("default")


@pytest.fixture(scope="session")
def sms_rows() -> list[tuple[str, str]]:
    """124 pairs of label ("ham" or "spam") and text."""
    return messages()


@pytest.fixture
def sms_file(tmp_path: Path, sms_rows: list[tuple[str, str]]) -> Path:
    """The same rows as the SMS Spam Collection has them: label, tab, text, no header, UTF-8."""
    path = tmp_path / "messages.tsv"
    path.write_text("".join(f"{label}\t{text}\n" for label, text in sms_rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets beside a checkout, which not everyone has."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public data sets are not beside this checkout (../shared/data)")
    return folder
