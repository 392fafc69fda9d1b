"""A warm process that runs commands in forks of itself, and kills a fork at a chosen moment.

Starting Python with torch takes seconds, a fork milliseconds. The process imports what the first
run of a command imported, so that every later fork begins with its modules loaded.

A moment is one of

    operation   before the n-th operation on a file: opening it to write, renaming, deleting, making
                a folder, changing permissions, syncing, or an SQL statement
    seconds     after some time of the processor, so that the load of the machine does not matter
    bytes       in the middle of a write: when a file grows beyond so many bytes, the kernel kills
                the process (SIGXFSZ), wherever it writes: in Python, numpy, SQLite or safetensors

and a fault instead of a kill is

    no_space    from the n-th operation on, nothing can be written (ENOSPC); deleting works
    read_only   from the n-th operation on, nothing can be changed (EROFS)
    bytes_fail  no file grows beyond so many bytes (EFBIG)
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import json
import os
import resource
import signal
import sqlite3
import sys
import traceback
from typing import Any

COMMAND_LINE = "from tamis.cli import main; main()"
CRASHED = 70
LONGEST = 600
"""Seconds after which a command that does not end is ended by SIGALRM."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_NAMED = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.link"}
_NEEDS_SPACE = {"open", "os.mkdir", "os.fsync"}
_FAILS = {"no_space": errno.ENOSPC, "read_only": errno.EROFS}


def serve() -> None:
    """Read orders from standard input, one JSON object a line, and answer each with one."""
    for line in sys.stdin:
        order = json.loads(line)
        for name in order["modules"]:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        # Pipes: what a process says must not count as a file that grows.
        pipes = [_pipe() for _ in range(3)]
        pid = os.fork()
        if pid == 0:
            _run(order, [write for _, write in pipes])
        _, status, usage = os.wait4(pid, 0)
        answer: dict[str, Any] = {
            "code": os.waitstatus_to_exitcode(status),
            "seconds": usage.ru_utime + usage.ru_stime,
        }
        for name, (read, write) in zip(("out", "err", "facts"), pipes, strict=True):
            os.close(write)
            with open(read, "rb") as said:
                answer[name] = said.read().decode("utf-8", errors="replace")
        print(json.dumps(answer), flush=True)


def _pipe() -> tuple[int, int]:
    """Return a pipe that holds more than any command says."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)
    return read, write


def _run(order: dict[str, Any], pipes: list[int]) -> None:
    """In the fork: run the program of an order, and end the process."""
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    signal.alarm(LONGEST)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(pipes[0], 1)
    os.dup2(pipes[1], 2)
    sys.argv = ["tamis", *order["arguments"]]
    before, code = set(sys.modules), 0
    counted = _Operations(order["folder"], order["moment"])
    try:
        exec(compile(order["program"], "<program>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = CRASHED
    counted.on = False
    facts = {"operations": counted.count, "modules": sorted(set(sys.modules) - before)}
    os.write(pipes[2], json.dumps(facts).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit, which runs the exit handlers of C libraries: onnxruntime's waits for a thread
    # that exists in the server alone.
    os._exit(code)


class _Operations:
    """Counts the operations on files below a folder, and ends or disturbs the process at one."""

    def __init__(self, folder: str, moment: dict[str, Any]) -> None:
        self.folder, self.count, self.on = os.path.join(folder, ""), 0, True
        self.kill_at = moment.get("operation")
        self.fails = next(
            ((moment[name], error) for name, error in _FAILS.items() if name in moment), None
        )
        connect = sqlite3.connect

        def synced(file: Any) -> None:
            self.next("os.fsync")
            # not synced in fact: what a killed process wrote is kept by the kernel anyway

        def connected(*positional: Any, **named: Any) -> sqlite3.Connection:
            connection = connect(*positional, **named)
            connection.set_trace_callback(lambda _: self.next())
            return connection

        os.fsync = synced  # type: ignore[assignment]
        sqlite3.connect = connected  # type: ignore[assignment]
        sys.addaudithook(self.hook)
        if "seconds" in moment:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, moment["seconds"])
        for name in ("bytes", "bytes_fail"):
            if name in moment:
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (moment[name], moment[name]))
                if name == "bytes":
                    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or not (
            event in _NAMED or (event == "open" and (arguments[2] or 0) & _WRITES)
        ):
            return
        path = arguments[0]
        if isinstance(path, (str, bytes, os.PathLike)):
            # A name alone is relative to an open folder, as in shutil.rmtree.
            name = os.fsdecode(path)
            if os.path.isabs(name) and not name.startswith(self.folder):
                return
        self.next(event)

    def next(self, event: str = "") -> None:
        if not self.on:
            return
        self.count += 1
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails is None or self.count < self.fails[0]:
            return
        if self.fails[1] == errno.EROFS or event in _NEEDS_SPACE:
            raise OSError(self.fails[1], os.strerror(self.fails[1]), "(injected)")
