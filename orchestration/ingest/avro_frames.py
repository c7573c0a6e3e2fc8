"""Encodes a frame of records as Avro datums column by column, without a Python step per value.

For sources that make frames: about five times as fast as writing record by record. Each column becomes
a table of bytes with a mask of those that count; side by side, and read row by row through the mask,
the tables are the datums. Flat records of the contracts' types only; a single record is written by
`contracts.avro_writer`, to which the tests hold this equal byte for byte.
Source of the encoding: Apache Avro 1.12 specification, section "Binary Encoding".
"""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from orchestration.ingest.contracts import ContractError
from orchestration.ingest.contracts.physical_types import AvroType

_Bytes = NDArray[np.uint8]
_Mask = NDArray[np.bool_]
_NULL_BRANCH, _VALUE_BRANCH = 0, 2  # indexes 0 and 1 of the union [null, T], as zigzag
_LONGEST_VARINT = 10


def encode_frame(schema: Mapping[str, Any], frame: pl.DataFrame, prefix: bytes = b"") -> list[bytes]:
    """Datums of a frame's rows.

    Args:
        schema: Avro schema of a contract.
        frame: A column per field; optional fields may be left out. NaN is a number, not a null.
        prefix: Bytes to put before each datum (the wire format's).

    Returns:
        One value per row, in the order of the rows.

    Raises:
        ContractError: A column is unknown, missing, of another type, or null where it must not be.
    """
    rows = frame.height
    fields: list[Mapping[str, Any]] = schema["fields"]
    unknown = set(frame.columns) - {field["name"] for field in fields}
    if unknown:
        raise ContractError(f"columns {', '.join(sorted(unknown))} are not in the contract")
    first = np.broadcast_to(np.frombuffer(prefix, dtype=np.uint8), (rows, len(prefix)))
    tables: list[_Bytes] = [first]
    masks: list[_Mask] = [np.ones(first.shape, dtype=bool)]
    for field in fields:
        table, mask = _encode_field(field, frame)
        tables.append(table)
        masks.append(mask)
    mask = np.concatenate(masks, axis=1)
    data = np.concatenate(tables, axis=1)[mask].tobytes()
    ends: list[int] = mask.sum(axis=1).cumsum().tolist()
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _encode_field(field: Mapping[str, Any], frame: pl.DataFrame) -> tuple[_Bytes, _Mask]:
    name: str = field["name"]
    kind: Any = field["type"]
    is_optional = isinstance(kind, list)
    avro = cast("AvroType", kind[1] if is_optional else kind)
    label = avro if isinstance(avro, str) else avro["logicalType"]
    if name not in frame.columns:
        if not is_optional:
            raise ContractError(f"column {name} is required and missing")
        nothing = np.full((frame.height, 1), _NULL_BRANCH, dtype=np.uint8)
        return nothing, np.ones_like(nothing, dtype=bool)
    column = frame[name]
    _check(column, label, is_optional)
    is_value: _Mask = column.is_not_null().to_numpy()
    table, lengths = _encode_values(column, label)
    width: int = table.shape[1]
    counts = np.less(np.arange(width), lengths[:, None])
    mask: _Mask = np.logical_and(counts, is_value[:, None])
    if is_optional:
        branch = np.where(is_value, _VALUE_BRANCH, _NULL_BRANCH).astype(np.uint8)[:, None]
        table = np.concatenate([branch, table], axis=1)
        mask = np.concatenate([np.ones_like(branch, dtype=bool), mask], axis=1)
    return table, mask


_DTYPES: dict[str, tuple[pl.DataType, ...]] = {
    "string": (pl.String(),),
    "boolean": (pl.Boolean(),),
    "int": (pl.Int32(), pl.Int16(), pl.Int8(), pl.UInt16(), pl.UInt8()),
    "long": (pl.Int64(), pl.Int32(), pl.UInt32()),
    "double": (pl.Float64(), pl.Float32()),
    "timestamp-micros": (pl.Datetime("us", "UTC"),),
}


def _check(column: pl.Series, label: str, is_optional: bool) -> None:
    if column.dtype not in _DTYPES[label]:
        raise ContractError(f"column {column.name} is {column.dtype}; the contract says {label}")
    if column.null_count() and not is_optional:
        row = int(column.is_null().arg_true()[0])
        raise ContractError(f"column {column.name}, row {row}: null, and the contract requires a value")


def _encode_values(column: pl.Series, label: str) -> tuple[_Bytes, NDArray[np.int64]]:
    """Bytes of each value, padded to the longest, and their lengths; what a null gets is masked later."""
    match label:
        case "double":
            numbers = column.cast(pl.Float64).fill_null(0.0).to_numpy()
            return _fixed(np.ascontiguousarray(numbers).astype("<f8").view(np.uint8), 8)
        case "boolean":
            return _fixed(column.fill_null(value=False).to_numpy().astype(np.uint8), 1)
        case "string":
            return _texts(column)
        case _:
            return varints(column.to_physical().cast(pl.Int64).fill_null(0).to_numpy())


def _fixed(flat: _Bytes, width: int) -> tuple[_Bytes, NDArray[np.int64]]:
    table = flat.reshape(-1, width)
    return table, np.full(len(table), width, dtype=np.int64)


def varints(numbers: NDArray[np.int64]) -> tuple[_Bytes, NDArray[np.int64]]:
    """Zigzag varints of whole numbers: bytes (n, 10), of which the first `lengths` (n,) count.

    >>> table, lengths = varints(np.array([-65]))
    >>> table[0, : lengths[0]].tobytes().hex()
    '8101'
    """
    rest = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    groups = rest[:, None] >> (7 * np.arange(_LONGEST_VARINT, dtype=np.uint64))
    lengths = np.maximum((groups > 0).sum(axis=1), 1)
    goes_on = np.arange(_LONGEST_VARINT) < lengths[:, None] - 1
    table = (groups & np.uint64(0x7F)).astype(np.uint8) | np.where(goes_on, 0x80, 0).astype(np.uint8)
    return table, lengths


def _texts(column: pl.Series) -> tuple[_Bytes, NDArray[np.int64]]:
    texts = [text.encode() for text in column.fill_null("").to_list()]
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    head, head_lengths = varints(sizes)
    width = int(sizes.max(initial=0))
    body = np.frombuffer(b"".join(text.ljust(width, b"\0") for text in texts), dtype=np.uint8)
    table = np.zeros((len(texts), _LONGEST_VARINT + width), dtype=np.uint8)
    # Lengths up to 63 bytes take one byte, so the text starts at a column of its own per row.
    for length in np.unique(head_lengths):
        rows = head_lengths == length
        table[rows, :length] = head[rows, :length]
        table[rows, length : length + width] = body.reshape(len(texts), width)[rows]
    return table, head_lengths + sizes
