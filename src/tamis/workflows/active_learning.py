"""The texts of a run that have labels already, which `tamis suggest` omits.

classifier/active_learning.py chooses the messages to label next.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tamis.classifier.training_features import labelled_keys, text_keys


def labelled_already(run: Path, corrected: Sequence[str] = ()) -> set[bytes]:
    """Return the keys of the texts with known labels.

    Args:
        run: run folder of the model, or its model folder; the texts labelled there.
        corrected: texts whose labels the model has learned as corrections.
    """
    own = {key.tobytes() for key in text_keys(list(corrected))} if corrected else set()
    return labelled_keys(run) | own
