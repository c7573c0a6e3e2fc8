"""Reads Avro datums that share a layout as strided columns: no step per message or per value.

Datums of one length whose union branches, text lengths and number lengths agree have every value at the
same place. Machines write few such layouts, so a batch is a few tables of bytes. What does not fit
(many layouts, text beyond ASCII, very large numbers) is left to `avro_columns`, which reads any datum.

Source of the format: Apache Avro 1.12 specification, "Binary Encoding".
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

Matrix = NDArray[np.uint8]
ROWS_PER_LAYOUT = 500
"""A layout costs some 150 µs, as much as the general reader takes for 250 datums."""
MOST_LAYOUTS = 64
NULL_BRANCH, VALUE_BRANCH = 0, 2  # zigzag of 0 and 1
LONGEST = {"int": 4, "long": 8}
"""Bytes of the longest number that is read here; longer ones are rare and need a check of their bits."""
GOES_ON, ASCII_ONLY, NOT_A_FLAG, EXACT = 0x80, 0x80, 0xFE, 0xFF
VARINT_BITS, WORD = 7, 8
COMPACTION = [
    (np.uint64(0x007F007F007F007F), np.uint64(0x7F007F007F007F00), np.uint64(1)),
    (np.uint64(0x00003FFF00003FFF), np.uint64(0x3FFF00003FFF0000), np.uint64(2)),
    (np.uint64(0x000000000FFFFFFF), np.uint64(0x0FFFFFFF00000000), np.uint64(4)),
]
FIXED = {"double": 8, "float": 4, "boolean": 1}
NUMBERS: dict[str, str] = {"double": "<f8", "float": "<f4", "boolean": "?", "int": "<i4", "long": "<i8"}


class UnfitError(ValueError):
    """A datum that this reader leaves to the general one, whether it is good or bad."""


@dataclass(frozen=True)
class AvroField:
    """A field that can be read by its place.

    Attributes:
        name: Its name; None for bytes that are no value of the row (the wire format's prefix).
        primitive: Avro's primitive type.
        is_optional: Whether it is a union of null and that type.
    """

    name: str | None
    primitive: str
    is_optional: bool


@dataclass(frozen=True)
class _Layout:
    """Where the values of a datum are, and which bytes another datum must share with it.

    Attributes:
        places: Begin and size of each field's value, in the fields' order; size -1 for null.
        mask: Bits of each byte that must agree.
        expected: What they must be.
    """

    places: list[tuple[int, int]]
    mask: Matrix
    expected: Matrix


class AvroLayouts:
    """Reader of the datums of one schema."""

    def __init__(self, fields: Sequence[AvroField]) -> None:
        """Take the fields in the order in which the schema has them."""
        self._fields = list(fields)

    def read(self, datums: Sequence[bytes]) -> dict[str, pl.Series]:
        """Read datums into a column per field, in order.

        Columns of logical types come as the numbers that they are written as.

        Raises:
            UnfitError: Too many layouts, or values that need the general reader.
        """
        sizes = np.fromiter(map(len, datums), np.int64, len(datums))
        columns = _Columns(self._fields, len(datums))
        most = min(MOST_LAYOUTS, 1 + len(datums) // ROWS_PER_LAYOUT)
        found = 0
        lengths = np.unique(sizes)
        if len(lengths) > most:
            raise UnfitError(f"{len(lengths)} lengths in {len(datums)} datums")
        for length in lengths.tolist():
            rows = None if len(lengths) == 1 else np.flatnonzero(sizes == length)
            members = datums if rows is None else [datums[row] for row in rows.tolist()]
            table = np.frombuffer(b"".join(members), np.uint8).reshape(-1, length)
            while len(table):
                found += 1
                if found > most:
                    raise UnfitError(f"more than {most} layouts in {len(datums)} datums")
                layout = self._layout(table[0].tobytes())
                differs = (table ^ layout.expected) & layout.mask
                if not differs.any():
                    columns.add(layout.places, table, rows)
                    break
                is_other = differs.any(axis=1)
                rows = np.arange(len(datums)) if rows is None else rows
                columns.add(layout.places, table[~is_other], rows[~is_other])
                table, rows = table[is_other], rows[is_other]
        return columns.series()

    def _layout(self, datum: bytes) -> _Layout:
        mask = np.zeros(len(datum), np.uint8)
        places: list[tuple[int, int]] = []
        place = 0
        try:
            for field in self._fields:
                if field.is_optional:
                    mask[place] = EXACT
                    place += 1
                    if datum[place - 1] == NULL_BRANCH:
                        places.append((place, -1))
                        continue
                    if datum[place - 1] != VALUE_BRANCH:
                        raise UnfitError("a byte names no branch of the union")
                place, size = self._value(field.primitive, datum, place, mask)
                places.append((place, size))
                place += size
        except IndexError:
            raise UnfitError("a datum ends within a value") from None
        if place != len(datum):
            raise UnfitError(f"a datum has {len(datum)} bytes, its values need {place}")
        expected = np.frombuffer(datum, np.uint8) & mask
        for field, (begin, size) in zip(self._fields, places, strict=True):
            must_be_zero = field.primitive in ("string", "boolean") and field.name and size > 0
            if must_be_zero and expected[begin : begin + size].any():
                raise UnfitError("text beyond ASCII, or a flag that is neither 0 nor 1")
        return _Layout(places, mask, expected)

    @staticmethod
    def _value(primitive: str, datum: bytes, place: int, mask: Matrix) -> tuple[int, int]:
        """Begin and size of a value, its constraints written into the mask."""
        if primitive in FIXED:
            if primitive == "boolean":
                mask[place] = NOT_A_FLAG
            return place, FIXED[primitive]
        end = place
        while datum[end] & GOES_ON:
            end += 1
        size = end + 1 - place
        if primitive != "string":
            if size > LONGEST[primitive]:
                raise UnfitError("a number with more bytes than are read here")
            mask[place : end + 1] = GOES_ON
            return place, size
        mask[place : end + 1] = EXACT
        length = sum((byte & 0x7F) << VARINT_BITS * i for i, byte in enumerate(datum[place : end + 1]))
        if length & 1 or end + 1 + (length >> 1) > len(datum):
            raise UnfitError("a text with less than no bytes, or with more than there are")
        mask[end + 1 : end + 1 + (length >> 1)] = ASCII_ONLY
        return end + 1, length >> 1


class _Columns:
    """Columns that are filled layout by layout."""

    def __init__(self, fields: Sequence[AvroField], count: int) -> None:
        self._fields, self._count = fields, count
        self._parts: list[tuple[list[tuple[int, int]], Matrix, NDArray[np.int64] | None]] = []

    def add(self, places: list[tuple[int, int]], table: Matrix, rows: NDArray[np.int64] | None) -> None:
        """Take the datums of one layout; rows None stands for all."""
        self._parts.append((places, np.ascontiguousarray(table), rows))

    def series(self) -> dict[str, pl.Series]:
        """The columns by name."""
        order = None
        if len(self._parts) > 1:
            all_rows = np.concatenate([rows for _, _, rows in self._parts if rows is not None])
            order = pl.Series(np.argsort(all_rows))
        found: dict[str, pl.Series] = {}
        for number, field in enumerate(self._fields):
            if field.name is not None:
                text = field.primitive == "string"
                read = self._text(number, order) if text else self._number(number, field.primitive)
                found[field.name] = read
        return found

    def _text(self, number: int, order: pl.Series | None) -> pl.Series:
        parts: list[pl.Series] = []
        for places, table, _ in self._parts:
            begin, size = places[number]
            if size < 0:
                parts.append(pl.Series(dtype=pl.String).extend_constant(None, len(table)))
                continue
            data = np.ascontiguousarray(table[:, begin : begin + size])
            ends = pa.py_buffer(np.arange(len(table) + 1) * size)
            array = pa.LargeStringArray.from_buffers(len(table), ends, pa.py_buffer(data))
            parts.append(pl.Series(array))
        return parts[0] if order is None else pl.concat(parts).gather(order)

    def _number(self, number: int, primitive: str) -> pl.Series:
        if all(places[number][1] < 0 for places, _, _ in self._parts):
            return pl.Series(np.zeros(0, NUMBERS[primitive])).extend_constant(None, self._count)
        values = np.zeros(self._count, NUMBERS[primitive])
        missing: NDArray[np.bool_] | None = None
        for places, table, rows in self._parts:
            begin, size = places[number]
            target: Any = slice(None) if rows is None else rows
            if size < 0:
                missing = np.zeros(self._count, np.bool_) if missing is None else missing
                missing[target] = True
            elif primitive in FIXED:
                values[target] = _strided(table, begin, NUMBERS[primitive])
            else:
                values[target] = _varints(table, begin, size)
        if missing is None:
            return pl.Series(values)
        return pl.Series(pa.array(values, mask=missing))


def _strided(table: Matrix, begin: int, kind: str) -> NDArray[Any]:
    """One fixed-size value of each row, in place."""
    return np.ndarray((len(table),), kind, buffer=table.data, offset=begin, strides=(table.shape[1],))


def _varints(table: Matrix, begin: int, size: int) -> NDArray[np.int64]:
    """Signed numbers of equally many bytes each: seven bits per byte, the lowest first, zigzag."""
    if begin + WORD > table.shape[1]:
        table, begin = np.pad(table[:, begin : begin + size], ((0, 0), (0, WORD - size))), 0
    words = _strided(table, begin, "<u8") & np.uint64(2 ** (8 * size) - 1)
    # The seventh bits' places are closed in three steps: 7 to 14 to 28 to 56 bits that belong together.
    for low, high, gap in COMPACTION:
        words = (words & low) | ((words & high) >> gap)
    return (words >> np.uint64(1)).view(np.int64) ^ -(words & np.uint64(1)).view(np.int64)
