"""The Arrow schema of a contract: the one shape of the raw table and of the lake table.

Add a system column here when every landed row needs it (and a migration of the existing tables).
Avoid anything about files or tables: the lake and the DDL read this.
"""

# pyarrow ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from dataclasses import dataclass

import pyarrow as pa

from orchestration.ingest.contracts.model import TopicContract
from orchestration.ingest.contracts.physical_types import PHYSICAL_TYPES


@dataclass(frozen=True)
class SystemColumn:
    """A column that landing adds to every row, before the contract's fields. Never null.

    Attributes:
        name: Name in Postgres and in the lake.
        arrow: Type in the lake and in memory.
        postgres: Type in Postgres.
        description: What it says.
        default: Function that gives Postgres the value that all rows of a load share; None where each
            row has its own.
    """

    name: str
    arrow: pa.DataType
    postgres: str
    description: str
    default: str | None = None


SYSTEM_COLUMNS: tuple[SystemColumn, ...] = (
    SystemColumn(
        "batch_id", pa.int64(), "bigint", "Row of ops.landing_ledger that this row came with.", "load_bigint"
    ),
    # 16 raw bytes: Postgres' binary COPY takes them as a uuid, Iceberg as fixed[16]; polars and duckdb
    # read them without the Arrow uuid extension.
    SystemColumn("topic_id", pa.binary(16), "uuid", "Kafka's own UUID of the topic.", "load_uuid"),
    SystemColumn(
        "kafka_partition", pa.int32(), "integer", "Partition that the message came from.", "load_integer"
    ),
    SystemColumn("kafka_offset", pa.int64(), "bigint", "Offset of the message in its partition."),
    SystemColumn(
        "known_at",
        pa.timestamp("us", tz="UTC"),
        "timestamptz",
        "When the plant could have known: the message's known_at header, else landed_at.",
        "load_instant",
    ),
    SystemColumn(
        "landed_at",
        pa.timestamp("us", tz="UTC"),
        "timestamptz",
        "When the row's batch was landed.",
        "load_instant",
    ),
)


def arrow_schema(contract: TopicContract) -> pa.Schema:
    """Schema of `raw.<table>` and `bronze.<table>`.

    Args:
        contract: Contract of the topic.

    Returns:
        The system columns, then the contract's fields in the contract's order. System columns and
        required fields are non-nullable. Columns that were added to an existing raw table stand last
        there, so write to it by column name.
    """
    system = [
        pa.field(column.name, column.arrow, nullable=False, metadata={"doc": column.description})
        for column in SYSTEM_COLUMNS
    ]
    fields = [
        pa.field(
            field.name,
            PHYSICAL_TYPES[field.physical_type].arrow,
            nullable=not field.is_required,
            metadata={"doc": field.description},
        )
        for field in contract.fields
    ]
    return pa.schema(system + fields)
