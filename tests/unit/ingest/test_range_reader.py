"""What the reader hands on, and how much it holds; no broker is asked."""

import uuid
from collections.abc import Collection
from typing import cast

import pytest

from orchestration.ingest.consume import RangeReader
from orchestration.ingest.fetch import Fetched, Fetcher
from orchestration.ingest.kafka_records import Messages, Record
from orchestration.ingest.offsets import PartitionId, Range

BATCH_MESSAGES, PER_ANSWER, PARTITIONS = 100, 30, 64
TOPIC_ID = uuid.UUID(int=3)


class EndlessFetcher:
    """Gives some messages of each partition with every call, as a broker with a long backlog does."""

    def __init__(self, positions: dict[PartitionId, int]) -> None:
        self.positions = positions
        self.left_out: Collection[PartitionId] = ()

    def fetch(self, *_: object, **__: object) -> list[Fetched]:
        """The next messages."""
        found: list[Fetched] = []
        for partition, lo in self.positions.items():
            if partition not in self.left_out:
                records = [Record(lo + number, None, b"12345678") for number in range(PER_ANSWER)]
                found.append(Fetched(partition, Messages.of(records), lo + PER_ANSWER))
                self.positions[partition] = lo + PER_ANSWER
        return found

    def leave_out(self, partitions: Collection[PartitionId]) -> None:
        """Give nothing of these from now on."""
        self.left_out = set(partitions)

    def close(self) -> None:
        """Nothing to disconnect."""


@pytest.mark.parametrize("is_wanted", [True, False])
@pytest.mark.parametrize("limits", [(BATCH_MESSAGES, 1 << 30), (1 << 30, 8 * BATCH_MESSAGES)])
def test_what_is_held_does_not_grow_with_the_partitions(is_wanted: bool, limits: tuple[int, int]) -> None:
    """Forbids memory that grows with the number of partitions: each would be allowed a batch of its own.

    4 full batches are what a topic of four partitions holds; 64 would hold 64. One more answer is read
    before the limit is noticed.
    """
    ids = [PartitionId("t", TOPIC_ID, number) for number in range(PARTITIONS)]
    reader = RangeReader("127.0.0.1:1", dict.fromkeys(ids, Range(0, 10**6)), False, *limits, window_s=1e9)
    reader.close()
    reader._fetcher = cast("Fetcher", EndlessFetcher(dict.fromkeys(ids, 0)))
    reached = dict.fromkeys(ids, 0)
    for _ in range(10):
        chunks = reader.read(is_wanted)
        assert sum(len(chunk.messages) for chunk in chunks) <= 4 * BATCH_MESSAGES + PARTITIONS * PER_ANSWER
        for chunk in chunks:
            assert chunk.lo == reached[chunk.partition]
            assert chunk.messages.offsets.tolist() == list(range(chunk.lo, chunk.hi))
            reached[chunk.partition] = chunk.hi
    assert min(reached.values()) > 0
