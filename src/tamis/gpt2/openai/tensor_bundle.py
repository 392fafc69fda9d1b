"""Reads TensorFlow's checkpoint format V2 ("tensor bundle") without TensorFlow; the CRC of every
byte read is checked.

`<prefix>.index` is a LevelDB table of protocol buffers; `<prefix>.data-*` hold the raw tensors.
Independent of GPT-2. Sources: tensorflow core/util/tensor_bundle/tensor_bundle.{h,cc},
core/protobuf/tensor_bundle.proto, core/lib/io/format.cc; leveldb doc/table_format.md;
protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.errors import CheckpointError
from tamis.gpt2.openai.crc32c import crc32c, unmask

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER_BYTES = 48  # two block handles of up to 20 bytes each, zeros, the magic number
_TRAILER_BYTES = 5  # compression type, masked CRC
_DTYPES: Mapping[int, str] = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    9: "<i8",
    19: "<f2",
}  # types.proto: DT_FLOAT is 1, ...
_REMEDY = "the file is truncated or altered; download it again"


@dataclass(frozen=True)
class TensorEntry:
    """Position, size (bytes), type and shape of one tensor: BundleEntryProto."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int


class TensorBundle:
    """One checkpoint, given by its prefix (`folder/model.ckpt`): the index is in memory, tensors
    are read one by one.
    """

    def __init__(self, prefix: Path) -> None:
        """Read and check the index, and compare the lengths of the data files with it.

        Raises:
            CheckpointError: the index or a data file is missing, truncated or altered, **or** it
                uses features that OpenAI's checkpoints do not have (compressed blocks, big-endian
                or sliced tensors).
        """
        self._prefix = prefix
        self.index_path = prefix.with_name(prefix.name + ".index")
        self.entries: dict[str, TensorEntry] = {}
        table = dict(_read_table(self.index_path))
        try:
            header = _read_message(table.pop(b""))
            if _last(header, 2):
                raise CheckpointError(
                    f"{self.index_path}: expected little-endian tensors, got big-endian ones"
                )
            self._shards = _last(header, 1)
            for key, value in table.items():
                self.entries[key.decode("utf-8")] = _entry(_read_message(value))
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise CheckpointError(
                f"{self.index_path}: not an index of tensors ({error!r}); {_REMEDY}"
            ) from error
        self._check_lengths()

    def read(self, name: str) -> NDArray[np.generic]:
        """Return the tensor as an array of its shape and type.

        Raises:
            CheckpointError: there is no such tensor, **or** its type is not a plain number, **or**
                its bytes do not match the CRC in the index.
        """
        if name not in self.entries:
            raise CheckpointError(
                f"{self.index_path}: expected a tensor {name!r}, got {sorted(self.entries)}"
            )
        entry = self.entries[name]
        if entry.dtype not in _DTYPES:
            raise CheckpointError(
                f"{self.index_path}: {name} has TensorFlow type {entry.dtype}, expected float32"
            )
        dtype = np.dtype(_DTYPES[entry.dtype])
        count = int(np.prod(entry.shape, dtype=object))
        if count * dtype.itemsize != entry.size:
            raise CheckpointError(
                f"{self.index_path}: {name} of shape {list(entry.shape)} needs "
                f"{count * dtype.itemsize:,} bytes, but the index states {entry.size:,}; "
                f"{_REMEDY}"
            )
        path = self._data_path(entry.shard)
        array: NDArray[np.generic] = np.fromfile(path, dtype, count, offset=entry.offset)
        if array.size != count or crc32c(array) != entry.crc32c:
            raise CheckpointError(
                f"{path}: tensor {name} ({entry.size:,} bytes from byte {entry.offset:,}) does "
                f"not match the CRC-32C {entry.crc32c:08x} in the index; {_REMEDY}"
            )
        return array.reshape(entry.shape)

    def _data_path(self, shard: int) -> Path:
        return self._prefix.with_name(f"{self._prefix.name}.data-{shard:05d}-of-{self._shards:05d}")

    def _check_lengths(self) -> None:
        """Check that every data file exists and is long enough for its last tensor."""
        for shard in sorted({entry.shard for entry in self.entries.values()}):
            path = self._data_path(shard)
            needed = max(e.offset + e.size for e in self.entries.values() if e.shard == shard)
            if not path.is_file():
                raise CheckpointError(
                    f"{path}: expected the tensors ({needed:,} bytes), found no such file; "
                    "download it"
                )
            if (length := path.stat().st_size) < needed:
                raise CheckpointError(
                    f"{path}: expected {needed:,} bytes of tensors, got {length:,}; {_REMEDY}"
                )


