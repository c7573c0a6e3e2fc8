"""Reads Kafka's record batches as columns: where each payload lies, without an object per message.

Add here what the format of a batch or of a record needs. Avoid the network (`fetch` has it) and the
payloads themselves (`decode`).

Source of the format: Apache Kafka documentation, "Message Format".
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from orchestration.ingest.avro_container import AvroContainer
from orchestration.ingest.contracts.avro_writer import write_long
from orchestration.ingest.kafka_codecs import GOES_ON, LOW_BITS, VARINT_BITS, decompressed, unsigned
from orchestration.ingest.offsets import LandingError
from orchestration.ingest.payloads import Payloads, Places, picked

HEAD = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length of what follows, leader epoch, magic, CRC, attributes, delta of the last offset, first
and last time, producer id, producer epoch, first sequence, number of records."""
OVERHEAD = 12  # base offset and length, which the length does not count
MAGIC, MAGIC_PLACE, SUMMED_FROM = 2, 16, 21
CODEC_BITS, TRANSACTIONAL, CONTROL = 0x07, 0x10, 0x20
ABORT = b"\x00\x00\x00\x00"  # key of the control record that ends an aborted transaction: version 0, type 0
LONGEST_VARINT = 10
DAMAGES = (IndexError, ValueError, OverflowError, OSError, struct.error)
"""What reading damaged bytes raises."""
Headers = Sequence[tuple[str, bytes | str | None]]
Bytes = NDArray[np.uint8]
Spans = NDArray[np.int64]
"""Begin and size of a value of each message, (2, n); size -1 for null."""


class RecordFormatError(LandingError):
    """A batch whose bytes are not as the format says."""


class Record(NamedTuple):
    """One message.

    Attributes:
        offset: Its offset.
        key: None where it has none.
        value: Payload; None for a tombstone.
        headers: Names and values in their order.
    """

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Aborted(NamedTuple):
    """An aborted transaction: whose, and the first offset that it wrote."""

    producer_id: int
    first_offset: int


@dataclass(frozen=True)
class Messages:
    """Messages of one partition in the order of their offsets, as columns.

    Attributes:
        body: Bytes that hold the records.
        offsets: Offset of each message, (n,).
        keys: Where the keys are.
        values: Where the payloads are.
        headers: Begin and number of each message's headers, (2, n).
    """

    body: Bytes
    offsets: Places
    keys: Spans
    values: Spans
    headers: Spans

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Messages":
        """Messages that come from elsewhere than a fetch."""
        body = b"".join(encoded_record(record) for record in records)
        return _columns(body, np.zeros(1, np.int64), np.array([len(records)]))

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, part: slice) -> "Messages":
        return Messages(
            self.body, self.offsets[part], self.keys[:, part], self.values[:, part], self.headers[:, part]
        )

    @property
    def payloads(self) -> Payloads:
        """Payload of each message; empty for a tombstone."""
        return Payloads(self.body, self.values[0], np.maximum(self.values[1], 0))

    def record(self, index: int) -> Record:
        """One message as an object."""
        return Record(
            int(self.offsets[index]), self._bytes(self.keys, index), self._bytes(self.values, index),
            self.headers_of(index),
        )  # fmt: skip

    def headers_of(self, index: int) -> list[tuple[str, bytes | None]]:
        """Headers of one message."""
        place, count = int(self.headers[0, index]), int(self.headers[1, index])
        found: list[tuple[str, bytes | None]] = []
        for _ in range(count):
            size, place = _varint(self.body, place)
            name = self.body[place : place + size].tobytes().decode(errors="replace")
            size, place = _varint(self.body, place + size)
            found.append((name, None if size < 0 else self.body[place : place + size].tobytes()))
            place += max(size, 0)
        return found

    def header_values(self, name: str) -> list[bytes | None] | None:
        """Value of each message's first header of a name, None where it has none; empty if it has no value.

        Returns:
            None where no message has any header.
        """
        if not self.headers[1].any():
            return None
        alike = self._alike_headers(name.encode())
        if alike is not None:
            return alike
        return [
            next((value or b"" for found, value in self.headers_of(index) if found == name), None)
            for index in range(len(self))
        ]

    def _alike_headers(self, name: bytes) -> list[bytes | None] | None:
        """Values of the first headers, if all have this name and values of one size."""
        if not self.headers[1].all():
            return None
        sizes, places = _varints(self.body, self.headers[0])
        if (sizes != len(name)).any() or (
            picked(self.body, places, len(name)) != np.frombuffer(name, np.uint8)
        ).any():
            return None
        sizes, places = _varints(self.body, places + len(name))
        size = int(sizes[0])
        if size <= 0 or (sizes != size).any():
            return None
        return picked(self.body, places, size).view(f"V{size}").ravel().tolist()

    def _bytes(self, spans: Spans, index: int) -> bytes | None:
        place, size = int(spans[0, index]), int(spans[1, index])
        return None if size < 0 else self.body[place : place + size].tobytes()


