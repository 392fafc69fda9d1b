"""tamis turns a GPT-2 language model into a text classifier on an ordinary machine.

The public names are below; each is imported from its home at first use, so that importing tamis
stays instant.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

from tamis.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DistributedError,
    DownloadError,
    MissingExtraError,
    RunError,
    TamisError,
    UploadError,
)

if TYPE_CHECKING:
    from tamis.classifier.text_classifier import TextClassifier as TextClassifier
    from tamis.compute.device import seed_everything as seed_everything
    from tamis.data.tables import read_table as read_table
    from tamis.errors import NotFittedError as NotFittedError
    from tamis.export.onnx_folder import export_onnx as export_onnx
    from tamis.feedback.loading import load_classifier as load_classifier
    from tamis.gpt2.backbones import load_backbone as load_backbone
    from tamis.gpt2.checkpoints import read_checkpoint as read_checkpoint
    from tamis.workflows.python_training import train as train

__version__ = "0.1.0"

# The same names as above, for the interpreter; a test holds the two lists together.
_HOMES = {
    "NotFittedError": "tamis.errors",
    "TextClassifier": "tamis.classifier.text_classifier",
    "export_onnx": "tamis.export.onnx_folder",
    "load_backbone": "tamis.gpt2.backbones",
    "load_classifier": "tamis.feedback.loading",
    "read_checkpoint": "tamis.gpt2.checkpoints",
    "read_table": "tamis.data.tables",
    "seed_everything": "tamis.compute.device",
    "train": "tamis.workflows.python_training",
}

# Libraries leave it to the program whether and how messages are shown.
logging.getLogger("tamis").addHandler(logging.NullHandler())


__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DistributedError",
    "DownloadError",
    "MissingExtraError",
    "NotFittedError",
    "RunError",
    "TamisError",
    "TextClassifier",
    "UploadError",
    "__version__",
    "export_onnx",
    "load_backbone",
    "load_classifier",
    "read_checkpoint",
    "read_table",
    "seed_everything",
    "train",
]


def __getattr__(name: str) -> object:
    """Fetch a public name from its home, once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tamis' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, fetched or not."""
    return sorted({*globals(), *__all__})
