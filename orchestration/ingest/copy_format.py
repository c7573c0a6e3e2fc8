"""Rows in Postgres' binary COPY format.

Rows with the same nulls and the same text lengths have every value at the same place, so they are a
table of bytes that is filled column by column: five times as fast as the general encoder (pgpq), which
takes what has too many layouts. Add an Arrow type here when a contract has it. Avoid connections.

Source of the format: PostgreSQL documentation, COPY, "Binary Format".
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import struct
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pgpq import ArrowToPostgresBinaryEncoder

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"
POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01, where Postgres counts from
ROWS_PER_LAYOUT, MOST_LAYOUTS = 500, 64
"""A layout costs some 100 µs, as much as the general encoder takes for 300 rows."""
ROWS_WORTH_SHARING = 2_000  # setting the session's values costs as much as sending them with so many rows
ROWS_AT_ONCE = 1_000
WORD = 8
Members = slice | NDArray[np.int64]
"""Rows of one layout: neighbors, or some here and there."""
BIG_ENDIAN = {"int32": ">i4", "int64": ">i8", "double": ">f8", "bool": "u1"}


@dataclass(frozen=True)
class CopyStream:
    """Rows as Postgres takes them.

    Attributes:
        columns: Columns that the rows have; those that are null in every row are left out.
        data: The stream, header and trailer included.
        shared: Values, as text, of columns that are left out because all rows have the same.
    """

    columns: tuple[str, ...]
    data: memoryview
    shared: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Column:
    """One column as numbers or as text.

    Attributes:
        kind: Big-endian numpy type of a number, or `V<size>` of fixed bytes; None for text.
        values: Numbers in Postgres' terms, or all bytes of the texts.
        begins: Where each text begins; None for numbers.
        sizes: Bytes of each value; -1 for null.
    """

    kind: str | None
    values: NDArray[Any]
    begins: NDArray[np.int64] | None
    sizes: NDArray[np.int32] | int


NO_ROWS = CopyStream((), memoryview(HEADER + TRAILER))


def copy_stream(rows: pa.RecordBatch, may_share: Collection[str] = ()) -> CopyStream:
    """Encode rows; their order is kept only where they share one layout.

    Args:
        rows: Columns of a contract's types, 16 fixed bytes for a uuid.
        may_share: Columns that the table can take from the session where all rows have the same value.
    """
    if not rows.num_rows:
        return NO_ROWS
    shared = _shared(rows, may_share) if rows.num_rows >= ROWS_WORTH_SHARING else {}
    names = [
        name for name, column in zip(rows.schema.names, rows.columns, strict=True)
        if column.null_count < rows.num_rows and name not in shared
    ]  # fmt: skip
    rows = rows.select(names)
    columns = [_column(column) for column in rows.columns]
    layouts = _layouts(columns, rows.num_rows)
    if layouts is None:
        encoder = ArrowToPostgresBinaryEncoder(rows.schema)
        data = b"".join([encoder.write_header(), encoder.write_batch(rows), encoder.finish()])
        return CopyStream(tuple(names), memoryview(data), shared)
    tables = [_Table(columns, members) for members in layouts]
    stream = np.empty(len(HEADER) + sum(table.bytes for table in tables) + len(TRAILER), np.uint8)
    place = len(HEADER)
    stream[:place] = np.frombuffer(HEADER, np.uint8)
    for table in tables:
        table.fill(stream[place : place + table.bytes])
        place += table.bytes
    stream[place:] = np.frombuffer(TRAILER, np.uint8)
    return CopyStream(tuple(names), stream.data, shared)


def _shared(rows: pa.RecordBatch, names: Collection[str]) -> dict[str, str]:
    """Those of the columns in which all rows have one value, with that value."""
    found: dict[str, str] = {}
    for name in names:
        column = rows.column(name)
        is_constant = not column.null_count and _is_constant(_column(column).values)
        if is_constant:
            value = column[0].as_py()
            found[name] = str(uuid.UUID(bytes=value) if isinstance(value, bytes) else value)
    return found


def _column(column: pa.Array) -> _Column:
    validity = None if not column.null_count else np.asarray(column.is_valid())
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        width = "<i8" if pa.types.is_large_string(kind) else "<i4"
        ends = np.frombuffer(column.buffers()[1], width)[column.offset : column.offset + len(column) + 1]
        sizes = np.diff(ends).astype(np.int32)
        data = np.frombuffer(column.buffers()[2] or b"", np.uint8)
        if validity is not None:
            sizes[~validity] = -1
        return _Column(None, data, ends[:-1].astype(np.int64), sizes)
    if pa.types.is_fixed_size_binary(kind):
        width = kind.byte_width
        data = np.frombuffer(column.buffers()[1], f"V{width}")[column.offset : column.offset + len(column)]
        return _Column(f"V{width}", data, None, _sizes(width, validity))
    if pa.types.is_timestamp(kind):
        values = _buffer(column, np.int64) - POSTGRES_EPOCH_US
        return _Column(">i8", values, None, _sizes(8, validity))
    big_endian = BIG_ENDIAN[str(kind)]
    if pa.types.is_boolean(kind):
        values = np.asarray(column.fill_null(False)).astype(np.uint8)
    else:
        values = _buffer(column, kind.to_pandas_dtype())
    return _Column(big_endian, values, None, _sizes(values.dtype.itemsize, validity))


def _buffer(column: pa.Array, kind: Any) -> NDArray[Any]:
    return np.frombuffer(column.buffers()[1], kind)[column.offset : column.offset + len(column)]


def _sizes(size: int, validity: NDArray[np.bool_] | None) -> NDArray[np.int32] | int:
    return size if validity is None else np.where(validity, size, -1).astype(np.int32)


def _layouts(columns: Sequence[_Column], count: int) -> list[Members] | None:
    """Rows by layout; None where there are too many layouts."""
    varying = [
        column.sizes
        for column in columns
        if not isinstance(column.sizes, int) and (column.sizes != column.sizes[0]).any()
    ]
    most = min(MOST_LAYOUTS, 1 + count // ROWS_PER_LAYOUT)
    # Decoded rows mostly come layout by layout: then a layout is a slice, and nothing need be picked out.
    is_border = np.zeros(count, np.bool_)
    for sizes in varying:
        is_border[1:] |= sizes[1:] != sizes[:-1]
    borders = np.flatnonzero(is_border).tolist()
    if len(borders) < most:
        return [slice(start, stop) for start, stop in pairwise([0, *borders, count])]
    layout = np.zeros(count, np.int64)
    for sizes in varying:
        # Numbered anew after each column, so that the number stays small whatever the sizes.
        layout = layout * (int(sizes.max()) + 2) + sizes + 1
        found, layout = np.unique(layout, return_inverse=True)
        if len(found) > most:
            return None
    return [np.flatnonzero(layout == number) for number in range(int(layout.max()) + 1)]


class _Table:
    """The rows of one layout."""

    def __init__(self, columns: Sequence[_Column], members: Members) -> None:
        first = members.start if isinstance(members, slice) else int(members[0])
        self._rows = members.stop - members.start if isinstance(members, slice) else len(members)
        template = bytearray(struct.pack(">h", len(columns)))
        self._filled: list[tuple[str, int, NDArray[Any]]] = []
        for column in columns:
            size = column.sizes if isinstance(column.sizes, int) else int(column.sizes[first])
            template += struct.pack(">i", size)
            if size <= 0:
                continue
            values, kind = _values(column, size, members), column.kind or f"V{size}"
            if _is_constant(values):
                template += values[:1].astype(kind).tobytes()
            else:
                self._filled.append((kind, len(template), values))
                template += bytes(size)
        self._template = np.frombuffer(bytes(template), np.uint8)

    @property
    def bytes(self) -> int:
        """Bytes of all rows."""
        return self._rows * len(self._template)

    def fill(self, stream: NDArray[np.uint8]) -> None:
        """Write the rows, as many at a time as the processor's cache holds."""
        width = len(self._template)
        for start in range(0, self._rows, ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, self._rows - start)
            block = stream[start * width : (start + count) * width]
            block.reshape(count, width)[:] = self._template
            for kind, place, values in self._filled:
                np.ndarray((count,), kind, block.data, place, (width,))[:] = values[start : start + count]


def _values(column: _Column, size: int, members: Members) -> NDArray[Any]:
    """Values of one size, of the rows of one layout."""
    if column.begins is None:
        return column.values[members]
    begins = column.begins[members]
    if isinstance(members, slice):  # texts of one length without null lie side by side
        return np.ndarray((len(begins),), f"V{size}", column.values.data, int(begins[0]))
    # Every place of the text as the begin of a value: picking from it copies each value whole.
    return np.ndarray((len(column.values) - size + 1,), f"V{size}", column.values.data, 0, (1,))[begins]


def _is_constant(values: NDArray[Any]) -> bool:
    """Whether all values are the same bytes: such a column is written once, with the template."""
    table = values.view(np.uint8).reshape(len(values), -1)
    if not np.array_equal(table[-1], table[0]):
        return False
    if table.shape[1] == WORD:  # as words, not as numbers: -0.0 equals 0.0
        words = values.view(np.uint64)
        return bool((words == words[0]).all())
    return bool((table == table[0]).all())
