"""The index of a TensorFlow checkpoint: where in the data file each tensor lies, and its checksum.

What has passed here is what TensorFlow itself writes for float32 tensors; TensorFlow would end the whole process over
an index that describes something impossible, such as a negative dimension, under a right checksum.

The file is a table as LevelDB writes them (`tensorflow/core/lib/io/table_format.txt`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import google_crc32c
from numpy.typing import NDArray

from gpt_from_scratch.errors import InputError, named, reason
from gpt_from_scratch.files.reading import read_bytes
from gpt_from_scratch.weights.openai_entry import Damaged, IndexEntry, read_entry, read_header, read_number

_LARGEST_INDEX = 2**20  # bytes; the largest GPT-2's has some 20,000
_LONGEST_KEY = 1000
_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5  # how a block is compressed, and its checksum


def read_index(path: Path) -> dict[str, IndexEntry]:
    """Return what the index says of each tensor, by name.

    Raises:
        InputError: when the file is missing, damaged, or anything but an index of one little-endian data file.
    """
    content = read_bytes(path, _LARGEST_INDEX)
    try:
        table = dict(read_table(content))
        files, little_endian = read_header(table.pop(b"", b""))
        entries = {key.decode("utf-8"): read_entry(value) for key, value in table.items()}
    except (ValueError, struct.error) as error:
        raise InputError(f"{path}: expected a whole TensorFlow checkpoint, found: {reason(error)}") from None
    if (files, little_endian) != (1, True):
        raise InputError(f"{path}: expected one little-endian data file, found {files} of them")
    return entries


def masked_crc32c(content: bytes | NDArray) -> int:
    """Return the CRC-32C of some bytes as TensorFlow stores it (`tensorflow/core/lib/hash/crc32c.h`)."""
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def check_places(path: Path, entries: Mapping[str, IndexEntry], data_size: int) -> None:
    """Hold where the tensors' bytes lie against the size of the data file.

    Args:
        path: the index, for messages.
        entries: as `read_index` returns them, of float32 tensors.
        data_size: bytes of the data file.

    Raises:
        InputError: naming the tensor.
    """
    for name, entry in entries.items():
        size = 4 * math.prod(entry.shape)
        if not entry.plain or entry.size != size or not 0 <= entry.offset <= data_size - size:
            raise InputError(
                f"{path}: tensor {named(name)}: expected {size} bytes in one piece of the {data_size} bytes of data, "
                f"found {entry.size} bytes from {entry.offset} on"
            )


def read_table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield all keys and values, in ascending order of the keys.

    Raises:
        Damaged: when the file is no such table, or a checksum in it is wrong.
    """
    footer = content[-_FOOTER:]
    if len(footer) < _FOOTER or struct.unpack_from("<Q", footer, _FOOTER - 8) != (_MAGIC,):
        raise Damaged("not the end of a table")
    _, position = _handle(footer, 0)  # a block that these tables leave empty
    index, _ = _handle(footer, position)
    blocks = [_handle(value, 0)[0] for _, value in _read_block(content, *index)]
    if sum(size for _, size in blocks) > len(content):
        raise Damaged("blocks that overlap")
    last: bytes | None = None
    for block in blocks:
        for key, value in _read_block(content, *block):
            if last is not None and key <= last:
                raise Damaged("keys out of order")
            yield key, value
            last = key


def _read_block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield a block's entries: each key is given by how much it shares with the one before, and the rest of it."""
    if offset + size + _TRAILER > len(content) or size < 4:
        raise Damaged("a block beyond the end of the file")
    if content[offset + size] != 0:
        raise Damaged("a compressed block")
    (crc,) = struct.unpack_from("<I", content, offset + size + 1)
    if masked_crc32c(content[offset : offset + size + 1]) != crc:
        raise Damaged("a block whose checksum is another")
    block = content[offset : offset + size]
    (count,) = struct.unpack_from("<I", block, size - 4)
    end = size - 4 * (count + 1)
    if count < 1 or end < 0:
        raise Damaged("a block without its end")
    whole, key, position = set(), b"", 0
    while position < end:
        start = position
        shared, position = read_number(block, position, end)
        unshared, position = read_number(block, position, end)
        length, position = read_number(block, position, end)
        if shared > len(key) or shared + unshared > _LONGEST_KEY or position + unshared + length > end:
            raise Damaged("an entry that does not fit its block")
        key = key[:shared] + block[position : position + unshared]
        position += unshared + length
        if shared == 0:
            whole.add(start)
        yield key, block[position - length : position]
    # TensorFlow may begin to read at any of these places, and must find no other entries there.
    if end and not whole.issuperset(struct.unpack_from(f"<{count}I", block, end)):
        raise Damaged("a block that reads differently from another beginning")


def _handle(content: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Return a block's offset and size, and where they end."""
    offset, position = read_number(content, position, len(content))
    size, position = read_number(content, position, len(content))
    return (offset, size), position
