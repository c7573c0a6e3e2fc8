"""Turns payloads into columns of the contract's types, whichever format and schema wrote them.

Add a format here. Avoid the contract's rules on values: `rules` judges what was decoded.

A batch is read as columns. If that fails it is cut into slices, and only a slice that fails again is
read message by message, so that one bad message does not cost the batch its speed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from orchestration.ingest.avro_columns import AvroColumns, is_supported
from orchestration.ingest.contracts import MessageFormat, TopicContract, ViolationMode
from orchestration.ingest.contracts.avro import AvroSchema, decode_datum
from orchestration.ingest.contracts.model import ContractError
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog, UnknownSchemaIdError
from orchestration.ingest.contracts.wire import PREFIX
from orchestration.ingest.payloads import Payloads

Positions = NDArray[np.uint32]
"""Positions of messages in their batch, ascending."""
INDEX = "__index"  # no contract field can have this name: fields begin with a letter
FEW_MESSAGES = 32  # reading so few as columns takes longer than one by one
WIRE_FORMAT = np.dtype([("magic", "u1"), ("id", ">u4")])
SLICE_MESSAGES = 1_000  # a bad message sends so many to the slow path: 1,000 take about 15 ms there
POLARS_TYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "double": pl.Float64(),
    "timestamp-micros": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True)
class Refusal:
    """A message that can't become a row.

    Attributes:
        index: Position of its payload in the batch.
        error_class: What kind of fault it is, in one word.
        message: What was wrong.
        schema_id: Writer schema that the message names, where it names one.
        is_discarded: Whether the contract says to drop it instead of keeping it as a dead letter.
    """

    index: int
    error_class: str
    message: str
    schema_id: int | None = None
    is_discarded: bool = False


@dataclass
class Decoded:
    """Rows and refusals of one batch.

    Attributes:
        frame: The contract's fields in its order and types, and `INDEX`: each position once, in any order.
        refusals: Messages that gave no row.
        discarded_values: Values of the wrong type that their contract replaces by null.
    """

    frame: pl.DataFrame
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    discarded_values: int = 0


class Decoder(Protocol):
    """Decodes payloads of one topic."""

    def decode(self, payloads: Payloads) -> Decoded:
        """Decode non-empty payloads; every one becomes a row or a refusal."""
        ...


def frame_schema(contract: TopicContract) -> dict[str, pl.DataType]:
    """Columns of a decoded frame: the contract's fields."""
    return {item.name: POLARS_TYPES[item.physical_type] for item in contract.fields}


def empty_frame(contract: TopicContract) -> pl.DataFrame:
    """A decoded frame without rows."""
    return pl.DataFrame(schema={**frame_schema(contract), INDEX: pl.UInt32()})


def make_decoder(contract: TopicContract, catalog: SchemaCatalog) -> Decoder:
    """The decoder of a topic's format."""
    if contract.format is MessageFormat.JSON:
        from orchestration.ingest.json_columns import JsonDecoder

        return JsonDecoder(contract)
    return AvroDecoder(contract, catalog)


def collect(contract: TopicContract, parts: list[Decoded]) -> Decoded:
    """Put the parts of a batch together in the order of their messages."""
    refusals = sorted((item for part in parts for item in part.refusals), key=lambda item: item.index)
    discarded_values = sum(part.discarded_values for part in parts)
    frames = [part.frame for part in parts if part.frame.height]
    if len(frames) == 1:
        return Decoded(frames[0], refusals, discarded_values)
    frame = pl.concat(frames).sort(INDEX) if frames else empty_frame(contract)
    return Decoded(frame, refusals, discarded_values)


def in_slices(
    items: Payloads,
    indices: Positions,
    columnar: Callable[[Payloads, Positions], Decoded] | None,
    one_by_one: Callable[[Payloads, Positions], Decoded],
) -> list[Decoded]:
    """Decode as columns, then the slices of what failed, then the messages of a slice that failed.

    Args:
        items: Payloads.
        indices: Position of each in the batch.
        columnar: The fast way, which raises if any item is bad; None where there is none.
        one_by_one: The slow way, which gives a refusal for each bad item.
    """
    if columnar is None or len(items) <= FEW_MESSAGES:
        return [one_by_one(items, indices)]
    try:
        return [columnar(items, indices)]
    except (Exception, pl.exceptions.PanicException):  # polars' panic is a BaseException
        if len(items) <= SLICE_MESSAGES:
            return [one_by_one(items, indices)]
    starts = range(0, len(items), SLICE_MESSAGES)
    return [
        part
        for start in starts
        for part in in_slices(
            items[start : start + SLICE_MESSAGES], indices[start : start + SLICE_MESSAGES],
            columnar, one_by_one,
        )
    ]  # fmt: skip


@dataclass(frozen=True)
class _WriterSchema:
    """How datums of one schema id become the contract's columns."""

    schema: AvroSchema
    columns: AvroColumns | None
    wanted: dict[str, pl.DataType]
    convert: dict[str, Callable[[Any], Any]]
    fault: Refusal | None


