"""Faster inference: the same trunk in another number type, with other linear kernels, or in ONNX
Runtime.
"""

from tamis.gpt2.inference.dtype import in_dtype
from tamis.gpt2.inference.onednn import prepacking_pays
from tamis.gpt2.inference.small_batches import SmallBatches, onnx_runtime_is_here

__all__ = ["SmallBatches", "in_dtype", "onnx_runtime_is_here", "prepacking_pays"]
