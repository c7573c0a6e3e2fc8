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

from orchestration.ingest.payloads import Matrix, Payloads

ROWS_PER_LAYOUT = 500
"""A layout costs some 150 µs, as much as the general reader takes for 250 datums."""
FEW_LAYOUTS, MOST_LAYOUTS = 4, 64  # the general reader takes 2 ms however few datums there are
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
BLOCK_BYTES = 128 * 1024  # compared at a time: a quarter of a core's second-level cache
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

    def fits_all(self, table: Matrix) -> bool:
        """Whether every datum of a table has this layout; a table's rows are compared as words."""
        length = table.shape[1]
        at_once = max(BLOCK_BYTES // length // WORD, 1) * WORD
        blocks = len(table) // at_once
        if blocks:
            words = table[: blocks * at_once].reshape(-1).view(np.uint64).reshape(blocks, -1)
            mask = np.tile(self.mask, at_once).view(np.uint64)
            expected = np.tile(self.expected, at_once).view(np.uint64)
            if any(((block ^ expected) & mask).any() for block in words):
                return False
        rest = table[blocks * at_once :]
        return not ((rest ^ self.expected) & self.mask).any()


@dataclass(frozen=True)
class LayoutColumns:
    """Columns of datums, the datums of one layout side by side.

    Attributes:
        columns: A column per field, those of logical types as the numbers that they are written as.
        rows: Position of each row's datum; None where the rows stand in the datums' order.
    """

    columns: dict[str, pl.Series]
    rows: NDArray[np.int64] | None


class AvroLayouts:
    """Reader of the datums of one schema."""

    def __init__(self, fields: Sequence[AvroField]) -> None:
        """Take the fields in the order in which the schema has them."""
        self._fields = list(fields)

    def read(self, datums: Payloads) -> LayoutColumns:
        """Read datums into a column per field.

        The rows of a layout stay together: what writes them on needs them so, and sorting them costs
        more than reading them.

        Raises:
            UnfitError: Too many layouts, or values that need the general reader.
        """
        most = min(MOST_LAYOUTS, FEW_LAYOUTS + len(datums) // ROWS_PER_LAYOUT)
        lengths = np.unique(datums.sizes)
        if len(lengths) > most:
            raise UnfitError(f"{len(lengths)} lengths in {len(datums)} datums")
        parts: list[_Part] = []
        for length in lengths.tolist():
            table, rows = datums.of_length(length)
            while len(table):
                if len(parts) == most:
                    raise UnfitError(f"more than {most} layouts in {len(datums)} datums")
                layout = self._layout(table[0].tobytes())
                if layout.fits_all(table):
                    parts.append(_Part(layout.places, table, rows))
                    break
                is_other = ((table ^ layout.expected) & layout.mask).any(axis=1)
                rows = np.arange(len(datums)) if rows is None else rows
                parts.append(_Part(layout.places, table[~is_other], rows[~is_other]))
                table, rows = table[is_other], rows[is_other]
        columns = {
            field.name: _text(parts, number) if field.primitive == "string"
            else _number(parts, number, field.primitive)
            for number, field in enumerate(self._fields) if field.name is not None
        }  # fmt: skip
        found = [part.rows for part in parts if part.rows is not None]
        return LayoutColumns(columns, np.concatenate(found) if found else None)

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


@dataclass(frozen=True)
class _Part:
    """The datums of one layout.

    Attributes:
        places: Begin and size of each field's value; size -1 for null.
        table: A row of bytes per datum.
        rows: Positions of the datums; None where these are all.
    """

    places: list[tuple[int, int]]
    table: Matrix
    rows: NDArray[np.int64] | None


def _text(parts: Sequence[_Part], number: int) -> pl.Series:
    columns: list[pa.Array] = []
    for part in parts:
        begin, size = part.places[number]
        count = len(part.table)
        if size < 0:
            columns.append(pa.nulls(count, pa.large_string()))
            continue
        ends = pa.py_buffer(np.arange(count + 1) * size)
        data = pa.py_buffer(np.ascontiguousarray(part.table[:, begin : begin + size]))
        columns.append(pa.LargeStringArray.from_buffers(count, ends, data))
    return pl.Series(columns[0] if len(columns) == 1 else pa.concat_arrays(columns))


def _number(parts: Sequence[_Part], number: int, primitive: str) -> pl.Series:
    count = sum(len(part.table) for part in parts)
    if all(part.places[number][1] < 0 for part in parts):
        return pl.Series(pa.nulls(count, pa.from_numpy_dtype(NUMBERS[primitive])))
    values = np.zeros(count, NUMBERS[primitive])
    missing: NDArray[np.bool_] | None = None
    start = 0
    for part in parts:
        begin, size = part.places[number]
        own = slice(start, start + len(part.table))
        start = own.stop
        if size < 0:
            missing = np.zeros(count, np.bool_) if missing is None else missing
            missing[own] = True
        elif primitive in FIXED:
            values[own] = _strided(part.table, begin, NUMBERS[primitive])
        else:
            values[own] = _varints(part.table, begin, size)
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
