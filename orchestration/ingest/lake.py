"""The Iceberg lake: its tables, and how far each one has come.

A snapshot's summary says which offsets the table has reached; that alone is the lake's position. Add
table properties here. Avoid files: `lake_writer` writes them.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.ingest.contracts import TopicContract, arrow_schema

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

CATALOG = "opsgraph"
NAMESPACE = "bronze"
OFFSETS = "opsgraph.offsets"
REPLAYS = "opsgraph.replays"
DAY_FIELD_ID = 1000  # Iceberg numbers partition fields from here

PartitionKey = tuple[uuid.UUID, int]


@dataclass(frozen=True)
class LakePosition:
    """What a lake table holds.

    Attributes:
        offsets: Next offset of each (topic id, partition).
        replays: Highest batch id among the transfers (replayed dead letters) that it holds.
    """

    offsets: Mapping[PartitionKey, int] = field(default_factory=dict)
    replays: int = 0

    def properties(self) -> dict[str, str]:
        """The position as properties of a snapshot."""
        nested: dict[str, dict[str, int]] = {}
        for (topic_id, partition), offset in sorted(self.offsets.items()):
            nested.setdefault(str(topic_id), {})[str(partition)] = offset
        return {OFFSETS: json.dumps(nested), REPLAYS: str(self.replays)}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> "LakePosition":
        """Undo `properties`."""
        nested: dict[str, dict[str, int]] = json.loads(properties[OFFSETS])
        offsets = {
            (uuid.UUID(topic_id), int(partition)): offset
            for topic_id, partitions in nested.items()
            for partition, offset in partitions.items()
        }
        return cls(offsets, int(properties.get(REPLAYS, "0")))


def warehouse_url(lake_url: str) -> str:
    """The warehouse root as a URL: a plain folder becomes `file://…`."""
    return lake_url if "://" in lake_url else f"file://{Path(lake_url).absolute()}"


def s3_properties() -> dict[str, str]:
    """What pyiceberg must be told of S3: the endpoint and region that every AWS client finds by itself.

    It asks neither AWS_ENDPOINT_URL nor the shared configuration file, so another S3 server than Amazon's
    would never be found.
    """
    import boto3

    client = boto3.client("s3")
    return {"s3.endpoint": client.meta.endpoint_url, "s3.region": client.meta.region_name}


class Lake:
    """The catalog of the lake."""

    def __init__(self, lake_url: str, catalog_uri: str) -> None:
        """Open the catalog; its tables in the database are made on first use.

        Args:
            lake_url: Warehouse root: a folder, `file://…` or `s3://bucket/prefix`.
            catalog_uri: SQLAlchemy URL of the catalog's database.
        """
        url = warehouse_url(lake_url)
        if url.startswith("file://"):
            Path(url.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
        store = s3_properties() if url.startswith("s3://") else {}
        self._catalog: SqlCatalog = _catalog(uri=catalog_uri, warehouse=url, **store)

    def table(self, contract: TopicContract) -> "Table":
        """The table of a topic, made or widened to what the contract says."""
        from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError

        name = (NAMESPACE, contract.table)
        try:
            table = self._catalog.load_table(name)
        except NoSuchTableError:
            self._catalog.create_namespace_if_not_exists(NAMESPACE)
            try:
                table = self._create(name, contract)
            except TableAlreadyExistsError:  # another lander was faster
                table = self._catalog.load_table(name)
        _add_new_columns(table, contract)
        _say_sort_order(table, contract)
        return table

    def existing_table(self, contract: TopicContract) -> "Table | None":
        """The table of a topic; None where nothing has reached the lake yet."""
        from pyiceberg.exceptions import NoSuchTableError

        try:
            return self._catalog.load_table((NAMESPACE, contract.table))
        except NoSuchTableError:
            return None

    def named(self, namespace: str, name: str) -> "Table":
        """A table by its name.

        Raises:
            NoSuchTableError: The catalog has none of this name.
        """
        return self._catalog.load_table((namespace, name))

    def replace(self, namespace: str, name: str, rows: pa.Table) -> None:
        """Make a table hold exactly these rows, in one snapshot; its columns become theirs."""
        from pyiceberg.exceptions import NoSuchTableError

        self._catalog.create_namespace_if_not_exists(namespace)
        try:
            table = self._catalog.load_table((namespace, name))
        except NoSuchTableError:
            table = self._catalog.create_table((namespace, name), schema=rows.schema)
        with table.transaction() as transaction:
            with transaction.update_schema() as update:
                update.union_by_name(rows.schema)
            transaction.overwrite(rows)

    def register(self, contract: TopicContract, metadata_location: str) -> None:
        """Enter a table whose files are there and whose row in the catalog is not.

        Args:
            contract: Contract of the topic.
            metadata_location: Address of the metadata file that is the table's present state.
        """
        self._catalog.create_namespace_if_not_exists(NAMESPACE)
        self._catalog.register_table((NAMESPACE, contract.table), metadata_location)

    def _create(self, name: tuple[str, str], contract: TopicContract) -> "Table":
        from pyiceberg.partitioning import PartitionField, PartitionSpec
        from pyiceberg.table.sorting import NullOrder, SortField, SortOrder
        from pyiceberg.transforms import DayTransform, IdentityTransform

        schema = iceberg_schema(arrow_schema(contract))
        day = PartitionField(
            schema.find_field("landed_at").field_id, DAY_FIELD_ID, DayTransform(), "landed_on"
        )
        order = SortOrder(
            *(
                SortField(
                    schema.find_field(column).field_id, IdentityTransform(), null_order=NullOrder.NULLS_LAST
                )
                for column in sort_columns(contract)
            )
        )
        # A commit that lost a race must not be repeated by the library: its offsets would be stale.
        properties = {"commit.retry.num-retries": "0", "write.parquet.compression-codec": "zstd"}
        return self._catalog.create_table(
            name, schema, partition_spec=PartitionSpec(day), sort_order=order, properties=properties
        )


def _catalog(**properties: str) -> "SqlCatalog":
    """The catalog in its database, whose two tables another process may be making at this moment."""
    from pyiceberg.catalog.sql import SqlCatalog
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for _ in range(2):
        with suppress(IntegrityError, ProgrammingError):
            return SqlCatalog(CATALOG, **properties)
    return SqlCatalog(CATALOG, **properties)


def sort_columns(contract: TopicContract) -> list[str]:
    """The order in which people ask, ascending: key, then event time.

    The tables' metadata names it, and rewritten files are in it; files of a flush are as they were landed.
    """
    key = [name for name in contract.primary_key if name != contract.event_time_field]
    return [*key, contract.event_time_field, "kafka_offset"]


def stored_rows(table: "Table", schema: pa.Schema, row_filter: str | None = None) -> Iterator[pa.RecordBatch]:
    """Rows of a lake table in a contract's types, batch by batch; what the contract gained since is null.

    Args:
        table: The table.
        schema: `arrow_schema` of the contract.
        row_filter: Which rows, as pyiceberg reads it; all by default.
    """
    names = tuple(name for name in schema.names if name in table.schema().column_names)
    scan = (table.scan(row_filter) if row_filter else table.scan()).select(*names)
    for found in scan.to_arrow_batch_reader():
        columns = [
            found.column(item.name).cast(item.type)
            if item.name in names
            else pa.nulls(found.num_rows, item.type)
            for item in schema
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def one_batch(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """Batches of one schema put together; an empty one where there is no row."""
    filled = [rows for rows in batches if rows.num_rows]
    if not filled:
        return pa.RecordBatch.from_pylist([], schema=schema)
    return pa.Table.from_batches(filled).combine_chunks().to_batches()[0]


def position_of(table: "Table") -> LakePosition:
    """How far a table has come, from the newest snapshot that says so.

    Snapshots of maintenance (compaction) carry no offsets; the one before them counts.
    """
    snapshot = table.current_snapshot()
    while snapshot is not None:
        summary = snapshot.summary
        properties: dict[str, Any] = summary.additional_properties if summary else {}
        if OFFSETS in properties:
            return LakePosition.from_properties(properties)
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
    return LakePosition()


def iceberg_schema(schema: pa.Schema) -> "Schema":
    """The Iceberg schema of a lake table, fields numbered from 1 in their order."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField

    return Schema(
        *(
            NestedField(
                number,
                column.name,
                _iceberg_type(column.type),
                required=not column.nullable,
                doc=_doc(column),
            )
            for number, column in enumerate(schema, start=1)
        )
    )


