"""Faster inference. A trunk comes in, the same trunk in another number type or with other linear
kernels goes out.
"""