def _entry(message: dict[int, list[int | bytes]]) -> TensorEntry:
    if 7 in message:
        raise ValueError("a sliced tensor")
    dimensions = _read_message(_bytes(message.get(2, [b""])[-1])).get(2, [])
    return TensorEntry(
        dtype=_last(message, 1),
        shape=tuple(_last(_read_message(_bytes(dimension)), 1) for dimension in dimensions),
        shard=_last(message, 3),
        offset=_last(message, 4),
        size=_last(message, 5),
        crc32c=unmask(_last(message, 6)),
    )


# The LevelDB table.


def _read_table(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield all (key, value) pairs of a table file, in order.

    Every byte of the file is checked, so that no altered byte is missed.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: expected the index of a TensorFlow checkpoint, found no such file"
        ) from None
    footer = data[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or footer[-8:] != _MAGIC:
        raise CheckpointError(
            f"{path}: expected {_MAGIC.hex()} at the end, got {footer[-8:].hex()}; {_REMEDY}"
        )
    try:
        meta, at = _read_handle(footer, 0)
        index, at = _read_handle(footer, at)
        if any(footer[at:-8]):
            raise ValueError("the footer's padding is not zero")
        handles = [_read_handle(value, 0)[0] for _, value in _read_block(data, index)]
        end = 0  # blocks are contiguous, from the first byte to the footer
        for offset, size in [*handles, meta, index]:
            if offset != end:
                raise ValueError(f"a block at byte {offset}, expected one at {end}")
            end = offset + size + _TRAILER_BYTES
        if end != len(data) - _FOOTER_BYTES:
            raise ValueError(f"blocks end at byte {end} of {len(data) - _FOOTER_BYTES}")
        _read_block(data, meta)
        for handle in handles:
            yield from _read_block(data, handle)
    except (ValueError, IndexError) as error:
        raise CheckpointError(f"{path}: {error}; {_REMEDY}") from error


def _read_block(data: bytes, handle: tuple[int, int]) -> list[tuple[bytes, bytes]]:
    """Return the entries of one block; each key is stored without the prefix it shares with the
    previous one.
    """
    offset, size = handle
    block, trailer = (
        data[offset : offset + size],
        data[offset + size : offset + size + _TRAILER_BYTES],
    )
    if len(trailer) < _TRAILER_BYTES or size < 4:
        raise ValueError(f"a block of {size} bytes at byte {offset} of {len(data)}")
    if crc32c(block + trailer[:1]) != unmask(int.from_bytes(trailer[1:], "little")):
        raise ValueError(f"the block at byte {offset} does not match its CRC-32C")
    if trailer[0]:
        raise ValueError(
            f"the block at byte {offset} is compressed (type {trailer[0]}), expected an "
            "uncompressed one"
        )
    end = (
        size - 4 - 4 * int.from_bytes(block[-4:], "little")
    )  # restart points are needed only for searching
    entries, key, at = [], b"", 0
    while at < end:
        shared, at = _read_varint(block, at)
        unshared, at = _read_varint(block, at)
        length, at = _read_varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        entries.append((key, block[at : at + length]))
        at += length
    if at != end:
        raise ValueError(f"the entries of the block at byte {offset} end at {at}, expected {end}")
    return entries


def _read_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _read_varint(data, at)
    size, at = _read_varint(data, at)
    return (offset, size), at


# The wire format of protocol buffers.


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number stored in groups of seven bits, lowest first, and the position after it."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number of more than 64 bits at byte {at}")


def _read_message(data: bytes) -> dict[int, list[int | bytes]]:
    """Return field number -> values in order: numbers as int, strings and messages as bytes."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        value: int | bytes
        if tag & 7 == 0:
            value, at = _read_varint(data, at)
        else:
            if tag & 7 == 2:
                length, at = _read_varint(data, at)
            elif tag & 7 in {1, 5}:
                length = 8 if tag & 7 == 1 else 4
            else:
                raise ValueError(f"wire type {tag & 7}")
            value, at = data[at : at + length], at + length
            if at > len(data):
                raise ValueError(f"a field of {length} bytes extends beyond the end")
            if tag & 7 != 2:
                value = int.from_bytes(value, "little")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _last(message: dict[int, list[int | bytes]], field: int) -> int:
    """Return a number field: the last value counts, a missing field is 0."""
    value = message.get(field, [0])[-1]
    if not isinstance(value, int):
        raise TypeError(f"field {field} is not a number")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("expected a message, got a number")
    return value
