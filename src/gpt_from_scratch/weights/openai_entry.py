"""Entries of a TensorFlow checkpoint's index: its data file, and each tensor in it.

The messages are those of `tensorflow/core/protobuf/tensor_bundle.proto`. Reading these few fields takes less than
importing TensorFlow, which costs seconds and some 600 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TYPES = {1: "float32", 2: "float64", 3: "int32", 7: "string", 9: "int64", 14: "bfloat16", 19: "float16"}


class Damaged(ValueError):
    """Says what the index is not."""


@dataclass(frozen=True)
class IndexEntry:
    """One tensor.

    Attributes:
        type: name of TensorFlow's type.
        shape: as stored.
        offset, size: where its bytes lie in the data file.
        crc32c: checksum of those bytes, masked as TensorFlow masks it.
        plain: whether that is all there is to know: one piece in the first data file.
    """

    type: str
    shape: tuple[int, ...]
    offset: int
    size: int
    crc32c: int
    plain: bool


def read_entry(message: bytes) -> IndexEntry:
    """Read a `BundleEntryProto`.

    Raises:
        Damaged: when it is no such message.
    """
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    plain = True
    for field, value in _fields(message):
        if field == 2 and isinstance(value, bytes):
            shape, known = _read_shape(value)
            plain = plain and known
        elif isinstance(value, int) and field not in numbers:
            numbers[field] = value
        else:
            plain = False
    type_number, offset, size, crc32c = (numbers.pop(field, 0) for field in (1, 4, 5, 6))
    # What is left must be nothing, or the number of the first data file.
    plain = plain and numbers in ({}, {3: 0})
    return IndexEntry(_TYPES.get(type_number, f"type {type_number}"), shape, offset, size, crc32c, plain)


def read_header(message: bytes) -> tuple[int, bool]:
    """Read a `BundleHeaderProto`: the number of data files, and whether they are little-endian.

    Raises:
        Damaged: when it is no such message.
    """
    fields = dict(_fields(message))
    files = fields.get(1, 0)
    if not isinstance(files, int):
        raise Damaged("no number where one must stand")
    return files, fields.get(2, 0) == 0


def read_number(content: bytes, position: int, end: int, bits: int = 32) -> tuple[int, int]:
    """Return a number written seven bits a byte, the lowest first, and where it ends.

    Raises:
        Damaged: when none that fits `bits` ends before `end`.
    """
    number = 0
    for shift in range(0, bits, 7):
        if position >= end:
            break
        byte = content[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >= 2**bits:
                break
            return number, position
    raise Damaged("no number where one must stand")


def _read_shape(message: bytes) -> tuple[tuple[int, ...], bool]:
    """Return a `TensorShapeProto`'s sizes, and whether it says nothing else."""
    sizes, plain = [], True
    for field, value in _fields(message):
        if field != 2 or not isinstance(value, bytes):
            plain = False
            continue
        dim = list(_fields(value))
        size = dict(dim).get(1, 0)
        plain = plain and len(dim) <= 1 and isinstance(size, int) and all(number == 1 for number, _ in dim)
        sizes.append(size if isinstance(size, int) else 0)
    return tuple(sizes), plain


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield a message's fields by their numbers: integers, negative ones as signed 64-bit, or bytes."""
    position, end = 0, len(message)
    while position < end:
        tag, position = read_number(message, position, end)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = read_number(message, position, end, bits=64)
            yield field, value - 2**64 if value >= 2**63 else value
        elif kind in (_BYTES, _FIXED32, _FIXED64):
            length = {_FIXED32: 4, _FIXED64: 8}.get(kind, 0)
            if kind == _BYTES:
                length, position = read_number(message, position, end)
            if position + length > end:
                raise Damaged("a field beyond the end of its message")
            value = message[position : position + length]
            position += length
            yield field, value if kind == _BYTES else int.from_bytes(value, "little")
        else:
            raise Damaged(f"a field of kind {kind}")
