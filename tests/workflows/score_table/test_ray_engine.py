"""The engine of Ray: the same scores as the model gives in this process, to the bit, also when a
node is lost; and what users are told where there is no Ray or no cluster.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
from collections.abc import Iterator
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


def expected(job: ScoringJob, asked: list[Chunk]) -> list[ScoredChunk]:
    scorer = ChunkScorer(job)
    return [scorer.score(chunk) for chunk in asked]


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

    options = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1"}
    head = {**options, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster, cluster.add_node(**options)
    finally:
        cluster.shutdown()


@needs_ray
@pytest.mark.slow
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
@pytest.mark.slow
def test_a_node_that_is_lost_in_mid_run_costs_no_row(
    job: ScoringJob, two_nodes: tuple[Any, Any]
) -> None:
    cluster, node = two_nodes
    asked, said = chunks(24, texts=60), list[str]()
    found = []
    with RayEngine(cluster.address, say=said.append) as engine:
        engine.start(job)
        assert said == ["Ray: 2 CPU workers on 2 nodes"]
        for each in engine.score(asked):
            found.append(each)
            if len(found) == 5:
                cluster.remove_node(node, allow_graceful=False)
    assert_same(found, asked, job)
