"""The training rows as the head sees them, stored with the model so that it can learn from
corrections without the table. No texts are stored.

RUN/features.safetensors: `features` (N, C) fp32 of length one, `targets` and `groups` (N,), `keys`
(N, 32) SHA-256 of each text, `held_out` (N,) rows that were not fitted. The metadata contain how
the head was fitted and the hash of the weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.model_folder import ADAPTER_FILES, META, find_model
from tamis.errors import CheckpointError
from tamis.files import replaced, sha256
from tamis.gpt2.tensor_files import WEIGHTS, weight_files

FEATURES = "features.safetensors"
PREDICTIONS = "predictions.jsonl"
"""The file of a run with the evaluated rows."""
FORMAT = 1
MOST_ROWS = 20_000
"""Rows that are kept; of more a sample, each class by its share, and the head is then updated
instead of solved from nothing."""
_SAMPLE_HELD_OUT = 5
"""Of so many rows of a class one is held out where nothing was."""


@dataclass(frozen=True)
class TrainingRows:
    """N training rows of a model, C channels, K classes."""

    features: NDArray[np.float32]
    """(N, C) of length one, from the model's own trunk"""
    targets: NDArray[np.int64]
    """(N,) class numbers"""
    groups: NDArray[np.int64]
    """(N,) rows of one group (repeats of a message) stay together"""
    keys: NDArray[np.uint8]
    """(N, 32) SHA-256 of each text: a correction of a training row replaces it"""
    held_out: NDArray[np.bool_]
    """(N,) rows that neither trunk nor head was fitted on; all False where the head alone was
    solved (folds show it there)"""
    classes: tuple[str, ...]
    class_weights: NDArray[np.float64]
    """(K,) weight of a row by its class"""
    inverse_penalty: float | None
    """Of the head solved on exactly these rows (scikit-learn's C); None where the head was found
    otherwise."""

    def selected(self, rows: NDArray[Any]) -> TrainingRows:
        """Return some of the rows, by number or by mask."""
        parts = {
            name: getattr(self, name)[rows]
            for name in ("features", "targets", "groups", "keys", "held_out")
        }
        return replace(self, **parts)

    def with_held_out(self) -> TrainingRows:
        """Return the rows with every fifth row of a class marked as held out, if no row is. The
        head was fitted on these rows, so they only show changes.
        """
        if self.held_out.any():
            return self
        held_out = np.zeros(len(self.targets), dtype=bool)
        for k in range(len(self.classes)):
            held_out[
                np.flatnonzero(self.targets == k)[_SAMPLE_HELD_OUT - 1 :: _SAMPLE_HELD_OUT]
            ] = True
        return replace(self, held_out=held_out)


def sample(
    targets: NDArray[np.int64], most: int = MOST_ROWS, *, seed: int = 42
) -> NDArray[np.int64]:
    """Return the sorted numbers of the rows to keep: all of them, or about `most`, stratified and
    with at least two rows per class.
    """
    if len(targets) <= most:
        return np.arange(len(targets))
    order = np.random.default_rng(seed).permutation(len(targets))
    by_class = [order[targets[order] == k] for k in np.unique(targets)]
    return np.sort(
        np.concatenate([own[: max(2, round(len(own) * most / len(order)))] for own in by_class])
    )


def text_keys(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return the (N, 32) SHA-256 of the UTF-8 of each text."""
    digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)


def write_training_rows(run: Path, rows: TrainingRows) -> None:
    """Write RUN/features.safetensors for the model in RUN."""
    from safetensors.numpy import save

    about = {
        "format": FORMAT,
        "classes": list(rows.classes),
        "class_weights": rows.class_weights.tolist(),
        "inverse_penalty": rows.inverse_penalty,
        "weights": sha256(find_model(run) / WEIGHTS),
    }
    tensors: dict[str, NDArray[Any]] = {
        "features": rows.features,
        "targets": rows.targets,
        "groups": rows.groups,
        "keys": rows.keys,
        "held_out": rows.held_out,
    }
    with replaced(run / FEATURES) as beside:
        arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        # Not save_file: its error for a full disk is no OSError. One entry of metadata: several
        # come out in another order each time, and the same run is to give the same bytes.
        beside.write_bytes(save(arrays, {"about": json.dumps(about)}))


def read_training_rows(run: Path) -> TrainingRows | None:
    """Return the rows stored for the model of a run or model folder; None if there are none or they
    belong to other weights.

    Raises:
        CheckpointError: the file is damaged or was written by a newer version.
    """
    from safetensors import SafetensorError, safe_open

    model = find_model(run)
    path = model.parent / FEATURES if (model.parent / FEATURES).is_file() else model / FEATURES
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            if about.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path}: expected format {FORMAT}, got {about.get('format')!r}; a newer "
                    "tamis wrote it, upgrade"
                )
            if about["weights"] != weights_mark(model):
                return None
            read = {
                name: file.get_tensor(name)
                for name in ("features", "targets", "groups", "keys", "held_out")
            }
        lengths = {len(array) for array in read.values()}
        if (
            len(lengths) != 1
            or read["features"].ndim != 2
            or read["targets"].max() >= len(about["classes"])
        ):
            raise ValueError(f"arrays of {sorted(lengths)} rows")
        weights = np.array(about["class_weights"], dtype=np.float64)
        return TrainingRows(
            **read,
            classes=tuple(about["classes"]),
            class_weights=weights,
            inverse_penalty=about["inverse_penalty"],
        )
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} was truncated or altered ({' '.join(str(error).split())}); copy the run "
            "again, or delete this file: corrections "
            "are then learnt without the training rows"
        ) from error


def weights_mark(model: Path) -> str:
    """Return the SHA-256 of the weights of a model folder: from its tamis.json (verified when the
    model is loaded) or computed.
    """
    try:
        return str(json.loads((model / META).read_text(encoding="utf-8"))["files"][WEIGHTS])
    except (OSError, ValueError, KeyError, TypeError):
        names = weight_files(model) or [ADAPTER_FILES[1]]
        hashes = [sha256(model / name) for name in names]
        if len(hashes) == 1:
            return hashes[0]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()


def labelled_keys(run: Path) -> set[bytes]:
    """Return the SHA-256 of all labelled texts of a run: training rows, and rows on which it was
    evaluated.

    Raises:
        CheckpointError: a file is damaged.
    """
    rows = read_training_rows(run)
    known = set() if rows is None else {key.tobytes() for key in rows.keys}
    judged = next(
        (place for place in (run / PREDICTIONS, run.parent / PREDICTIONS) if place.is_file()),
        run / PREDICTIONS,
    )
    if judged.is_file():
        try:
            with judged.open(encoding="utf-8") as file:
                texts = [str(one["text"]) for line in file if "text" in (one := json.loads(line))]
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise CheckpointError(
                f"{judged} was truncated or altered ({' '.join(str(error).split())}); copy the run "
                "again, or delete this file: texts on which the model was evaluated then count as "
                "new"
            ) from error
        known |= {key.tobytes() for key in text_keys(texts)} if texts else set()
    return known
