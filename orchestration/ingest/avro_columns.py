"""Reads many Avro datums of one schema at once, as columns.

Datums of few layouts are read by `avro_layouts`, others by polars as one block (`avro_container`). Add
Avro types here when polars reads them and their size can be told from the value. Avoid schema ids and
contracts: `decode` knows those.

Source of the formats: Apache Avro 1.12 specification, "Binary Encoding".
"""

from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from orchestration.ingest.avro_container import AvroContainer
from orchestration.ingest.avro_layouts import AvroField, AvroLayouts, UnfitError
from orchestration.ingest.payloads import Payloads

VARINT_BITS = 7
WIRE_PREFIX = [{"name": "__magic", "type": "boolean"}, {"name": "__schema_id", "type": "float"}]
"""The prefix in Avro's terms: a byte 0 is false, and any four bytes are a float."""
NULL_BRANCH, VALUE_BRANCH = 0, 2  # zigzag of 0 and 1
LONGEST_VARINT = {"int": (5, 0x0F), "long": (10, 0x01)}
"""Bytes of the longest number, and the highest last byte: 4 of 32 bits, 1 of 64 are left for it."""
PADDING = b"\x7f" * 256


class ShiftedBoundaryError(ValueError):
    """The datums decode as a whole, but not each within its own bytes."""


class BadBytesError(ValueError):
    """A datum holds bytes that polars reads as a value and the specification does not know."""


class AvroColumns:
    """Reader of the datums of one writer schema."""

    def __init__(self, schema: dict[str, Any], is_framed: bool = False) -> None:
        """Prepare the container's header and the size expressions.

        Args:
            schema: A record of fields that `is_supported` accepts.
            is_framed: Whether the wire format's prefix stands before each datum. It is then read as two
                more fields, which spares a copy of every message without it.
        """
        fields = cast("list[dict[str, Any]]", schema["fields"])
        self._fields = [*WIRE_PREFIX, *fields] if is_framed else fields
        self._container = AvroContainer({**schema, "fields": self._fields})
        self._sizes = [_field_size(field).alias(field["name"]) for field in self._fields]
        prefix = len(self._fields) - len(fields)
        self._layouts = AvroLayouts(
            [
                AvroField(
                    None if number < prefix else field["name"],
                    _primitive(field["type"]) or "",
                    isinstance(field["type"], list),
                )
                for number, field in enumerate(self._fields)
            ]
        )
        self._instants = {field["name"]: kind for field in fields if (kind := _instant(field["type"]))}

    def read(self, datums: Payloads) -> tuple[pl.DataFrame, NDArray[np.int64] | None]:
        """Decode datums into a frame with a row each.

        Returns:
            The rows, and the position of each one's datum; None where they stand in the datums' order.

        Raises:
            ShiftedBoundaryError: At least one datum is longer or shorter than its values need. Without
                this check a message whose bytes run into the next one would be accepted silently.
            BadBytesError: The sizes are right, but a byte says what Avro does not know.
            UnreadableBlockError: The bytes are no datums of the schema.
        """
        try:
            found = self._layouts.read(datums)
        except UnfitError:
            return self._read_any(datums), None
        columns = found.columns
        for name, kind in self._instants.items():
            columns[name] = columns[name].cast(kind)
        return pl.DataFrame(columns), found.rows

    def _read_any(self, datums: Payloads) -> pl.DataFrame:
        """Decode datums of many layouts: about a third as fast."""
        datums = datums.side_by_side()
        # A last datum that was cut reads on into the padding and is then found by its size; without the
        # padding polars panics, which prints a trace. What no datum claims is never looked at. Zeros would
        # not do: a number that was cut needs no more bytes for zeros than it has.
        body = datums.body.tobytes() + PADDING
        frame = self._container.read(len(datums), body)
        sizes = datums.sizes
        needed = frame.select(self._sizes)
        total = needed.sum_horizontal().to_numpy()
        if not np.array_equal(sizes, total):
            first = int(np.flatnonzero(sizes != total)[0])
            raise ShiftedBoundaryError(
                f"datum {first} has {sizes[first]} bytes, its values need {total[first]}"
            )
        self._check_bytes(np.frombuffer(body, np.uint8), datums.starts, needed)
        return frame

    def _check_bytes(self, body: NDArray[np.uint8], place: NDArray[np.int64], sizes: pl.DataFrame) -> None:
        """Look where polars does not: it takes any branch but 0 for the value, and cuts long numbers.

        Args:
            body: All datums.
            place: Where each begins.
            sizes: Bytes that each value takes, a column per field.
        """
        for field, column in zip(self._fields, sizes, strict=True):
            size = column.to_numpy()
            is_union = isinstance(field["type"], list)
            if is_union and not np.array_equal(body[place], np.where(size > 1, VALUE_BRANCH, NULL_BRANCH)):
                raise BadBytesError(f"field {field['name']}: a byte names no branch of the union")
            place = place + size
            most, highest = LONGEST_VARINT.get(_primitive(field["type"]) or "", (0, 0))
            if most and (body[place[size == most + is_union] - 1] > highest).any():
                raise BadBytesError(f"field {field['name']}: a number has more bits than its type")


