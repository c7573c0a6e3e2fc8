"""Record batches as columns: equal to another implementation's reading, record by record."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from orchestration.ingest.kafka_records import (
    HEAD,
    OVERHEAD,
    Aborted,
    Messages,
    Record,
    RecordFormatError,
    end_of,
    joined,
    read_records,
)

ATTRIBUTES_PLACE, TRANSACTIONAL, CONTROL = 21, 0x10, 0x20
LENGTH_PLACE, MAGIC_PLACE, CRC_PLACE, COUNT_PLACE = 8, 16, 17, 57
GZIP = 1
SOME_BYTES = st.one_of(st.none(), st.binary(max_size=200), st.just(b"x" * 70_000))
HEADERS = st.lists(st.tuples(st.text(max_size=20), st.one_of(st.none(), st.binary(max_size=20))), max_size=3)
RECORDS = st.lists(st.tuples(SOME_BYTES, SOME_BYTES, HEADERS), min_size=1, max_size=30)


def batch(
    records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]],
    offset: int = 0,
    producer: int = -1,
    codec: int = 0,
    attributes: int = 0,
) -> bytes:
    """A batch as kafka-python writes it; attributes are added to its own."""
    is_transactional = bool(attributes & TRANSACTIONAL)
    builder = MemoryRecordsBuilder(
        2, codec, 1 << 26, 0, is_transactional, producer, -1 if producer < 0 else 0,
        -1 if producer < 0 else 0,
    )  # fmt: skip
    for number, (key, value, headers) in enumerate(records):
        builder.append(1_700_000_000_000 + number * 977, key, value, headers)
    builder.close()
    found = bytearray(builder.buffer())
    (own,) = struct.unpack_from(">h", found, ATTRIBUTES_PLACE)
    struct.pack_into(">h", found, ATTRIBUTES_PLACE, own | attributes)
    struct.pack_into(">q", found, 0, offset)  # a broker says where a batch begins
    return summed(found)


def summed(changed: bytearray) -> bytes:
    """A batch with the checksum of its bytes, as another client makes it."""
    struct.pack_into(">I", changed, CRC_PLACE, calc_crc32c(memoryview(changed)[ATTRIBUTES_PLACE:]))
    return bytes(changed)


def marker(offset: int, producer: int, is_commit: bool) -> bytes:
    """The control batch that ends a transaction."""
    key = struct.pack(">hh", 0, int(is_commit))
    return batch([(key, bytes(6), [])], offset, producer, attributes=TRANSACTIONAL | CONTROL)


def plain(value: bytes, offset: int, producer: int = -1, attributes: int = 0) -> bytes:
    """A batch with one message."""
    return batch([(None, value, [])], offset, producer, attributes=attributes)


def emptied(whole: bytes) -> bytes:
    """A batch without its records, as the log cleaner leaves it."""
    found = bytearray(whole[: HEAD.size])
    struct.pack_into(">i", found, LENGTH_PLACE, HEAD.size - OVERHEAD)
    struct.pack_into(">i", found, COUNT_PLACE, 0)
    return summed(found)


def records_of(messages: Messages) -> list[Record]:
    """Messages one by one."""
    return [messages.record(index) for index in range(len(messages))]


def values(messages: Messages) -> dict[int, bytes | None]:
    """Payload by offset."""
    return {record.offset: record.value for record in records_of(messages)}


BATCHES = st.lists(st.tuples(RECORDS, st.sampled_from([0, GZIP])), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(BATCHES, st.integers(0, 1 << 40))
def test_batches_read_as_another_client_reads_them(parts: list[Any], first: int) -> None:
    """Forbids a key, payload, header or offset that differs from what kafka-python makes of the bytes."""
    answer = b""
    offset = first
    for records, codec in parts:
        answer += batch(records, offset, codec=codec)
        offset += len(records)
    expected = [
        Record(item.offset, item.key, item.value, item.headers)
        for each in MemoryRecords(answer)
        for item in each
    ]
    found = read_records(answer, first)
    assert records_of(found) == expected
    assert found.payloads.items == [record.value or b"" for record in expected]
    assert end_of(answer) == offset
    assert records_of(joined([found[:1], found[1:]])) == expected
    for name in {header for record in expected for header, _ in record.headers} | {"known_at"}:
        firsts = [next((v or b"" for k, v in record.headers if k == name), None) for record in expected]
        by_name = found.header_values(name)
        assert by_name == firsts if by_name is not None else not any(record.headers for record in expected)


@settings(max_examples=40, deadline=None)
@given(RECORDS)
def test_records_from_elsewhere_read_as_they_were_given(parts: list[Any]) -> None:
    """Forbids a dead letter that changes on its way through the format."""
    records = [Record(number * 3, key, value, headers) for number, (key, value, headers) in enumerate(parts)]
    assert records_of(Messages.of(records)) == records
    assert len(Messages.of([])) == 0


def test_headers_of_one_size_are_read_as_a_column() -> None:
    """Forbids a known time that is cut at a zero byte or taken from the neighbor."""
    headers = [("known_at", bytes([number, 0, 7, 0])) for number in range(1, 101)]
    messages = read_records(batch([(b"k" * number, b"v", [h]) for number, h in enumerate(headers)]), 0)
    assert messages._alike_headers(b"known_at") == [value for _, value in headers]
    assert messages._alike_headers(b"other_at") is None


def test_reading_begins_at_the_offset_that_was_asked_for() -> None:
    """Forbids messages before the position: a broker sends the whole batch that holds it."""
    answer = batch([(None, b"%d" % number, []) for number in range(5)], 10) + plain(b"5", 15)
    assert values(read_records(answer, 13)) == {13: b"3", 14: b"4", 15: b"5"}
    assert len(read_records(answer, 16)) == 0


def test_a_batch_that_is_cut_off_waits_for_the_next_answer() -> None:
    """Forbids an end beyond what was read: the offsets between would be taken for absent."""
    whole, cut = plain(b"a", 0), plain(b"b", 1)[:-1]
    assert (values(read_records(whole + cut, 0)), end_of(whole + cut)) == ({0: b"a"}, 1)
    assert end_of(cut) is None


def test_aborted_transactions_and_markers_give_no_messages() -> None:
    """Forbids rows of an aborted transaction, and the loss of the same producer's next one."""
    answer = b"".join(
        [
            plain(b"aborted", 0, 7, TRANSACTIONAL), plain(b"kept", 1, 8, TRANSACTIONAL), plain(b"none", 2),
            marker(3, 7, is_commit=False), plain(b"next", 4, 7, TRANSACTIONAL),
            marker(5, 8, is_commit=True), marker(6, 7, is_commit=True),
            plain(b"again", 7, 7, TRANSACTIONAL), marker(8, 7, is_commit=False),
        ]
    )  # fmt: skip
    found = read_records(answer, 0, [Aborted(7, 7), Aborted(7, 0)])
    assert values(found) == {1: b"kept", 2: b"none", 4: b"next"}
    assert end_of(answer) == 9


