"""The engine of Ray: the same scores as the model gives in this process, to the bit, also when a
node is lost; and what users are told where there is no Ray or no cluster.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis import errors
from tamis.errors import ConfigError, MissingExtraError, RunError
from tamis.workflows.score_table.chunk_scorer import ChunkScorer
from tamis.workflows.score_table.engine import Chunk, ScoredChunk, ScoringJob
from tamis.workflows.score_table.ray_engine import RayEngine
from tests import runs
from tests.rows import messages

needs_ray = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("ray", "pyarrow", "pandas")),
    reason="needs Ray Data: pip install 'tamis[ray]'",
)
needs_processes = pytest.mark.skipif(os.name != "posix", reason="kills processes by signals")
TEXTS = [text for _, text in messages()]


def chunks(count: int, texts: int = 7) -> list[Chunk]:
    """Chunks of different sizes and texts, three to a part."""
    return [
        Chunk(
            number // 3,
            number % 3,
            tuple(f"{TEXTS[(number * 5 + k) % len(TEXTS)]} {number}" for k in range(1 + texts)),
        )
        for number in range(count)
    ]


def aside(call: Callable[[Any], Any], given: Any) -> Any:
    """Call in a thread: a scorer gives its thread a number of torch threads for good."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, given).result()


def expected(job: ScoringJob, asked: list[Chunk]) -> list[ScoredChunk]:
    scorer = ChunkScorer(job)
    return [aside(scorer.score, chunk) for chunk in asked]


def assert_same(found: list[ScoredChunk], asked: list[Chunk], job: ScoringJob) -> None:
    """Every chunk is there once, with the bits that this process computes."""
    found = sorted(found, key=lambda each: (each.part, each.place))
    assert [(each.part, each.place) for each in found] == [(c.part, c.place) for c in asked]
    for here, there in zip(expected(job, asked), found, strict=True):
        assert there.labels == here.labels and there.verdicts == here.verdicts
        assert there.probabilities.dtype == np.float64
        assert there.probabilities.tobytes() == here.probabilities.tobytes()


@pytest.fixture(scope="module")
def job() -> ScoringJob:
    return ScoringJob(str(runs.head_model()), device="cpu")


@pytest.fixture
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """A cluster of a head node and one more, of one CPU each; and that second node."""
    from ray.cluster_utils import Cluster

    options: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
    # Fewer processes: a node waits for its agent for 15 s only, which is short on a busy machine.
    options |= {"include_log_monitor": False}
    head = {**options, "include_dashboard": False, "no_monitor": True}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster, cluster.add_node(**options)
    finally:
        cluster.shutdown()


