"""Compression of record batches, and the numbers that formats of variable length begin with.

Add a codec here. Avoid what was compressed: `kafka_records` knows it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import struct
from collections.abc import Iterable
from functools import partial

import pyarrow as pa

CODECS = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
SNAPPY_MAGIC, SNAPPY_HEAD = b"\x82SNAPPY\x00", 16  # Java's framing: blocks with their sizes
GOES_ON, LOW_BITS, VARINT_BITS = 0x80, 0x7F, 7


def decompressed(content: memoryview, codec: int) -> bytes:
    """The records of a batch.

    Args:
        content: What stands behind the batch's head.
        codec: Number of the compression; 0 is none.

    Raises:
        ValueError: The number is unknown, or the bytes are damaged.
        OSError: The bytes are damaged.
    """
    if not codec:
        return bytes(content)
    name = CODECS.get(codec)
    if name is None:
        raise ValueError(f"compression {codec} is unknown")
    if name == "snappy":
        return _unsnapped(bytes(content))
    with pa.CompressedInputStream(pa.BufferReader(pa.py_buffer(content)), name) as stream:
        return stream.read()


def _unsnapped(content: bytes) -> bytes:
    """Snappy says the size before each block; Java's clients frame several blocks."""
    blocks: list[bytes] = []
    if content.startswith(SNAPPY_MAGIC):
        place = SNAPPY_HEAD
        while place < len(content):
            (size,) = struct.unpack_from(">i", content, place)
            blocks.append(content[place + 4 : place + 4 + size])
            place += 4 + size
    else:
        blocks.append(content)
    sizes = [unsigned(block)[0] for block in blocks]
    return b"".join(map(partial(pa.decompress, codec="snappy", asbytes=True), blocks, sizes))


def unsigned(content: Iterable[int]) -> tuple[int, int]:
    """The number at the begin of some bytes, and how many of them it takes.

    Raises:
        ValueError: They end before the number does.
    """
    number = shift = size = 0
    for size, byte in enumerate(content, 1):
        number |= (byte & LOW_BITS) << shift
        shift += VARINT_BITS
        if byte < GOES_ON:
            return number, size
    raise ValueError("a number has no end")
