"""CRC-32C (Castagnoli), fast enough in NumPy to check every tensor of a checkpoint of gigabytes.

A CRC is the remainder of the message, read as a polynomial over GF(2), divided by P. Any multiple
of P may be divided by first, so a sparse one is taken: folding the message by it costs five XORs of
long slices a step. Sources: RFC 3720 section 12.1 and B.4 (polynomial, vectors); TensorFlow
core/lib/hash/crc32c.h (the mask).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # reflected: the lowest bit of the first byte is the highest power

# With y = x^64, one 8-byte word: y^290 + y^136 + y^113 + y^107 + y^32 + 1 is a multiple of P (a
# test proves it), so a word may be XORed onto the words this many places further on and then
# dropped. Found by a search over all sums of six powers below 330; among those the one with the
# longest first step. Squared, the same holds with the places doubled.
STEPS = (290 - 136, 290 - 113, 290 - 107, 290 - 32, 290)
_RESIDUE_WORDS = STEPS[-1]
_CHUNK_WORDS = 1 << 16  # 512 KiB: stays in the second-level cache
_DOUBLINGS = 5  # longest slice: 154 * 2^5 words = 39 KB


def _byte_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _byte_table()


def crc32c(data: bytes | NDArray[np.generic]) -> int:
    """CRC-32C of `data` (bytes or a C-contiguous array, taken as its bytes in memory), unmasked, in
    [0, 2^32).
    """
    octets = (
        np.frombuffer(data, np.uint8)
        if isinstance(data, bytes)
        else data.reshape(-1).view(np.uint8)
    )
    state = 0xFFFFFFFF
    if octets.size >= 4 * _RESIDUE_WORDS * 8:
        odd = octets.size % 8
        state = update(state, octets[:odd].tobytes())
        residue = _fold(octets[odd:].view(np.uint64), state)
        return update(0, residue.tobytes()) ^ 0xFFFFFFFF
    return update(state, octets.tobytes()) ^ 0xFFFFFFFF


def unmask(masked: int) -> int:
    """The CRC behind a masked one; TensorFlow and LevelDB store CRCs rotated and shifted by a
    constant.
    """
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def update(state: int, octets: bytes) -> int:
    """One byte at a time: the definition itself, for what is short."""
    for octet in octets:
        state = _TABLE[(state ^ octet) & 0xFF] ^ (state >> 8)
    return state


def _fold(words: NDArray[np.uint64], state: int) -> NDArray[np.uint64]:
    """The words that, from state 0, leave the same CRC as `words` from `state`; only 290 of
    them.
    """
    buffer = np.zeros(_RESIDUE_WORDS + _CHUNK_WORDS, np.uint64)
    residue = np.zeros(_RESIDUE_WORDS, np.uint64)
    for start in range(0, words.size, _CHUNK_WORDS):
        chunk = words[start : start + _CHUNK_WORDS]
        region = buffer[: _RESIDUE_WORDS + chunk.size]
        region[:_RESIDUE_WORDS] = residue
        region[_RESIDUE_WORDS:] = chunk
        if start == 0:
            region[_RESIDUE_WORDS] ^= np.uint64(
                state
            )  # the state meets the first four bytes, little-endian
        first = 0  # everything before it has been folded away
        for doubling in range(_DOUBLINGS, -1, -1):
            steps = [step << doubling for step in STEPS]
            end = region.size - steps[-1]  # a word from here on has no place to go at this stride
            while first < end:
                stop = min(first + steps[0], end)
                source = region[first:stop]
                for step in steps:
                    target = region[first + step : stop + step]
                    np.bitwise_xor(target, source, out=target)
                first = stop
        residue[:] = region[-_RESIDUE_WORDS:]
    return residue
