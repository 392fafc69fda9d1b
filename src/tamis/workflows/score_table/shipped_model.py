"""A model as files in Ray's object store, for the nodes of a cluster that do not have its folder.

The driver puts the files there once; each node fetches them when its first worker starts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tamis.classifier.model_folder import find_model
from tamis.export.folder import is_exported
from tamis.feedback.loading import store_of
from tamis.feedback.store import model_name
from tamis.workflows.score_table.engine import ScoringJob
from tamis.workflows.score_table.ray_cluster import import_ray

STORE = "feedback.sqlite"


@dataclass(frozen=True)
class ShippedModel:
    """The files that a job needs, in the object store."""

    job: ScoringJob
    name: str
    """the model's name in a store of corrections"""
    node: str
    """node that has the folder itself"""
    files: tuple[tuple[str, Any], ...]
    """path below the model folder, and reference to the bytes; none if all workers have the
    folder"""
    store: Any = None
    """reference to the bytes of the store of corrections; None if there is none"""

    @contextmanager
    def unpacked(self) -> Iterator[ScoringJob]:
        """Yield the job for this node. Elsewhere than on the driver's node, the files are written
        to a temporary folder, which is removed after the block.
        """
        ray = import_ray()
        if not self.files or ray.get_runtime_context().get_node_id() == self.node:
            yield self.job
            return
        with tempfile.TemporaryDirectory(prefix="tamis-model-") as temporary:
            folder = Path(temporary, "run", self.name)
            for name, reference in self.files:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(memoryview(ray.get(reference)))
            feedback = self.job.feedback
            if self.store is None:
                feedback = replace(feedback, use=False)
            else:
                path = Path(temporary, STORE)
                path.write_bytes(memoryview(ray.get(self.store)))
                feedback = replace(feedback, store=path)
            yield replace(self.job, run=str(folder), feedback=feedback)


def ship(job: ScoringJob, *, nodes: int) -> ShippedModel:
    """Put the files of a job's model into the object store, if the cluster has several nodes.

    Raises:
        RunError, CheckpointError, DownloadError: see `find_model`.
    """
    ray = import_ray()
    node = ray.get_runtime_context().get_node_id()
    store = store_of(job.run, job.feedback)
    # The folder of the model itself, so that nothing else of a run travels; its name is that of the
    # run, which the store of corrections knows.
    folder = Path(job.run) if is_exported(job.run) else find_model(job.run)
    name = model_name(job.run)
    if nodes < 2:
        return ShippedModel(job, name, node, ())
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = tuple((path.relative_to(folder).as_posix(), _put(ray, path)) for path in paths)
    return ShippedModel(job, name, node, files, None if store is None else _put(ray, store))


def _put(ray: Any, path: Path) -> Any:
    """Put the bytes of a file into the object store. Arrays are read without a copy on each
    node.
    """
    return ray.put(np.fromfile(path, dtype=np.uint8))
