"""CRC-32C: published vectors, the bitwise definition, and the polynomial identity that the fast way
rests on.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.gpt2.openai import crc32c as module
from tamis.gpt2.openai.crc32c import crc32c, unmask


def slow_crc32c(data: bytes) -> int:
    """Bit by bit, as the definition has it: no table, no folding."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0x00000000),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_published_vectors(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected == slow_crc32c(data)


@settings(max_examples=10, deadline=None)
@given(length=st.integers(9_200, 14_000), seed=st.integers(0, 2**32 - 1))
def test_folding_equals_the_definition_at_any_length(length: int, seed: int) -> None:
    data = np.random.default_rng(seed).bytes(length)
    assert crc32c(data) == slow_crc32c(data)


@pytest.mark.parametrize("length", [9_279, 9_280, 9_287, 524_288, 524_296, 1_048_577, 1_100_003])
def test_folding_equals_the_table_around_the_chunk_borders(length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(data) == module.update(0xFFFFFFFF, data) ^ 0xFFFFFFFF


def test_an_array_counts_as_its_bytes() -> None:
    array = np.random.default_rng(1).normal(size=(53, 71)).astype(np.float32)
    assert crc32c(array) == crc32c(array.tobytes())


def test_one_flipped_bit_anywhere_shows() -> None:
    data = np.random.default_rng(2).integers(0, 256, 600_011, dtype=np.uint8)
    right = crc32c(data)
    for place in (0, 3, 4, 599, 300_000, 524_287, 524_288, 600_010):
        data[place] ^= 0x10
        assert crc32c(data) != right
        data[place] ^= 0x10
    assert crc32c(data) == right


def test_the_six_powers_add_up_to_a_multiple_of_the_polynomial() -> None:
    polynomial = 0x11EDC6F41  # Castagnoli's, the highest power first
    word = 1
    for _ in range(64):
        word = (word << 1) ^ (polynomial if word & 0x80000000 else 0)

    def times(a: int, b: int) -> int:
        product = 0
        for bit in range(31, -1, -1):
            product = (product << 1) ^ (polynomial if product & 0x80000000 else 0)
            product ^= b if a >> bit & 1 else 0
        return product

    powers = [1]
    while len(powers) <= module.STEPS[-1]:
        powers.append(times(powers[-1], word))
    remainder = powers[module.STEPS[-1]]
    for step in module.STEPS:
        remainder ^= powers[module.STEPS[-1] - step]
    assert remainder == 0


def test_the_mask_is_that_of_leveldb() -> None:
    crc = crc32c(b"foo")
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked != crc and unmask(masked) == crc
