"""One process that scores chunks for `local_engine`."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from tamis.compute.memory import resident_mb
from tamis.errors import TamisError
from tamis.workflows.score_table.engine import Chunk, ScoringJob


def work(connection: Connection, job: ScoringJob, threads: int, tell: bool) -> None:
    """Load the model, then answer each chunk that arrives, until the connection is closed. A number
    that arrives is that of the threads from now on.

    Messages are pairs of a kind and a value: ("ready", (facts or None, memory in MB)), ("scored",
    ScoredChunk), ("failed", (name of the error's class, message)).

    Args:
        connection: to the process that started this one; when that ends, however it ends, the
            connection is closed and this process ends after the chunks in work.
        job: the model.
        threads: chunks that are scored at the same time.
        tell: whether to send the facts of the model, for which all weights are hashed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the caller, who ends this one
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # the tokenizer's own threads
    sending = threading.Lock()

    def send(kind: str, value: Any) -> None:
        with sending:
            connection.send((kind, value))

    try:
        from tamis.workflows.score_table.chunk_scorer import ChunkScorer

        scorer = ChunkScorer(job)
        send("ready", (scorer.facts() if tell else None, resident_mb()))

        def score(chunk: Chunk) -> None:
            try:
                send("scored", scorer.score(chunk))
            except Exception as error:
                _fail(send, error)

        pool = ThreadPoolExecutor(threads)
        try:
            while True:
                received = connection.recv()
                if isinstance(received, int):
                    pool.shutdown(wait=False)  # what was submitted is still computed
                    pool = ThreadPoolExecutor(received)
                else:
                    pool.submit(score, received)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    except (EOFError, OSError):
        return  # the caller is gone: nobody waits for what is still being computed
    except Exception as error:
        _fail(send, error)


def _fail(send: Any, error: Exception) -> None:
    if isinstance(error, TamisError):
        found = type(error).__name__, str(error)
    else:
        found = "", "".join(traceback.format_exception(error)[-4:])
    with suppress(OSError):
        send("failed", found)