class AvroDecoder:
    """Messages in the Confluent wire format, of any schemas that the catalog knows."""

    def __init__(self, contract: TopicContract, catalog: SchemaCatalog) -> None:
        self._contract = contract
        self._catalog = catalog
        self._writers: dict[int, _WriterSchema] = {}

    def decode(self, payloads: Payloads) -> Decoded:
        """Decode payloads, grouped by the schema id in their first five bytes.

        Raises:
            SchemaRegistryUnavailableError: An id is unknown and the registry does not answer: no
                message is given up for that.
        """
        schema_ids = _schema_ids(payloads)
        parts: list[Decoded] = []
        for schema_id in _distinct(schema_ids):
            indices = np.flatnonzero(schema_ids == schema_id).astype(np.uint32)
            parts += self._group(schema_id, payloads, indices)
        return collect(self._contract, parts)

    def _group(self, schema_id: int, payloads: Payloads, indices: Positions) -> list[Decoded]:
        if schema_id < 0:
            places: list[int] = indices.tolist()
            return [Decoded(empty_frame(self._contract), [_unframed(payloads[i], i) for i in places])]
        try:
            writer = self._writers.get(schema_id) or self._writer(schema_id)
        except UnknownSchemaIdError as error:
            fault = Refusal(0, "UnknownSchemaId", str(error), schema_id)
            return [Decoded(empty_frame(self._contract), _for_each(fault, indices))]
        if writer.fault:
            return [Decoded(empty_frame(self._contract), _for_each(writer.fault, indices))]
        members = payloads if len(indices) == len(payloads) else payloads[indices]

        def columnar(items: Payloads, places: Positions) -> Decoded:
            assert writer.columns is not None
            frame, rows = writer.columns.read(items)
            index = pl.Series(INDEX, places if rows is None else places[rows], pl.UInt32)
            # Whole columns are put side by side: as an expression this took 0.5 ms however few the rows.
            columns = [_as_wanted(frame, name, kind) for name, kind in writer.wanted.items()]
            return Decoded(pl.DataFrame([*columns, index]))

        def one_by_one(items: Payloads, places: Positions) -> Decoded:
            return self._one_by_one(writer, schema_id, items, places)

        return in_slices(members, indices, columnar if writer.columns else None, one_by_one)

    def _one_by_one(
        self, writer: _WriterSchema, schema_id: int, payloads: Payloads, indices: Positions
    ) -> Decoded:
        rows: list[dict[str, Any]] = []
        refusals: list[Refusal] = []
        for payload, index in zip(payloads, indices.tolist(), strict=True):
            try:
                record = decode_datum(writer.schema, payload[PREFIX.size :])
                row = {name: convert(record[name]) for name, convert in writer.convert.items()}
                rows.append({**row, INDEX: index})
            except (ContractError, ValueError, OverflowError) as error:
                refusals.append(Refusal(index, "UndecodableDatum", str(error), schema_id))
        schema = {**frame_schema(self._contract), INDEX: pl.UInt32()}
        return Decoded(pl.DataFrame(rows, schema=schema, orient="row"), refusals)

    def _writer(self, schema_id: int) -> _WriterSchema:
        pinned = self._catalog.schema_by_id(schema_id)
        fault = None
        if pinned.topic != self._contract.topic:
            text = f"schema id {schema_id} belongs to topic {pinned.topic}, not to {self._contract.topic}"
            fault = Refusal(0, "SchemaOfAnotherTopic", text, schema_id)
        schema = _plain(pinned.schema, self._contract)
        written = {str(item["name"]): item["type"] for item in pinned.schema["fields"]}
        names = {str(item["name"]): item["type"] for item in schema["fields"]}
        unknown = sorted(names.keys() - {item.name for item in self._contract.fields})
        refuses = (ViolationMode.FREEZE, ViolationMode.DISCARD_ROW)
        if unknown and not fault and self._contract.on_unknown_field in refuses:
            fault = Refusal(
                0, "UnknownField",
                f"the contract of {self._contract.topic} does not name {', '.join(unknown)}", schema_id,
                self._contract.on_unknown_field is ViolationMode.DISCARD_ROW,
            )  # fmt: skip
        convert: dict[str, Callable[[Any], Any]] = {}
        for item in self._contract.fields:
            if item.name not in names:
                continue
            if not _promotes(names[item.name], item.physical_type):
                kinds = f"{written[item.name]} in schema {schema_id}, {item.physical_type} in the contract"
                text = f"field {item.name} is {kinds}"
                fault = fault or Refusal(0, "IncompatibleSchema", text, schema_id)
            convert[item.name] = _CONVERT.get(item.physical_type, _as_is)
        writer = _WriterSchema(
            schema,
            AvroColumns(schema, is_framed=True) if is_supported(schema) else None,
            frame_schema(self._contract), convert, fault,
        )  # fmt: skip
        self._writers[schema_id] = writer
        return writer


