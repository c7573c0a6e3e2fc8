"""Rows in COPY's binary form, against the general encoder."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import struct
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pgpq import ArrowToPostgresBinaryEncoder

from orchestration.ingest.copy_format import HEADER, copy_stream

COUNT = 1_200  # allows three layouts: one per 500 rows, and one more
AT = datetime(2026, 3, 1, tzinfo=UTC)


def rows_of(data: bytes) -> list[bytes]:
    """The stream's rows, each as its bytes, sorted: only rows of one layout keep their order."""
    place, rows = len(HEADER), []
    while (fields := struct.unpack_from(">h", data, place)[0]) >= 0:
        begin, place = place, place + 2
        for _ in range(fields):
            place += 4 + max(struct.unpack_from(">i", data, place)[0], 0)
        rows.append(data[begin:place])
    assert data[place:] == b"\xff\xff"
    return sorted(rows)


def batch(texts: list[str | None], numbers: list[float | None]) -> pa.RecordBatch:
    """Rows with constant columns, an own number each, and the given ones."""
    count = len(texts)
    return pa.RecordBatch.from_pydict(
        {
            "topic_id": pa.array([b"\x01" * 16] * count, pa.binary(16)),
            "partition": pa.array([3] * count, pa.int32()),
            "offset": pa.array(range(count), pa.int64()),
            "at": pa.array([AT] * count, pa.timestamp("us", "UTC")),
            "flag": pa.array([i % 2 == 0 for i in range(count)]),
            "text": pa.array(texts, pa.string()),
            "number": pa.array(numbers, pa.float64()),
        }
    )


def general(rows: pa.RecordBatch) -> list[bytes]:
    """The same rows by the general encoder, a uuid being 16 bytes there too."""
    encoder = ArrowToPostgresBinaryEncoder(rows.schema)
    return rows_of(b"".join([encoder.write_header(), encoder.write_batch(rows), encoder.finish()]))


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["same"] * COUNT, [0.0] * (COUNT - 1) + [-0.0]),
        (["same"] * COUNT, [-0.0, *[0.0] * (COUNT - 2), -0.0]),
        ([f"{i:04}" for i in range(COUNT)], [float("nan")] * COUNT),
        (["ab"] * 700 + ["xyz"] * 500, [float(i) for i in range(COUNT)]),
        (["ab", "xyz"] * 600, [float(i) for i in range(COUNT)]),
        ([None, "xyz"] * 600, [None if i % 2 else 1.5 for i in range(COUNT)]),
        ([""] * COUNT, [None if i > 600 else 1.5 for i in range(COUNT)]),
        (["ä" * (i % 40) for i in range(COUNT)], [float(i) for i in range(COUNT)]),
        (["one"], [1.0]),
    ],
    ids=["minus-zero-last", "minus-zeros", "nan", "runs", "mixed", "nulls-mixed", "empty", "many", "one"],
)  # fmt: skip
def test_rows_are_what_the_general_encoder_writes(
    texts: list[str | None], numbers: list[float | None]
) -> None:
    """Forbids a fast form that takes one row's bytes for another's, or a constant for what is none."""
    rows = batch(texts, numbers)
    stream = copy_stream(rows)
    assert stream.columns == tuple(rows.schema.names)
    assert rows_of(bytes(stream.data)) == general(rows)


def test_a_slice_of_rows_is_written_alone() -> None:
    """Forbids reading a slice's texts from the begin of its parent's."""
    rows = batch([f"{i:04}" for i in range(COUNT)], [float(i) for i in range(COUNT)]).slice(100, 700)
    assert rows_of(bytes(copy_stream(rows).data)) == general(rows)


def test_only_what_all_rows_share_is_left_to_the_session() -> None:
    """Forbids leaving a column out that has two values, or a value that Postgres reads otherwise."""
    count = 2_000  # from here on it is worth it
    rows = batch(["same"] * count, [1.0] * count)
    stream = copy_stream(rows, may_share=("topic_id", "partition", "offset", "at"))
    assert stream.shared == {
        "topic_id": "01010101-0101-0101-0101-010101010101",
        "partition": "3",
        "at": "2026-03-01 00:00:00+00:00",
    }
    assert stream.columns == ("offset", "flag", "text", "number")
    assert rows_of(bytes(stream.data)) == general(rows.select(list(stream.columns)))
