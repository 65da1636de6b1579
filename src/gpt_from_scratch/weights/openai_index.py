"""The index of a TensorFlow checkpoint, read before TensorFlow sees it.

TensorFlow ends the whole process over an index that describes something impossible, such as a negative dimension,
under a right checksum. What has passed here is what TensorFlow itself writes for float32 tensors.

The file is a table as LevelDB writes them (`tensorflow/core/lib/io/table_format.txt`), of the messages in
`tensorflow/core/protobuf/tensor_bundle.proto`. The tables' checksums are left to TensorFlow.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError, named, reason
from gpt_from_scratch.reading import read_bytes

_LARGEST_INDEX = 2**20  # bytes; the largest GPT-2's has some 20,000
_LONGEST_KEY = 1000
_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5  # how a block is compressed, and its checksum


class _Damaged(ValueError):
    """Says what the table is not."""


def read_index(path: Path) -> dict[str, Any]:
    """Return what the index says of each tensor, a `BundleEntryProto` by name.

    Raises:
        InputError: when the file is missing or anything but an index of one little-endian data file.
    """
    from tensorflow.core.protobuf import tensor_bundle_pb2 as messages

    content = read_bytes(path, _LARGEST_INDEX)
    try:
        table = dict(_read_table(content))
        header = messages.BundleHeaderProto.FromString(table.pop(b"", b""))
        entries = {key.decode("utf-8"): messages.BundleEntryProto.FromString(value) for key, value in table.items()}
    except Exception as error:  # protobuf's own kind is another one in each of its versions
        raise InputError(f"{path}: expected a whole TensorFlow checkpoint, found: {reason(error)}") from None
    if (header.num_shards, header.endianness) != (1, messages.BundleHeaderProto.LITTLE):
        raise InputError(f"{path}: expected one little-endian data file, found {header.num_shards} of them")
    return entries


def check_places(path: Path, entries: dict[str, Any], data_size: int) -> None:
    """Hold where the tensors' bytes lie against the size of the data file.

    Args:
        path: the index, for messages.
        entries: as `read_index` returns them, of float32 tensors.
        data_size: bytes of the data file.

    Raises:
        InputError: naming the tensor.
    """
    for name, entry in entries.items():
        size = 4 * math.prod(dim.size for dim in entry.shape.dim)
        plain = type(entry)(
            dtype=entry.dtype, shape={"dim": [{"size": dim.size} for dim in entry.shape.dim]}, crc32c=entry.crc32c
        )
        plain.offset, plain.size = entry.offset, size
        if entry != plain or not 0 <= entry.offset <= data_size - size:
            raise InputError(
                f"{path}: tensor {named(name)}: expected {size} bytes in one piece of the {data_size} bytes of data, "
                f"found {entry.size} bytes from {entry.offset} on"
            )


def _read_table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield all keys and values, in ascending order of the keys."""
    footer = content[-_FOOTER:]
    if len(footer) < _FOOTER or struct.unpack_from("<Q", footer, _FOOTER - 8) != (_MAGIC,):
        raise _Damaged("not the end of a table")
    _, position = _handle(footer, 0)  # a block that these tables leave empty
    index, _ = _handle(footer, position)
    blocks = [_handle(value, 0)[0] for _, value in _read_block(content, *index)]
    if sum(size for _, size in blocks) > len(content):
        raise _Damaged("blocks that overlap")
    last: bytes | None = None
    for block in blocks:
        for key, value in _read_block(content, *block):
            if last is not None and key <= last:
                raise _Damaged("keys out of order")
            yield key, value
            last = key


def _read_block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield a block's entries: each key is given by how much it shares with the one before, and the rest of it."""
    if offset + size + _TRAILER > len(content) or size < 4:
        raise _Damaged("a block beyond the end of the file")
    if content[offset + size] != 0:
        raise _Damaged("a compressed block")
    block = content[offset : offset + size]
    (count,) = struct.unpack_from("<I", block, size - 4)
    end = size - 4 * (count + 1)
    if count < 1 or end < 0:
        raise _Damaged("a block without its end")
    whole, key, position = set(), b"", 0
    while position < end:
        start = position
        shared, position = _number(block, position, end)
        unshared, position = _number(block, position, end)
        length, position = _number(block, position, end)
        if shared > len(key) or shared + unshared > _LONGEST_KEY or position + unshared + length > end:
            raise _Damaged("an entry that does not fit its block")
        key = key[:shared] + block[position : position + unshared]
        position += unshared + length
        if shared == 0:
            whole.add(start)
        yield key, block[position - length : position]
    # TensorFlow may begin to read at any of these places, and must find no other entries there.
    if end and not whole.issuperset(struct.unpack_from(f"<{count}I", block, end)):
        raise _Damaged("a block that reads differently from another beginning")


def _handle(content: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Return a block's offset and size, and where they end."""
    offset, position = _number(content, position, len(content))
    size, position = _number(content, position, len(content))
    return (offset, size), position


def _number(content: bytes, position: int, end: int) -> tuple[int, int]:
    """Return a number written seven bits a byte, the lowest first, and where it ends."""
    number = 0
    for shift in range(0, 35, 7):
        if position >= end:
            break
        byte = content[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >= 2**32:
                break
            return number, position
    raise _Damaged("no number where one must stand")