def joined(parts: Sequence[Messages]) -> Messages:
    """Messages of one partition from several fetches, one after the other."""
    parts = [part for part in parts if len(part)]
    if len(parts) < 2:
        return parts[0] if parts else NO_MESSAGES
    bodies = [part.body[part.keys[0, 0] :] for part in parts]  # the records before may have been cut away
    begins = np.cumsum([0, *map(len, bodies[:-1])])
    moves = [begin - int(part.keys[0, 0]) for begin, part in zip(begins, parts, strict=True)]

    def moved(spans: Sequence[Spans]) -> Spans:
        places = np.concatenate([span[0] + move for span, move in zip(spans, moves, strict=True)])
        return np.stack([places, np.concatenate([span[1] for span in spans])])

    return Messages(
        np.concatenate(bodies),
        np.concatenate([part.offsets for part in parts]),
        moved([part.keys for part in parts]),
        moved([part.values for part in parts]),
        moved([part.headers for part in parts]),
    )


NO_MESSAGES = Messages(
    np.zeros(0, np.uint8), np.zeros(0, np.int64), *(np.zeros((2, 0), np.int64) for _ in range(3))
)


def end_of(records: bytes) -> int | None:
    """Offset after the last whole batch of an answer; None where it holds none.

    Raises:
        RecordFormatError: A batch is not in the format of Kafka 0.11 and later, or its head is damaged.
    """
    end = None
    for place, _ in _batches(records):
        base, _, _, _, _, _, last_delta, *_ = HEAD.unpack_from(records, place)
        if last_delta < 0 or (end is not None and base < end):
            raise RecordFormatError(
                f"the batch at offset {base} ends {last_delta} offsets after it and follows offset {end}"
            )
        end = base + last_delta + 1
    return end


def readable_part(records: bytes) -> bytes:
    """The batches of an answer before the first one that can't be read."""
    end = 0
    with suppress(RecordFormatError):
        for place, stop in _batches(records):
            end_of(records[:stop])
            read_records(records[place:stop], 0)
            end = stop
    return records[:end]


def read_records(records: bytes, start: int, aborted: Sequence[Aborted] = ()) -> Messages:
    """Messages of an answer, without those of aborted transactions and without control records.

    Args:
        records: Batches as the broker sent them; a last one that is cut off is left out.
        start: Offset that was asked for: the first batch may begin before it.
        aborted: The aborted transactions that the answer touches.

    Raises:
        RecordFormatError: A batch is not in the format of Kafka 0.11 and later, or its bytes are broken.
    """
    bodies: list[bytes] = []
    bases: list[int] = []
    counts: list[int] = []
    ahead = deque(sorted(aborted, key=lambda item: item.first_offset))
    aborting: set[int] = set()
    for place, stop in _batches(records):
        head = HEAD.unpack_from(records, place)
        base, attributes, last_delta, producer, count = head[0], head[5], head[6], head[9], head[12]
        while ahead and ahead[0].first_offset <= base + last_delta:
            aborting.add(ahead.popleft().producer_id)
        content = memoryview(records)[place + HEAD.size : stop]
        try:
            if google_crc32c.value(records[place + SUMMED_FROM : stop]) != head[4]:
                raise ValueError("its bytes do not have its checksum")
            if not count:  # compaction keeps a batch without records for its producer's sequence
                continue
            if attributes & CONTROL:
                marker = _columns(bytes(content), np.array([base]), np.array([count])).record(0)
                if marker.key == ABORT:
                    aborting.discard(producer)
            elif not (attributes & TRANSACTIONAL and producer in aborting):
                bodies.append(decompressed(content, attributes & CODEC_BITS))
                bases.append(base)
                counts.append(count)
        except DAMAGES as error:
            raise RecordFormatError(
                f"the batch at offsets {base} to {base + last_delta} can't be read: {error}"
            ) from error
    if not bodies:
        return NO_MESSAGES
    try:
        found = _columns(b"".join(bodies), np.array(bases), np.array(counts))
    except DAMAGES as error:
        raise RecordFormatError(f"batches from offset {bases[0]} to {end_of(records)}: {error}") from error
    return found if found.offsets[0] >= start else found[int(np.searchsorted(found.offsets, start)) :]


