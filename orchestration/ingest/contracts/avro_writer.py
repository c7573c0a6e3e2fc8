"""Writes the datums of contract records: flat, of six types; three times as fast as a general Avro writer.

Add a type here when `physical_types` gains one. Avoid nesting, unions other than [null, T], and reading:
contracts have none of the first two, and fastavro reads. The tests hold it equal to fastavro byte by byte.
Source of the encoding: Apache Avro 1.12 specification, section "Binary Encoding".
"""

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

from orchestration.ingest.contracts.model import ContractError
from orchestration.ingest.contracts.physical_types import AvroType

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NULL_BRANCH, VALUE_BRANCH = b"\x00", b"\x02"  # indexes 0 and 1 of the union [null, T], as zigzag
SHORT = 64  # characters; longer texts rarely come again and would fill the memory
Write = Callable[[Any], bytes]
_pack_double = struct.Struct("<d").pack


def compile_writer(schema: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bytes]:
    """A function that writes records of one contract's schema.

    Args:
        schema: Avro schema from `avro.derive_schema`.

    Returns:
        A function from record to datum. It raises `ContractError`, naming the field, where a field is
        missing, unknown, of the wrong type or out of the type's range.
    """
    fields: list[tuple[str, Write, bool]] = []
    for field in schema["fields"]:
        kind: Any = field["type"]
        is_optional = isinstance(kind, list)
        avro = cast("AvroType", kind[1] if is_optional else kind)
        label = avro if isinstance(avro, str) else avro["logicalType"]
        fields.append((str(field["name"]), WRITERS[label], is_optional))
    names = {name for name, _, _ in fields}

    def write_record(record: Mapping[str, Any]) -> bytes:
        if not record.keys() <= names:
            unknown = ", ".join(sorted(map(str, record.keys() - names)))
            raise ContractError(f"field {unknown} is not in the contract; the record is {dict(record)!r}")
        parts: list[bytes] = []
        name, value = "", None
        try:
            for name, write, is_optional in fields:
                value = record.get(name)
                if is_optional:
                    if value is None:
                        parts.append(NULL_BRANCH)
                        continue
                    parts.append(VALUE_BRANCH)
                parts.append(write(value))
        except (TypeError, AttributeError, ValueError, OverflowError, struct.error) as error:
            raise ContractError(
                f"field {name!r}: {_reason(value, error)}; the record is {dict(record)!r}"
            ) from error
        return b"".join(parts)

    return write_record


def _reason(value: object, error: Exception) -> str:
    if value is None:
        return "is required and missing"
    if isinstance(value, datetime) and value.tzinfo is None:
        # Taken as local time it would shift data between two machines that run the same code.
        return f"{value} names no time zone; use an aware datetime (UTC)"
    return f"{value!r} ({type(value).__name__}) cannot be written: {error}"


def write_long(value: int) -> bytes:
    """A number of 64 bits as Avro and Kafka's records write it: zigzag, then seven bits a byte, lowest first.

    >>> write_long(-65).hex()
    '8101'
    """
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _write_checked(value: Any, bits: int) -> bytes:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise ValueError(f"does not fit {bits} bits")
    return write_long(value)


def _write_string(value: str) -> bytes:
    return _write_short(value) if len(value) < SHORT else _write_text(value)


def _write_text(value: str) -> bytes:
    data = value.encode()
    return write_long(len(data)) + data


# Tenants, machines and codes come again with every record, and all machines of an instant share it.
_write_short = lru_cache(maxsize=4096)(_write_text)


def _write_double(value: float) -> bytes:
    if value is True or value is False:
        raise TypeError("not a number")
    return _pack_double(value)


def _write_boolean(value: bool) -> bytes:
    if value is True:
        return b"\x01"
    if value is False:
        return b"\x00"
    raise TypeError("not a boolean")


@lru_cache(maxsize=4096)
def _write_instant(value: datetime) -> bytes:
    since = value - EPOCH
    return write_long((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


WRITERS: dict[str, Write] = {
    "string": _write_string,
    "boolean": _write_boolean,
    "int": lambda value: _write_checked(value, 32),
    "long": lambda value: _write_checked(value, 64),
    "double": _write_double,
    "timestamp-micros": _write_instant,
}