def _doc(column: pa.Field) -> str | None:
    return (column.metadata or {}).get(b"doc", b"").decode() or None


def _iceberg_type(arrow_type: pa.DataType) -> Any:
    from pyiceberg import types

    if pa.types.is_fixed_size_binary(arrow_type):
        return types.FixedType(arrow_type.byte_width)
    known = {
        pa.string(): types.StringType,
        pa.bool_(): types.BooleanType,
        pa.int32(): types.IntegerType,
        pa.int64(): types.LongType,
        pa.float64(): types.DoubleType,
        pa.timestamp("us", tz="UTC"): types.TimestamptzType,
    }
    return known[arrow_type]()


def _add_new_columns(table: "Table", contract: TopicContract) -> None:
    present = set(table.schema().column_names)
    missing = [column for column in arrow_schema(contract) if column.name not in present]
    if not missing:
        return
    from pyiceberg.table import TableProperties

    with table.transaction() as transaction, transaction.update_schema() as update:
        for column in missing:  # optional: rows that are already there have no value
            update.add_column(column.name, _iceberg_type(column.type), doc=_doc(column))
    # Files are read by column name; the mapping of names was written with the first file.
    mapping = table.schema().name_mapping.model_dump_json()
    with table.transaction() as transaction:
        transaction.set_properties({TableProperties.DEFAULT_NAME_MAPPING: mapping})


def _say_sort_order(table: "Table", contract: TopicContract) -> None:
    """Name the order in the metadata of a table that was made before it was named; its files stay."""
    if table.sort_order().fields:
        return
    from pyiceberg.exceptions import CommitFailedException
    from pyiceberg.transforms import IdentityTransform

    try:
        with table.update_sort_order() as update:
            for column in sort_columns(contract):
                update.asc(column, IdentityTransform())
    except CommitFailedException:  # another lander was faster, or has just committed: at the next opening
        table.refresh()
