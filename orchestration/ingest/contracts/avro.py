"""The Avro schema of a contract, and whether data written with an older one stays readable.

Add to the derivation here. Avoid schema ids (`schema_ids`) and Kafka: this knows datums alone.
"""

# pyright: reportUnknownMemberType=false
# (fastavro types its arguments in part)

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from orchestration.ingest.contracts.avro_writer import compile_writer
from orchestration.ingest.contracts.model import ContractError, ContractField, TopicContract
from orchestration.ingest.contracts.physical_types import PHYSICAL_TYPES, AvroType

NAMESPACE = "opsgraph"
AvroSchema = dict[str, Any]


def derive_schema(contract: TopicContract) -> AvroSchema:
    """Avro record schema of a contract.

    Descriptions stay out of it: better wording must not cost a new schema id. Enums stay strings,
    since an Avro enum could not be extended without breaking older readers; the contract's rules
    check them.

    Returns:
        The schema as the JSON object that Avro defines.
    """
    return {
        "type": "record",
        "name": contract.table,
        "namespace": NAMESPACE,
        "fields": [_field_schema(field) for field in contract.fields],
    }


def _field_schema(field: ContractField) -> dict[str, Any]:
    avro = PHYSICAL_TYPES[field.physical_type].avro
    if field.is_required:
        return {"name": field.name, "type": avro}
    return {"name": field.name, "type": ["null", avro], "default": None}


@dataclass(frozen=True)
class _Column:
    avro: AvroType
    is_nullable: bool


def _columns(schema: AvroSchema) -> dict[str, _Column]:
    columns: dict[str, _Column] = {}
    for field in cast("list[dict[str, Any]]", schema["fields"]):
        kind: Any = field["type"]
        is_nullable = isinstance(kind, list)
        avro = cast("AvroType", kind[1] if is_nullable else kind)
        columns[str(field["name"])] = _Column(avro, is_nullable)
    return columns


def unreadable_changes(writer: AvroSchema, reader: AvroSchema) -> list[str]:
    """Why rows written with one schema could not be read, whole, as another.

    Args:
        writer: Schema that the data was written with.
        reader: Schema that it is to be read with.

    Returns:
        One reason per field; empty when every value survives. Adding an optional field and making a
        required one optional are the two changes that pass.
    """
    old, new = _columns(writer), _columns(reader)
    reasons: list[str] = []
    for name, column in old.items():
        if name not in new:
            reasons.append(f"field {name!r} was removed; keep it and make it optional")
        elif new[name].avro != column.avro:
            reasons.append(
                f"field {name!r} changed its type from {_label(column.avro)} to {_label(new[name].avro)}; "
                "add a field of another name"
            )
        elif column.is_nullable and not new[name].is_nullable:
            reasons.append(f"field {name!r} became required; older rows may hold null")
    reasons.extend(
        f"field {name!r} is new and required; make it optional"
        for name, column in new.items()
        if name not in old and not column.is_nullable
    )
    return reasons


def _label(avro: AvroType) -> str:
    return avro if isinstance(avro, str) else avro["logicalType"]


@lru_cache(maxsize=256)
def _parsed(schema_json: str) -> Any:
    import fastavro

    return fastavro.parse_schema(json.loads(schema_json))


def encode_datum(schema: AvroSchema, record: Mapping[str, Any]) -> bytes:
    """Write one record as an Avro datum; a producer of many compiles the writer once instead.

    Args:
        schema: Schema of a contract.
        record: Field name to value; instants are timezone-aware datetimes. Optional fields may be left out.

    Raises:
        ContractError: A field is missing, unknown, of the wrong type, or an instant names no time zone.
    """
    return compile_writer(schema)(record)


def decode_datum(writer: AvroSchema, datum: bytes, reader: AvroSchema | None = None) -> dict[str, Any]:
    """Read one Avro datum.

    Args:
        writer: Schema that the datum was written with.
        datum: Exactly one datum; trailing bytes are refused, since they mean a shifted boundary.
        reader: Schema to read it as; the writer's own by default.

    Raises:
        ContractError: The datum is truncated, has trailing bytes, or does not fit the schema.
    """
    import fastavro

    buffer = io.BytesIO(datum)
    try:
        record = fastavro.schemaless_reader(
            buffer, _parsed(json.dumps(writer)), _parsed(json.dumps(reader)) if reader else None
        )
    except (ValueError, TypeError, EOFError, IndexError, OverflowError, UnicodeError) as error:
        # Not the error's repr: that of a UnicodeDecodeError repeats the text, which may be personal.
        reason = f"{type(error).__name__}: {error}"
        raise ContractError(f"datum of {len(datum)} bytes does not fit {writer['name']}: {reason}") from error
    if buffer.tell() != len(datum):
        raise ContractError(
            f"datum of {len(datum)} bytes ends at byte {buffer.tell()} as {writer['name']}: "
            "the rest belongs to no field"
        )
    return cast("dict[str, Any]", record)
