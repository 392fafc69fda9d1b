"""Faster inference: the same trunk in another number type or with other linear kernels."""
