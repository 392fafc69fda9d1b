"""TensorFlow's checkpoint format: files written by TensorFlow 2.21 (fixtures), and odd ones by a
small writer here.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.errors import CheckpointError
from tamis.gpt2.openai.crc32c import crc32c
from tamis.gpt2.openai.tensor_bundle import TensorBundle

WRITTEN_BY_TENSORFLOW = Path(__file__).parents[2] / "fixtures" / "openai_tiny" / "openai"
INDEX, DATA = "model.ckpt.index", "model.ckpt.data-00000-of-00001"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (INDEX, DATA):
        shutil.copy(WRITTEN_BY_TENSORFLOW / name, tmp_path / name)
    return tmp_path


def read_all(folder: Path) -> dict[str, np.ndarray]:
    bundle = TensorBundle(folder / "model.ckpt")
    return {name: bundle.read(name) for name in bundle.entries}


# A writer of the format, as small as it can be: the blocks' layout and the messages are spelled out
# byte by byte.


def varint(value: int) -> bytes:
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return ((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def block(entries: list[tuple[bytes, bytes]], kind: int = 0) -> bytes:
    content, previous = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(previous), len(key)) and previous[shared] == key[shared]:
            shared += 1
        content += (
            varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        )
        previous = key
    content += (0).to_bytes(4, "little") + (1).to_bytes(4, "little")
    return content + bytes([kind]) + masked(content + bytes([kind]))


def write_index(path: Path, blocks: list[bytes]) -> None:
    data, handles = b"", []
    for one in blocks:
        handles.append(varint(len(data)) + varint(len(one) - 5))
        data += one
    meta = block([])
    meta_handle, data = varint(len(data)) + varint(len(meta) - 5), data + meta
    index = block([(b"key %d" % place, handle) for place, handle in enumerate(handles)])
    footer = meta_handle + varint(len(data)) + varint(len(index) - 5)
    path.write_bytes(data + index + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db"))


HEADER = b"\x08\x01\x1a\x02\x08\x01"  # one shard, version 1


def entry(array: np.ndarray, dtype: int, offset: int) -> bytes:
    shape = b"".join(
        b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(size) for size in array.shape)
    )
    message = b"\x08" + varint(dtype) + b"\x12" + varint(len(shape)) + shape
    return (
        message
        + b"\x20"
        + varint(offset)
        + b"\x28"
        + varint(array.nbytes)
        + b"\x35"
        + masked(array.tobytes())
    )


def test_tensorflows_own_files_are_read_whole() -> None:
    tensors = read_all(WRITTEN_BY_TENSORFLOW)
    assert len(tensors) == 2 + 2 * 12 + 2
    assert tensors["model/h1/mlp/c_fc/w"].shape == (1, 12, 48)
    assert (
        sum(array.nbytes for array in tensors.values())
        == (WRITTEN_BY_TENSORFLOW / DATA).stat().st_size
    )


def test_several_blocks_shared_key_starts_and_other_types_are_read(tmp_path: Path) -> None:
    arrays: dict[bytes, tuple[Any, int]] = {
        b"model/a": (np.arange(6, dtype=np.float32).reshape(1, 2, 3), 1),
        b"model/ab": (np.arange(5, dtype=np.float64), 2),
        b"step": (np.array(7, dtype=np.int64), 9),
        b"steps": (np.zeros((0, 3), np.float16), 19),
    }
    data, entries = b"", [(b"", HEADER)]
    for key, (array, dtype) in arrays.items():
        entries.append((key, entry(array, dtype, len(data))))
        data += array.tobytes()
    write_index(tmp_path / INDEX, [block(entries[:3]), block(entries[3:])])
    (tmp_path / DATA).write_bytes(data)
    tensors = read_all(tmp_path)
    for key, (array, _) in arrays.items():
        np.testing.assert_array_equal(tensors[key.decode()], array, strict=True)


def test_any_flipped_byte_of_the_index_is_noticed(folder: Path) -> None:
    good = (folder / INDEX).read_bytes()
    footer = (
        len(good) - 100
    )  # from about here on no checksum covers what the trailers and the footer say
    for place in [*range(0, footer, 5), *range(footer, len(good))]:
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        (folder / INDEX).write_bytes(bad)
        with pytest.raises(CheckpointError, match=INDEX):
            TensorBundle(folder / "model.ckpt")


def test_a_flipped_byte_of_the_data_names_its_tensor(folder: Path) -> None:
    good = (folder / DATA).read_bytes()
    entries = TensorBundle(folder / "model.ckpt").entries
    assert len(good) == sum(one.size for one in entries.values())
    for name, one in entries.items():
        for place in (one.offset, one.offset + one.size // 2, one.offset + one.size - 1):
            bad = bytearray(good)
            bad[place] ^= 0x80
            (folder / DATA).write_bytes(bad)
            with pytest.raises(
                CheckpointError, match=rf"tensor {name} .* does not match the CRC-32C"
            ):
                TensorBundle(folder / "model.ckpt").read(name)


def test_a_truncated_index_is_noticed_at_any_length(folder: Path) -> None:
    good = (folder / INDEX).read_bytes()
    for length in range(0, len(good), 7):
        (folder / INDEX).write_bytes(good[:length])
        with pytest.raises(CheckpointError, match="truncated or altered; download it again"):
            read_all(folder)


def test_truncated_data_is_noticed_before_any_tensor_is_read(folder: Path) -> None:
    good = (folder / DATA).read_bytes()
    (folder / DATA).write_bytes(good[:-1])
    with pytest.raises(CheckpointError, match=r"expected 28,320 bytes of tensors, got 28,319"):
        TensorBundle(folder / "model.ckpt")


@pytest.mark.parametrize("name", [INDEX, DATA])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name}: .* no such file"):
        TensorBundle(folder / "model.ckpt")


def test_an_unknown_tensor_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        CheckpointError, match=r"expected a tensor 'model/wtf', got \['model/h0/attn/c_attn/b'"
    ):
        TensorBundle(WRITTEN_BY_TENSORFLOW / "model.ckpt").read("model/wtf")


def test_what_openai_never_wrote_is_refused_by_name(tmp_path: Path) -> None:
    array = np.arange(3, dtype=np.float32)
    (tmp_path / DATA).write_bytes(array.tobytes())
    good = entry(array, 1, 0)
    for entries, kind, words in [
        ([(b"", HEADER), (b"x", good)], 1, r"compressed \(type 1\)"),
        ([(b"", HEADER + b"\x10\x01"), (b"x", good)], 0, "got big-endian ones"),
        ([(b"", HEADER), (b"x", good + b"\x3a\x00")], 0, "a sliced tensor"),
        ([(b"x", good)], 0, "not an index of tensors"),
        ([(b"", HEADER), (b"x", entry(array, 7, 0))], 0, "x has TensorFlow type 7"),
        (
            [(b"", HEADER), (b"x", entry(array, 2, 0))],
            0,
            r"x of shape \[3\] needs 24 bytes, but the index states 12",
        ),
        ([(b"", HEADER), (b"x", b"\x0b")], 0, "wire type 3"),
    ]:
        write_index(tmp_path / INDEX, [block(entries, kind)])
        with pytest.raises(CheckpointError, match=words):
            read_all(tmp_path)