def is_supported(schema: dict[str, Any]) -> bool:
    """Whether every field is a plain value that polars reads, or a union of null and one."""
    if schema.get("type") != "record":
        return False
    return all(_primitive(field["type"]) is not None for field in schema["fields"])


_PRIMITIVES = {"boolean", "int", "long", "float", "double", "string"}
_LOGICAL = {"timestamp-micros": "long", "timestamp-millis": "long"}
_INSTANTS = {"timestamp-micros": pl.Datetime("us", "UTC"), "timestamp-millis": pl.Datetime("ms", "UTC")}


def _primitive(kind: Any) -> str | None:
    """Primitive type behind a field's type; None where the columnar path does not take it."""
    if isinstance(kind, list):
        branches = cast("list[Any]", kind)
        # The value stands second in the unions of a contract; others take the slow path.
        return _primitive(branches[1]) if len(branches) == 2 and branches[0] == "null" else None
    if isinstance(kind, dict):
        named = cast("dict[str, Any]", kind)
        logical, base = named.get("logicalType"), named.get("type")
        if logical is None:
            return _primitive(base)
        return base if _LOGICAL.get(logical) == base else None
    return kind if kind in _PRIMITIVES else None


def _instant(kind: Any) -> pl.Datetime | None:
    """Type of a field that is an instant; None for other fields."""
    if isinstance(kind, list):
        return next((found for branch in cast("list[Any]", kind) if (found := _instant(branch))), None)
    logical = cast("dict[str, Any]", kind).get("logicalType") if isinstance(kind, dict) else None
    return _INSTANTS.get(str(logical))


def _field_size(field: dict[str, Any]) -> pl.Expr:
    """Bytes that a value takes in Avro's binary encoding."""
    column = pl.col(field["name"])
    match _primitive(field["type"]):
        case "double":
            size = _constant(8)
        case "float":
            size = _constant(4)
        case "boolean":
            size = _constant(1)
        case "string":
            length = column.str.len_bytes().cast(pl.Int64)
            size = length + _varint_size(length, groups=5)
        case "int":
            size = _zigzag_size(column.cast(pl.Int64), groups=5)
        case _:
            size = _zigzag_size(column.to_physical(), groups=10)
    if isinstance(field["type"], list):  # one byte says which branch of the union follows
        return 1 + pl.when(column.is_null()).then(0).otherwise(size)
    return size


def _constant(size: int) -> pl.Expr:
    return pl.repeat(size, pl.len(), dtype=pl.Int64)


def _zigzag_size(value: pl.Expr, groups: int) -> pl.Expr:
    """Bytes of a signed number: zigzag maps n and ~n to neighbors, so the larger of both counts."""
    return _varint_size(pl.when(value < 0).then(-1 - value).otherwise(value), groups)


def _varint_size(magnitude: pl.Expr, groups: int) -> pl.Expr:
    """Bytes of a number ≥ 0 after zigzag: one per 7 bits, the first of which carries the sign."""
    limits = [pl.lit(1 << (VARINT_BITS * group - 1), pl.Int64) for group in range(1, groups)]
    return 1 + pl.sum_horizontal([(magnitude >= limit).cast(pl.Int64) for limit in limits])
