"""Benchmark of a served model: speed compared with the speed of its trunk, behaviour under load,
and durability of corrections.
"""
