"""CRC-32C checksums of a checkpoint's bytes, and the masked form in which TensorFlow stores them.

The checksum itself is computed by google-crc32c. Source of the mask: TensorFlow
core/lib/hash/crc32c.h.
"""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray


def crc32c(data: bytes | NDArray[np.generic]) -> int:
    """Return the CRC-32C of bytes, or of an array's bytes in C order, in [0, 2^32)."""
    octets: Any = data
    if isinstance(data, np.ndarray):
        octets = np.ascontiguousarray(data).reshape(-1).view(np.uint8)  # read without a copy
    return int(google_crc32c.value(octets))


def unmask(masked: int) -> int:
    """Return the CRC of a masked CRC; TensorFlow stores CRCs rotated, plus a constant."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF
