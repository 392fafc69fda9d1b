"""Child processes of the benchmark: the server under test, and the client that loads it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving.client import Load

ROOT = Path(__file__).parents[2]

Request = tuple[str, str, Any]
"""Method, path, body (None: no body)."""


@dataclass
class Server:
    """A server in its own process."""

    process: subprocess.Popen[str]
    host: str
    port: int

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server."""
        return self.host, self.port

    def resident_bytes(self) -> int:
        """Memory of the process in bytes (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(
            1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")
        )

    def processor_s(self) -> float:
        """CPU seconds of the process so far (Linux)."""
        fields = (
            Path(f"/proc/{self.process.pid}/stat")
            .read_text(encoding="ascii")
            .rpartition(")")[2]
            .split()
        )
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """Kill the process as `kill -9` does."""
        self.process.kill()
        self.process.wait()


def start(run: Path, store: Path, *, threads: int | None = None, module: str = "tamis") -> Server:
    """Start `tamis serve` on a free port. `module` is the Python module to run instead."""
    command = [
        sys.executable,
        "-m",
        module,
        "serve",
        str(run),
        "--port",
        "0",
        "--store",
        str(store),
    ]
    command += ["--threads", str(threads)] if threads else []
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, cwd=ROOT, env=environment()
        )
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        process.stdout.close()  # it prints nothing else
        if not address:
            process.wait()
            said.seek(0)
            raise SystemExit(f"the server did not start: {said.read()[-500:]}")
    host, _, port = address.removeprefix("http://").rpartition(":")
    return Server(process, host, int(port))


@contextlib.contextmanager
def serving(run: Path, *, threads: int | None = None, module: str = "tamis") -> Iterator[Server]:
    """Run a server with its own store, ready to answer; it ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        server = start(run, Path(folder) / "store.sqlite", threads=threads, module=module)
        try:
            ask(server, [("GET", "/readyz", None)], clients=1, count=1)
            yield server
        finally:
            server.process.terminate()
            try:
                server.process.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()


def ask(server: Server | None, requests: Sequence[Request], *, clients: int, **how: Any) -> Load:
    """Load a server from a second process.

    See `client.Client.run`; without a server, see its `canned` mode.
    """
    return asked(server, requests, clients=clients, **how)[0]


def asked(
    server: Server | None, requests: Sequence[Request], *, clients: int, **how: Any
) -> tuple[Load, dict[int, Any]]:
    """The same, also returning the answers' bodies by request number if `keep`."""
    with asking(server, requests, clients=clients, **how) as client:
        out, _ = client.communicate()
    found = json.loads(out)
    return Load(**found["load"]), {
        int(number): json.loads(body) for number, body in found["bodies"].items()
    }


@contextlib.contextmanager
def asking(
    server: Server | None, requests: Sequence[Request], *, clients: int, **how: Any
) -> Iterator[subprocess.Popen[str]]:
    """Run the client in a process during the block."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requests.json"
        file.write_text(json.dumps(requests), encoding="utf-8")
        where = {"host": server.host, "port": server.port} if server else {}
        order = json.dumps({"requests": str(file), "clients": clients, **where, **how})
        command = [sys.executable, "-m", "benchmarks.serving.client"]
        client = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        assert client.stdin is not None
        client.stdin.write(order)
        client.stdin.close()
        client.stdin = None
        try:
            yield client
        finally:
            if client.poll() is None and sys.exc_info()[0] is not None:
                client.kill()
            client.wait()
            if client.stdout is not None:
                client.stdout.close()


def environment() -> dict[str, str]:
    """Return the environment of the started processes."""
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "TAMIS_OFFLINE": "1"}
