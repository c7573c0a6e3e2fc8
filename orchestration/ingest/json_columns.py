"""Reads many JSON messages at once, as columns of the contract's types.

The messages become one buffer of lines, which Arrow reads strictly: a value of another type fails
instead of turning into null. Add here what the JSON form of a contract type needs. Avoid rules on
values: `rules` judges them.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import io
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import json as arrow_json

from orchestration.ingest.contracts import ContractField, TopicContract, ViolationMode
from orchestration.ingest.contracts.json_message import FITS
from orchestration.ingest.contracts.physical_types import PHYSICAL_TYPES
from orchestration.ingest.decode import (
    INDEX,
    POLARS_TYPES,
    Decoded,
    Positions,
    Refusal,
    collect,
    empty_frame,
    frame_schema,
    in_slices,
)
from orchestration.ingest.payloads import Payloads

BLOCK_BYTES = 256 * 1024
"""Read at a time: half a core's second-level cache. Whole batches take three times as long; a block must
hold an object and the rest of the one before it."""
LINE_END, SPACE, OPEN, CLOSE = b"\n", b" ", ord("{"), ord("}")
REFUSES = (ViolationMode.FREEZE, ViolationMode.DISCARD_ROW)


class NotOneObjectPerMessageError(ValueError):
    """A payload is not exactly one JSON object on one line."""


class JsonDecoder:
    """Messages of a JSON topic."""

    def __init__(self, contract: TopicContract) -> None:
        self._contract = contract
        instants = [item.name for item in contract.fields if item.physical_type == "timestamp-micros"]
        self._schema = pa.schema(
            [
                (
                    item.name,
                    pa.string() if item.name in instants else PHYSICAL_TYPES[item.physical_type].arrow,
                )
                for item in contract.fields
            ]
        )
        self._instants = instants
        self._select = [pl.col(item.name).cast(POLARS_TYPES[item.physical_type]) for item in contract.fields]
        self._on_unknown = "error" if contract.on_unknown_field in REFUSES else "ignore"

    def decode(self, payloads: Payloads) -> Decoded:
        """Decode payloads, each of which must be one UTF-8 JSON object."""
        indices = np.arange(len(payloads), dtype=np.uint32)
        return collect(self._contract, in_slices(payloads, indices, self._columnar, self._one_by_one))

    def _columnar(self, payloads: Payloads, indices: Positions) -> Decoded:
        body = LINE_END.join(payloads.items)
        if body.count(LINE_END) != len(payloads) - 1:
            # Outside of strings, where it is illegal, a line end is only white space.
            body = LINE_END.join(payload.replace(LINE_END, SPACE) for payload in payloads)
        characters = np.frombuffer(body, np.uint8)
        ends = np.append(np.flatnonzero(characters == LINE_END[0]), len(body))
        starts = np.append(0, ends[:-1] + 1)
        if (characters[starts] != OPEN).any() or (characters[ends - 1] != CLOSE).any():
            # Every line that begins with a brace gives at least one row. Equal counts of lines and rows
            # then prove one row per line, so an object can't be taken for its neighbor's.
            raise NotOneObjectPerMessageError
        body.decode()  # Arrow takes bytes that are no UTF-8
        table = arrow_json.read_json(
            io.BytesIO(body),
            read_options=arrow_json.ReadOptions(
                use_threads=False, block_size=max(BLOCK_BYTES, 2 * int(payloads.sizes.max()))
            ),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=self._schema,
                newlines_in_values=False,
                unexpected_field_behavior=self._on_unknown,
            ),
        )
        if table.num_rows != len(payloads):
            raise NotOneObjectPerMessageError
        frame = pl.DataFrame(table.select(self._schema.names))
        frame = frame.with_columns(_instants(table.column(name), name) for name in self._instants)
        return Decoded(frame.select(*self._select, pl.Series(INDEX, indices, pl.UInt32)))

    def _one_by_one(self, payloads: Payloads, indices: Positions) -> Decoded:
        rows: list[dict[str, Any]] = []
        result = Decoded(empty_frame(self._contract))
        for payload, index in zip(payloads, indices.tolist(), strict=True):
            row = self._row(payload, index, result)
            if row is not None:
                rows.append({**row, INDEX: index})
        schema = {**frame_schema(self._contract), INDEX: pl.UInt32()}
        result.frame = pl.DataFrame(rows, schema=schema, orient="row")
        return result

    def _row(self, payload: bytes, index: int, result: Decoded) -> dict[str, Any] | None:
        try:
            # NaN and infinities are read, as on the columnar path; the rules judge them.
            found = json.loads(payload.decode())
        except UnicodeDecodeError as error:
            result.refusals.append(Refusal(index, "NotUtf8", str(error)))
            return None
        except (ValueError, RecursionError) as error:
            result.refusals.append(Refusal(index, "NotJson", str(error)))
            return None
        if not isinstance(found, dict):
            text = f"the message is a JSON {type(found).__name__}, not an object"
            result.refusals.append(Refusal(index, "NotJson", text))
            return None
        unknown = sorted(found.keys() - {item.name for item in self._contract.fields})
        if unknown and self._contract.on_unknown_field in REFUSES:
            text = f"the contract of {self._contract.topic} does not name {', '.join(unknown)}"
            is_discarded = self._contract.on_unknown_field is ViolationMode.DISCARD_ROW
            result.refusals.append(Refusal(index, "UnknownField", text, is_discarded=is_discarded))
            return None
        return self._values(found, index, result)

    def _values(self, found: dict[str, Any], index: int, result: Decoded) -> dict[str, Any] | None:
        row: dict[str, Any] = {}
        discarded_values = 0
        for item in self._contract.fields:
            value = found.get(item.name)
            fitting, value = _fit(item, value)
            if not fitting and item.on_violation is ViolationMode.DISCARD_VALUE:
                discarded_values += 1
                value = None
            elif not fitting:
                shown = "a personal value" if item.is_pii else f"{found[item.name]!r:.200}"
                text = f"field {item.name}: {shown} is no {item.physical_type}"
                is_discarded = item.on_violation is ViolationMode.DISCARD_ROW
                result.refusals.append(Refusal(index, "WrongType", text, is_discarded=is_discarded))
                return None
            row[item.name] = value
        result.discarded_values += discarded_values
        return row


def _instants(texts: pa.ChunkedArray, name: str) -> pl.Series:
    """Instants with a time zone.

    Raises:
        Exception: A text is none, or has no time zone.
    """
    try:
        return pl.Series(name, texts.cast(pa.timestamp("us", "UTC")))
    except pa.ArrowInvalid:  # more than six digits of a second, for example; seven times as slow
        series = pl.Series(name, texts)
        return series.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=True)


def _fit(item: ContractField, value: Any) -> tuple[bool, Any]:
    """Whether a JSON value is of the field's type, and the value in that type."""
    if value is None:
        return True, None
    is_instant = item.physical_type == "timestamp-micros"
    if not (isinstance(value, str) if is_instant else FITS[item.physical_type](value)):
        return False, value
    try:
        return True, _typed(item.physical_type, value)
    except (ValueError, OverflowError):
        return False, value


def _typed(physical_type: str, value: Any) -> Any:
    """The value as its column holds it.

    Raises:
        ValueError: Text that is no instant with a time zone, or that UTF-8 lacks (half a surrogate pair).
        OverflowError: An instant beyond the years 1 to 9999 in UTC, or a number beyond all doubles.
    """
    match physical_type:
        case "timestamp-micros":
            instant = datetime.fromisoformat(value)
            if instant.tzinfo is None:
                raise ValueError(value)
            return instant.astimezone(UTC)
        case "double":
            return float(value)
        case "string":
            value.encode()
            return value
        case _:
            return value