@needs_ray
@pytest.mark.cluster
def test_a_cluster_of_this_machine_gives_the_same_bits(
    job: ScoringJob, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = chunks(11)
    taken: list[Chunk] = []

    def source() -> Iterator[Chunk]:
        for chunk in asked:
            taken.append(chunk)
            yield chunk

    found = []
    said: list[str] = []
    with RayEngine(workers=2, say=said.append) as engine:
        facts = engine.start(job)
        for each in engine.score(source()):
            found.append(each)
            assert len(taken) - len(found) <= 3 * 2, "chunks are taken far ahead"
        assert list(engine.score([])) == []
        again = list(engine.score(asked[:2]))  # the workers stay for the next call
    here = ChunkScorer(job).facts()
    assert said == ["Ray: 2 CPU workers on 1 node"]
    assert facts == here
    assert_same(found, asked, job)
    assert_same(again, asked[:2], job)
    assert capfd.readouterr() == ("", "")


@needs_ray
@needs_processes
@pytest.mark.cluster
def test_a_node_that_is_lost_in_mid_run_costs_no_row(
    job: ScoringJob, two_nodes: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamis.workflows.score_table.ray_cluster.CONNECT_S", 400)  # busy machines
    cluster, node = two_nodes
    asked, said = chunks(24, texts=60), list[str]()
    found = []
    # Ray makes the machine's own address of it; tests reach loopback only.
    address = f"127.0.0.1:{cluster.address.rpartition(':')[2]}"
    with RayEngine(address, say=said.append) as engine:
        engine.start(job)
        assert said == ["Ray: 2 CPU workers on 2 nodes"]
        for each in engine.score(asked):
            found.append(each)
            if len(found) == 5:
                cluster.remove_node(node, allow_graceful=False)
    assert_same(found, asked, job)


@needs_ray
@needs_processes
@pytest.mark.cluster
def test_a_killed_worker_costs_no_chunk(job: ScoringJob) -> None:
    """The process of one of two workers is killed, as by a lack of memory."""
    asked, said, found = chunks(12, texts=60), list[str](), []
    with RayEngine(workers=2, say=said.append) as engine:
        engine.start(job)
        for each in engine.score(asked):
            found.append(each)
            if len(found) == 1:
                # Workers get as much time as the processes of the local engine.
                own = os.getpriority(os.PRIO_PROCESS, 0)
                for worker in worker_processes():
                    assert os.getpriority(os.PRIO_PROCESS, worker) == own
            if len(found) == 3:
                os.kill(worker_processes()[0], signal.SIGKILL)
    assert_same(found, asked, job)


def worker_processes() -> list[int]:
    """The processes of the actors that hold a model, among those that this process started."""
    import psutil  # type: ignore[import-untyped]

    found = psutil.Process().children(recursive=True)
    return [process.pid for process in found if "Scorer" in " ".join(process.cmdline())]


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else find(name)
    )
    with (
        pytest.raises(MissingExtraError, match=r"--engine ray needs the package 'ray'.*\[ray\]"),
        RayEngine(),
    ):
        pass


@needs_ray
def test_a_cluster_that_does_not_start_leaves_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of it goes on writing for a moment."""
    import ray

    folders: list[Path] = []

    def write() -> None:
        number = 0
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            number += 1
            with suppress(OSError):  # the folder is gone
                (folders[0] / str(number)).touch()

    writer = threading.Thread(target=write)

    def init(**options: Any) -> None:
        folders.append(Path(options["_temp_dir"]))
        writer.start()
        raise RuntimeError("timed out during startup")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RunError, match=r"cannot be started here \(timed out"), RayEngine():
        pass
    writer.join()
    assert not folders[0].exists()


@needs_ray
def test_an_address_where_nothing_answers_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        pytest.raises(RunError, match=rf"--ray-address 127.0.0.1:{port}: nothing answers there"),
        RayEngine(f"127.0.0.1:{port}"),
    ):
        pass


@needs_ray
@pytest.mark.slow
def test_something_else_than_ray_at_the_address_ends_after_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tamis.workflows.score_table.ray_cluster.CONNECT_S", 4)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with (
            pytest.raises(RunError, match="no Ray cluster answers within 4 s"),
            RayEngine(f"127.0.0.1:{silent.getsockname()[1]}"),
        ):
            pass


@needs_ray
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ray://head:10001", "address of Ray Client"),
        ("head", "expected HOST:PORT of the head node or auto, got 'head'"),
        ("head:", "expected HOST:PORT"),
        (":6379", "expected HOST:PORT"),
        ("head:70000", "expected HOST:PORT"),
        ("head:http", "expected HOST:PORT"),
    ],
)
def test_an_address_of_another_form_is_refused(address: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words), RayEngine(address):
        pass


def test_an_unknown_host_is_told() -> None:
    pytest.importorskip("ray")
    with (
        pytest.raises(RunError, match=r"head\.invalid:6379: nothing answers there"),
        RayEngine("head.invalid:6379"),
    ):
        pass


@needs_ray
def test_a_feed_gives_the_same_request_at_the_same_place() -> None:
    """A task that reads the requests again must not miss one."""
    from tamis.workflows.score_table.ray_pipeline import Feed

    async def use() -> None:
        feed = Feed()
        waiting = asyncio.ensure_future(feed.get(1))
        await feed.add("a")
        await asyncio.sleep(0)
        assert not waiting.done()
        await feed.add("b")
        assert await waiting == "b" and await feed.get(0) == "a" and await feed.get(1) == "b"
        await feed.drop(0)
        assert await feed.get(0) is None and await feed.get(1) == "b"

    asyncio.run(use())


@needs_ray
def test_what_a_worker_answers_comes_back_unchanged(job: ScoringJob) -> None:
    """Requests and replies as tables, with one row that is only in the place of a request."""
    import pyarrow as pa

    import tamis
    from tamis.workflows.score_table import ray_pipeline
    from tamis.workflows.score_table.shipped_model import ShippedModel

    model = ShippedModel(job, "head", "", ())
    worker = ray_pipeline.Scorer(model, tamis.__version__)
    (chunk,) = chunks(1)
    rows = [
        {"number": 5, "part": chunk.part, "place": chunk.place, "texts": list(chunk.texts)},
        {"number": 6, "part": -1, "place": -1, "texts": None},
        {"number": -1, "part": None, "place": None, "texts": None},
    ]
    scores, facts, nothing = aside(worker, pa.Table.from_pylist(rows)).to_pylist()
    assert_same([ray_pipeline.scored(scores)], [chunk], job)
    assert ray_pipeline.facts_of(facts) == ChunkScorer(job).facts()
    assert nothing["number"] == -1 and nothing["error"] is None
    for row in (scores, facts):
        ray_pipeline.raise_error(row)


@needs_ray
def test_an_error_of_a_worker_is_the_error_of_the_command(tmp_path: Path) -> None:
    import pyarrow as pa

    import tamis
    from tamis.workflows.score_table import ray_pipeline
    from tamis.workflows.score_table.shipped_model import ShippedModel

    request = pa.Table.from_pylist([{"number": 0, "part": 0, "place": 0, "texts": ["a"]}])
    missing = ShippedModel(ScoringJob(str(tmp_path / "none")), "none", "", ())
    for model, version, kind, words in (
        (missing, tamis.__version__, RunError, "none does not exist"),
        (missing, "0.0.0", RunError, "this machine has 0.0.0; install the same version"),
    ):
        (reply,) = aside(ray_pipeline.Scorer(model, version), request).to_pylist()
        with pytest.raises(kind, match=words):
            ray_pipeline.raise_error(reply)
    extra = MissingExtraError("onnxruntime", "onnx", "an exported folder")
    reply = {"error": f'["MissingExtraError", "{str(extra).replace(chr(34), chr(39))}"]'}
    with pytest.raises(errors.MissingExtraError, match="onnxruntime"):
        ray_pipeline.raise_error(reply)


@needs_ray
@pytest.mark.parametrize("feedback", [False, True])
def test_a_shipped_model_scores_as_the_folder_does(
    feedback: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of the model travel, and its corrections; nothing is left on the node."""
    from dataclasses import replace

    from tamis.feedback.loading import store_of
    from tamis.workflows.score_table import shipped_model

    run = runs.copy_of(runs.head_model(), tmp_path / "mine")
    if feedback:
        (tmp_path / "learn.csv").write_text("label,text\nspam,hello you\n", encoding="utf-8")
        said = runs.tamis("learn", run, tmp_path / "learn.csv")
        assert said.code == 0, said
    here = ScoringJob(str(run), device="cpu")
    assert (store_of(run, here.feedback) is not None) == feedback
    fake = FakeRay("driver")
    monkeypatch.setattr(shipped_model, "import_ray", lambda: fake)
    shipped = shipped_model.ship(here, nodes=2)
    with shipped.unpacked() as job:
        assert job == here  # the driver's node has the folder
    fake.node = "other"
    asked = chunks(2)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with shipped.unpacked() as job:
        assert job.run != here.run and list(temporary.iterdir())
        scorer = ChunkScorer(job)
        assert replace(scorer.facts(), notes=()) == replace(ChunkScorer(here).facts(), notes=())
    assert not list(temporary.iterdir())
    with ThreadPoolExecutor(1) as pool:
        assert_same(list(pool.map(scorer.score, asked)), asked, here)
    assert shipped_model.ship(here, nodes=1).files == ()


class FakeRay:
    """An object store that is a list, and the name of a node."""

    def __init__(self, node: str) -> None:
        self.node, self.objects = node, list[Any]()

    def put(self, value: Any) -> int:
        self.objects.append(value)
        return len(self.objects) - 1

    def get(self, reference: int) -> Any:
        return self.objects[reference]

    def get_runtime_context(self) -> FakeRay:
        return self

    def get_node_id(self) -> str:
        return self.node
