"""Run an ONNX file with ONNX Runtime. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tamis.errors import CheckpointError, MissingExtraError


def run_session(path: Path, *, threads: int) -> Any:
    """Return an ONNX Runtime session for a file.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        CheckpointError: ONNX Runtime cannot load the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(
            "onnxruntime", extra="onnx", purpose="running an exported model"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # errors are raised as well
    # Waiting threads sleep instead of taking processor time from other programs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Shapes differ from run to run, so patterns of memory would be kept in vain.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    except Exception as error:  # the classes of onnxruntime's errors are not public
        raise CheckpointError(
            f"{path} cannot be loaded by ONNX Runtime {onnxruntime.__version__} "
            f"({' '.join(str(error).split()):.300}); copy the whole folder again, or export it "
            "again with: tamis export RUN --to onnx"
        ) from None
