"""CRC-32C: published vectors, the bitwise definition, arrays, and the mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.gpt2.openai.crc32c import crc32c, unmask


def slow_crc32c(data: bytes) -> int:
    """Bit by bit, as the definition has it."""
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
@given(length=st.integers(0, 4_000), seed=st.integers(0, 2**32 - 1))
def test_it_equals_the_definition_at_any_length(length: int, seed: int) -> None:
    data = np.random.default_rng(seed).bytes(length)
    assert crc32c(data) == slow_crc32c(data)


@pytest.mark.parametrize("shape", [(53, 71), (0, 3), (), (2, 3, 4)])
def test_an_array_counts_as_its_bytes_in_c_order(shape: tuple[int, ...]) -> None:
    array = np.asarray(np.random.default_rng(1).normal(size=shape), dtype=np.float32)
    assert crc32c(array) == crc32c(array.tobytes())
    assert crc32c(np.asfortranarray(array)) == crc32c(array.tobytes())
    assert crc32c(array.T) == crc32c(array.T.tobytes())


def test_an_array_that_cannot_be_written_to_is_read_as_well() -> None:
    array = np.frombuffer(b"123456789", np.uint8)
    assert not array.flags.writeable and crc32c(array) == 0xE3069283


def test_one_flipped_bit_anywhere_shows() -> None:
    data = np.random.default_rng(2).integers(0, 256, 600_011, dtype=np.uint8)
    right = crc32c(data)
    for place in (0, 3, 4, 599, 300_000, 524_287, 524_288, 600_010):
        data[place] ^= 0x10
        assert crc32c(data) != right
        data[place] ^= 0x10
    assert crc32c(data) == right


def test_the_mask_is_that_of_leveldb() -> None:
    crc = crc32c(b"foo")
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked != crc and unmask(masked) == crc
