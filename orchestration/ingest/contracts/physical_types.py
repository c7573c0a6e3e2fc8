"""The types that a contract may name, and what each is in Avro, Arrow and Postgres.

Add a type here, once, when a plant needs it; every derivation reads this table.
Avoid conversions of values: those belong to decoding.
"""

# pyarrow ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from dataclasses import dataclass

import pyarrow as pa

AvroType = str | dict[str, str]


@dataclass(frozen=True)
class PhysicalType:
    """One contract type in the three systems that hold its values."""

    avro: AvroType
    arrow: pa.DataType
    postgres: str
    logical: str
    """The ODCS logical type that a contract states beside it."""


PHYSICAL_TYPES: dict[str, PhysicalType] = {
    "string": PhysicalType("string", pa.string(), "text", "string"),
    "boolean": PhysicalType("boolean", pa.bool_(), "boolean", "boolean"),
    "int": PhysicalType("int", pa.int32(), "integer", "integer"),
    "long": PhysicalType("long", pa.int64(), "bigint", "integer"),
    "double": PhysicalType("double", pa.float64(), "double precision", "number"),
    "timestamp-micros": PhysicalType(
        {"type": "long", "logicalType": "timestamp-micros"},
        pa.timestamp("us", tz="UTC"),
        "timestamptz",
        "timestamp",
    ),
}