def _as_wanted(frame: pl.DataFrame, name: str, kind: pl.DataType) -> pl.Series:
    """A column in the contract's type; of nulls where the writer lacks the field."""
    if name not in frame.columns:
        return pl.Series(name, [None], kind).new_from_index(0, frame.height)
    column = frame.get_column(name)
    return column if column.dtype == kind else column.cast(kind)


def _schema_ids(datums: Payloads) -> NDArray[np.int64]:
    """Schema id of each payload; -1 where it is not in the wire format."""
    body, starts = datums.body, datums.starts
    if len(body) < PREFIX.size:
        return np.full(len(datums), -1)
    starts = np.minimum(starts, len(body) - PREFIX.size)  # a short payload at the end is marked below
    prefixes = np.ndarray((len(body) - PREFIX.size + 1,), WIRE_FORMAT, body.data, 0, (1,))[starts]
    ids = prefixes["id"].astype(np.int64)
    ids[(datums.sizes < PREFIX.size) | (prefixes["magic"] != 0)] = -1
    return ids


def _distinct(numbers: NDArray[np.int64]) -> list[int]:
    """Different numbers, ascending; nearly always one."""
    if (numbers == numbers[0]).all():
        return [int(numbers[0])]
    return [int(number) for number in np.unique(numbers)]


def _unframed(payload: bytes, index: int) -> Refusal:
    if len(payload) < PREFIX.size:
        text = f"payload of {len(payload)} bytes is shorter than the wire format's prefix of {PREFIX.size}"
    else:
        text = f"payload starts with byte 0x{payload[0]:02x}, not with 0x00: it is not in the wire format"
    return Refusal(index, "NotWireFormat", text)


def _for_each(fault: Refusal, indices: Positions) -> list[Refusal]:
    return [
        Refusal(index, fault.error_class, fault.message, fault.schema_id, fault.is_discarded)
        for index in indices.tolist()
    ]


# Avro's promotions (specification, "Schema Resolution") that end at a contract type.
_PROMOTIONS: Mapping[str, set[str]] = {
    "string": {"string", "enum"},
    "boolean": {"boolean"},
    "int": {"int"},
    "long": {"int", "long"},
    "double": {"int", "long", "float", "double"},
    "timestamp-micros": {"timestamp-micros", "timestamp-millis"},
}


_INSTANT = "timestamp-micros"


def _plain(schema: AvroSchema, contract: TopicContract) -> AvroSchema:
    """A writer schema without the logical types that no column asks for.

    The specification ("Logical Types") has a reader take the base type of a logical type that it does not
    know: text that is marked as a UUID is text. An instant alone is read as what its column holds.
    """
    instants = {item.name for item in contract.fields if item.physical_type == _INSTANT}
    fields = cast("list[dict[str, Any]]", schema["fields"])
    plain = [{**item, "type": _base(item["type"], item["name"] in instants)} for item in fields]
    return {**schema, "fields": plain}


def _base(kind: Any, is_instant: bool) -> Any:
    if isinstance(kind, list):
        return [_base(branch, is_instant) for branch in cast("list[Any]", kind)]
    if not isinstance(kind, dict):
        return kind
    named = cast("dict[str, Any]", kind)
    is_kept = is_instant and named["type"] == "long" and named.get("logicalType") in _PROMOTIONS[_INSTANT]
    inner = {name: part for name, part in named.items() if name != "logicalType" or is_kept}
    for name in ("type", "items", "values"):
        if name in inner:
            inner[name] = _base(inner[name], False)
    if "fields" in inner:
        inner["fields"] = [{**item, "type": _base(item["type"], False)} for item in inner["fields"]]
    return inner


def _promotes(writer_type: Any, physical_type: str) -> bool:
    branches = cast("list[Any]", writer_type) if isinstance(writer_type, list) else [writer_type]
    kinds = {_kind(branch) for branch in branches} - {"null"}
    return kinds <= _PROMOTIONS[physical_type]


def _kind(branch: Any) -> str:
    if isinstance(branch, dict):
        named = cast("dict[str, Any]", branch)
        return str(named.get("logicalType") or _kind(named["type"]))
    return str(branch)


def _as_is(value: Any) -> Any:
    return value


def _double(value: Any) -> float | None:
    return None if value is None else float(value)


def _instant(value: Any) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


def _whole_number(bits: int) -> Callable[[Any], int | None]:
    """A varint can be longer than its type; such a number fits no column."""
    limit = 1 << (bits - 1)

    def convert(value: Any) -> int | None:
        if value is not None and not -limit <= value < limit:
            raise OverflowError(f"a number of {value.bit_length()} bits does not fit the type of {bits} bits")
        return value

    return convert


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "int": _whole_number(32),
    "long": _whole_number(64),
    "double": _double,
    "timestamp-micros": _instant,
}
