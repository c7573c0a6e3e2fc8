"""An Avro object container of one block around datums: polars reads it without an object per datum.

Add here what the container needs. Avoid what is in it: `avro_columns` and `kafka_records` know that.

Source of the format: Apache Avro 1.12 specification, "Object Container Files".
"""

import io
import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from orchestration.ingest.contracts.avro_writer import write_long

SYNC_MARKER = b"opsgraph-landing"  # 16 bytes; the block is never searched for it


class UnreadableBlockError(ValueError):
    """The bytes are not so many datums of the schema."""


class AvroContainer:
    """Reads blocks of datums of one schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Prepare the head that stands before each block.

        Args:
            schema: A record whose fields polars reads.
        """
        self._head = b"".join(
            [
                b"Obj\x01", write_long(2),
                _sized(b"avro.schema"), _sized(json.dumps(schema).encode()),
                _sized(b"avro.codec"), _sized(b"null"),
                b"\x00", SYNC_MARKER,
            ]
        )  # fmt: skip

    def read(self, count: int, datums: bytes) -> pl.DataFrame:
        """A row for each datum; bytes behind the last one are not looked at.

        Args:
            count: How many there are.
            datums: All of them, side by side.

        Raises:
            UnreadableBlockError: They end early, or a value is not of its type.
        """
        block = [self._head, write_long(count), write_long(len(datums)), datums, SYNC_MARKER]
        try:
            frame = pl.read_avro(io.BytesIO(b"".join(block)))
        # A panic is a BaseException, which would end the thread.
        except (pl.exceptions.PanicException, pl.exceptions.PolarsError) as error:
            raise UnreadableBlockError(f"{count} datums in {len(datums)} bytes: {error}") from error
        if frame.height != count:
            raise UnreadableBlockError(f"{count} datums gave {frame.height} rows")
        return frame


def _sized(value: bytes) -> bytes:
    return write_long(len(value)) + value
