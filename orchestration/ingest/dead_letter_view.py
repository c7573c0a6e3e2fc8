"""What can still be read of a refused message: its bytes as hex, and its fields up to the fault.

Add a format here when refused messages of it should be explained. Avoid landing: `dead_letters` replays.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from orchestration.ingest.contracts import MessageFormat, TopicContract
from orchestration.ingest.contracts.avro import AvroSchema
from orchestration.ingest.contracts.model import ContractError
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.contracts.wire import PREFIX, unframe
from orchestration.ingest.intake.refused import refused_values

BYTES_PER_LINE = 16


@dataclass(frozen=True)
class PartialDecode:
    """How far a payload can be read.

    Attributes:
        fields: Fields that could be read, in order.
        note: Where reading ended, and why.
    """

    fields: dict[str, Any]
    note: str


def hex_lines(payload: bytes, limit: int = 512) -> Iterator[str]:
    """Lines of offset, hex and printable characters; at most `limit` bytes.

    >>> next(hex_lines(bytes([0, 0, 0, 0, 101]) + b"pump"))
    '00000000  00 00 00 00 65 70 75 6d 70                       ....epump'
    """
    for start in range(0, min(len(payload), limit), BYTES_PER_LINE):
        part = payload[start : start + BYTES_PER_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{start:08x}  {part.hex(' '):<{BYTES_PER_LINE * 3}} {text}"
    if len(payload) > limit:
        yield f"… {len(payload) - limit} more bytes"


def partial_decode(payload: bytes, contract: TopicContract, catalog: SchemaCatalog) -> PartialDecode:
    """Read as much of a payload as is readable."""
    if (values := refused_values(payload)) is not None:
        return PartialDecode(
            values, "a row as its source had it, which intake refused; a replay reads it anew"
        )
    if contract.format is MessageFormat.JSON:
        text = payload.decode("utf-8", errors="backslashreplace")
        return PartialDecode({"text": text}, "shown as text; bytes that are no UTF-8 as \\x…")
    try:
        schema_id, datum = unframe(payload)
        schema = catalog.schema_by_id(schema_id).schema
    except ContractError as error:
        return PartialDecode({}, str(error))
    return _avro_fields(schema, datum)


def _avro_fields(schema: AvroSchema, datum: bytes) -> PartialDecode:
    import fastavro

    buffer = io.BytesIO(datum)
    fields: dict[str, Any] = {}
    for item in cast("list[dict[str, Any]]", schema["fields"]):
        start = buffer.tell()
        single = {"type": "record", "name": "one", "fields": [{"name": item["name"], "type": item["type"]}]}
        try:
            parsed: Any = fastavro.parse_schema(single)
            found = cast("dict[str, Any]", fastavro.schemaless_reader(buffer, parsed, None))
        except (ValueError, TypeError, EOFError, IndexError, OverflowError, UnicodeError) as error:
            place = PREFIX.size + start
            return PartialDecode(fields, f"unreadable from field {item['name']} (byte {place}): {error!r}")
        fields[item["name"]] = found[item["name"]]
    rest = len(datum) - buffer.tell()
    return PartialDecode(fields, f"{rest} bytes follow the last field" if rest else "every byte was read")