def test_batches_that_compaction_emptied_give_no_messages() -> None:
    """Forbids a reader that stands still at a batch which the cleaner keeps for its producer's sequence.

    Source: Apache Kafka documentation, "Record Batch": such a batch keeps its offsets and has no records.
    """
    answer = b"".join(
        [
            emptied(plain(b"gone", 0, 7, TRANSACTIONAL)), emptied(marker(1, 7, is_commit=False)),
            plain(b"kept", 2, 7), emptied(marker(3, 7, is_commit=True)),
        ]
    )  # fmt: skip
    assert values(read_records(answer, 0, [Aborted(7, 0)])) == {2: b"kept"}
    assert end_of(answer) == 4


def test_an_aborted_transaction_is_left_out_of_every_answer_that_it_spans() -> None:
    """Forbids rows of a transaction that began before the answer, or of the batch that it begins in."""
    parts = [plain(b"%d" % number, number, 7, TRANSACTIONAL) for number in range(4)]
    parts += [marker(4, 7, is_commit=False), plain(b"next", 5, 7, TRANSACTIONAL)]
    for first in range(5):
        assert values(read_records(b"".join(parts[first:]), first, [Aborted(7, 0)])) == {5: b"next"}
    whole = batch([(None, b"%d" % number, []) for number in range(4)], 0, 7, attributes=TRANSACTIONAL)
    assert values(read_records(whole + b"".join(parts[4:]), 2, [Aborted(7, 0)])) == {5: b"next"}


def test_a_batch_of_an_old_format_or_with_broken_bytes_is_named() -> None:
    """Forbids bytes that are read as something else, or a fault without its offsets."""
    old = bytearray(plain(b"a", 41))
    old[MAGIC_PLACE] = 1
    with pytest.raises(RecordFormatError, match="offset 41 has message format 1"):
        read_records(bytes(old), 41)
    wrong = bytearray(batch([(None, b"a", []), (None, b"b", [])], 50))
    struct.pack_into(">i", wrong, COUNT_PLACE, 3)
    with pytest.raises(RecordFormatError, match="offset 50"):
        read_records(summed(wrong), 50)
    packed = bytearray(batch([(None, b"a" * 100, [])], 60, codec=GZIP))
    packed[-20:] = bytes(20)
    with pytest.raises(RecordFormatError, match="offsets 60 to 60"):
        read_records(summed(packed), 60)


@pytest.mark.parametrize("codec", [0, GZIP])
def test_a_single_wrong_bit_is_found(codec: int) -> None:
    """Forbids a reading that differs from the sent one by a bit: every bit but those of where it begins."""
    whole = batch([(b"key", b"temperature 40", [("known_at", b"2026")])], 60, codec=codec)
    for bit in range(8 * CRC_PLACE, 8 * len(whole)):
        wrong = bytearray(whole)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordFormatError, match=r"offsets 60 to .* checksum"):
            read_records(bytes(wrong), 60)
