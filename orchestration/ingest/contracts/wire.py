"""The Confluent wire format: one zero byte, the schema id in four bytes, the Avro datum.

Add here what concerns these five bytes. Avoid the datum itself: `avro` reads and writes it.
Source: Confluent's "Schema Registry serializers and deserializers", section wire format.
"""

import struct

from orchestration.ingest.contracts.model import ContractError

MAGIC = 0
PREFIX = struct.Struct(">bI")


def frame_prefix(schema_id: int) -> bytes:
    """The five bytes that stand before a datum.

    >>> frame_prefix(101).hex()
    '0000000065'
    """
    return PREFIX.pack(MAGIC, schema_id)


def unframe(payload: bytes) -> tuple[int, bytes]:
    """Schema id and datum of a message.

    Raises:
        ContractError: The payload is shorter than the prefix or does not start with the zero byte.
    """
    if len(payload) < PREFIX.size:
        raise ContractError(f"payload of {len(payload)} bytes is shorter than the wire format's prefix of 5")
    magic, schema_id = PREFIX.unpack_from(payload)
    if magic != MAGIC:
        raise ContractError(f"payload starts with byte {magic}, not with 0: it is not in the wire format")
    return schema_id, payload[PREFIX.size :]