def encoded_record(record: Record) -> bytes:
    """A record of a batch whose base offset is 0."""
    parts = [b"\x00", write_long(0), write_long(record.offset), _sized(record.key), _sized(record.value)]
    parts.append(write_long(len(record.headers)))
    for name, value in record.headers:
        parts += [_sized(name.encode()), _sized(value.encode() if isinstance(value, str) else value)]
    content = b"".join(parts)
    return write_long(len(content)) + content


def _batches(records: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of each whole batch."""
    place = 0
    while place + HEAD.size <= len(records):
        base, length = struct.unpack_from(">qi", records, place)
        stop = place + OVERHEAD + length
        if records[place + MAGIC_PLACE] != MAGIC:
            raise RecordFormatError(
                f"the batch at offset {base} has message format {records[place + MAGIC_PLACE]}, from before "
                "Kafka 0.11. Copy the topic with a current client, then land the copy."
            )
        if length < HEAD.size - OVERHEAD:
            raise RecordFormatError(f"the batch at offset {base} says that {length} bytes follow")
        if stop > len(records):
            return
        yield place, stop
        place = stop


_RECORDS = AvroContainer({"type": "record", "name": "batch", "fields": [{"name": "record", "type": "bytes"}]})
_LENGTH_LIMITS = [1 << (VARINT_BITS * size - 1) for size in range(1, 5)]
"""Sizes from which on a record's length takes one more byte."""


def _columns(body: bytes, bases: NDArray[np.int64], counts: NDArray[np.int64]) -> Messages:
    """Where everything is in records that lie side by side.

    Raises:
        ValueError: The records do not fill the bytes.
        IndexError: A record says that it goes on beyond them.
    """
    begins = _record_begins(body, int(counts.sum()))
    content = np.frombuffer(body, np.uint8)
    _, place = _varints(content, begins + 1)  # after the attributes: the time
    deltas, place = _varints(content, place)
    keys, place = _varints(content, place)
    key_places = place
    values, place = _varints(content, place + np.maximum(keys, 0))
    value_places = place
    headers, place = _varints(content, place + np.maximum(values, 0))
    if (place > len(content)).any():
        raise ValueError("a record's parts are longer than the record")
    return Messages(
        content, np.repeat(bases, counts) + deltas, np.stack([key_places, keys]),
        np.stack([value_places, values]), np.stack([place, headers]),
    )  # fmt: skip


def _record_begins(body: bytes, count: int) -> Places:
    """Where each record begins, after its length.

    A record is its length and so many bytes, which is what Avro calls `bytes`: polars walks from one to
    the next in a quarter of the time of a loop.
    """
    if not count:
        return np.zeros(0, np.int64)
    if not 0 < count <= len(body):
        raise ValueError(f"{len(body)} bytes hold no {count} records")
    sizes = _RECORDS.read(count, body)["record"].bin.size().to_numpy().astype(np.int64)
    lengths = np.ones(count, np.int64)
    for limit in _LENGTH_LIMITS:
        if not (is_longer := sizes >= limit).any():
            break
        lengths += is_longer
    ends = np.cumsum(sizes + lengths)
    if ends[-1] != len(body):
        raise ValueError(f"{count} records take {ends[-1]} bytes of {len(body)}")
    return ends - sizes


def _varints(body: Bytes, places: Places) -> tuple[NDArray[np.int64], Places]:
    """The number at each place, and the place after it."""
    byte = body[places]
    numbers, after = (byte & LOW_BITS).astype(np.int64), places + 1
    going = np.flatnonzero(byte >= GOES_ON)
    shift = VARINT_BITS
    while len(going) and shift < 64:
        byte = body[after[going]]
        numbers[going] |= (byte & LOW_BITS).astype(np.int64) << shift
        after[going] += 1
        going = going[byte >= GOES_ON]
        shift += VARINT_BITS
    return (numbers >> 1) ^ -(numbers & 1), after


def _varint(body: Bytes, place: int) -> tuple[int, int]:
    number, after = unsigned(body[place : place + LONGEST_VARINT].tolist())
    return (number >> 1) ^ -(number & 1), place + after


def _sized(value: bytes | None) -> bytes:
    return write_long(-1) if value is None else write_long(len(value)) + value
