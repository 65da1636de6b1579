"""Writes the index of a TensorFlow checkpoint with right checksums, whatever it says; see `weights/openai_index.py`."""

from __future__ import annotations

import struct
from collections.abc import Sequence

MAGIC = 0xDB4775248B80FB57


def table(
    entries: Sequence[tuple[bytes, bytes]],
    *,
    restarts: Sequence[int] = (0,),
    handles: Sequence[tuple[int, int]] | None = None,
    compression: int = 0,
) -> bytes:
    """Return a table of one block.

    Args:
        entries: keys and values.
        restarts: where in the block reading may begin.
        handles: offset and size of each block as the table says it; the truth if None.
        compression: how the table says the block is compressed.
    """
    content = bytearray()
    data = _append(content, _block([(0, key, value) for key, value in entries], restarts), compression)
    index = [(0, b"\xff" * number, number_pair(*handle)) for number, handle in enumerate(handles or [data], start=1)]
    empty = _append(content, _block([], (0,)))
    footer = number_pair(*empty) + number_pair(*_append(content, _block(index, (0,))))
    return bytes(content + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC))


def growing_keys(count: int) -> bytes:
    """Return a table in which every key is the one before and some letters more."""
    content = bytearray()
    data = _append(content, _block([(300 * n, b"k" * 300, b"") for n in range(count)], (0,)))
    empty = _append(content, _block([], (0,)))
    footer = number_pair(*empty) + number_pair(*_append(content, _block([(0, b"\xff", number_pair(*data))], (0,))))
    return bytes(content + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC))


def number(value: int) -> bytes:
    """Return a number as protobuf and LevelDB write it, seven bits a byte."""
    value &= 2**64 - 1
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*content, value])


def number_pair(first: int, second: int) -> bytes:
    """Return where a block lies, as the tables say it."""
    return number(first) + number(second)


def masked_crc(content: bytes) -> int:
    """Return CRC-32C as TensorFlow stores it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC = [_crc_of(byte) for byte in range(256)]


def _block(entries: Sequence[tuple[int, bytes, bytes]], restarts: Sequence[int]) -> bytes:
    """Return a block of entries: how much of the key before is kept, what follows it, and the value."""
    content = b"".join(
        number(shared) + number(len(rest)) + number(len(value)) + rest + value for shared, rest, value in entries
    )
    return content + struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))


def _append(content: bytearray, block: bytes, compression: int = 0) -> tuple[int, int]:
    start = len(content)
    content += block + bytes([compression])
    content += struct.pack("<I", masked_crc(block + bytes([compression])))
    return start, len(block)
