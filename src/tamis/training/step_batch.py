"""The rows of one optimizer step as arrays that can be sent: token ids or frozen states, targets,
weights. The other processes need no data set.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.gpt2.features import FeatureExtractor
from tamis.text.encoding import EncodedTexts
from tamis.text.windows import WindowAggregation
from tamis.training.distributed.channel import Arrays
from tamis.training.gradients import StepRows


def to_arrays(data: StepRows, rows: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    """Return what a step on `rows` of `data` reads."""
    states, messages = data.states, data.states.messages
    windows = messages.windows_of(rows)
    texts = messages.distinct_of[rows]
    found: dict[str, NDArray[np.generic]] = {
        "ids": np.concatenate([messages.windows[w] for w in windows]).astype(np.int64),
        "lengths": messages.lengths[windows],
        "counts": messages.first[texts + 1] - messages.first[texts],
        "targets": data.targets[rows].numpy(),
    }
    if data.row_weights is not None:
        found["row_weights"] = data.row_weights[rows].numpy()
    if states.frozen is not None and states.whole:
        found["frozen"] = np.ascontiguousarray(states.frozen[windows])
    elif states.frozen is not None:
        places = [
            np.arange(states.first_token[w], states.first_token[w] + messages.lengths[w])
            for w in windows
        ]
        found["frozen"] = np.ascontiguousarray(states.frozen[np.concatenate(places)])
    return found


def from_arrays(
    arrays: Arrays, *, start: int, whole: bool, aggregation: WindowAggregation
) -> StepRows:
    """Return the rows, numbered from 0.

    Args:
        arrays: of `to_arrays`.
        start: the lowest trained block.
        whole: whether frozen states are those of last tokens.
        aggregation: how the windows of a text become one score.
    """
    ends = np.cumsum(arrays["lengths"])[:-1]
    first = np.concatenate([[0], np.cumsum(arrays["counts"])])
    messages = EncodedTexts(
        tuple(np.split(arrays["ids"], ends)),
        first,
        np.arange(len(first) - 1),
        aggregation,
    )
    row_weights = arrays.get("row_weights")
    return StepRows(
        FeatureExtractor(messages, start, arrays.get("frozen"), whole),
        torch.from_numpy(arrays["targets"]),
        None if row_weights is None else torch.from_numpy(row_weights),
    )
