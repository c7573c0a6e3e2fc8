"""Reads assigned partitions of a topic from given offsets, and knows which were read to their end.

Avoid what messages mean. Positions are the caller's: they move in the transaction of what was read.
"""

from collections import defaultdict
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from orchestration.ingest.offsets import LandingError, PartitionId

BATCH_WAIT_S = 0.5

Batch = tuple[PartitionId, int, list[Message]]
"""A partition, its position before, and its messages in order."""


class TopicReader:
    """A consumer without group: it is told where to begin."""

    def __init__(self, servers: str, group: str, starts: Mapping[PartitionId, int]) -> None:
        """Begin to read.

        Args:
            servers: `host:port,…` of Kafka.
            group: Name in the broker's logs; no position is kept under it.
            starts: First offset of each partition.
        """
        self._partitions = {partition.partition: partition for partition in starts}
        self._next = dict(starts)
        self._unread = set(self._partitions)
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False,
                "auto.offset.reset": "earliest", "enable.partition.eof": True, "log_level": 3,
                "isolation.level": "read_committed",
            }
        )  # fmt: skip
        self._consumer.assign([TopicPartition(p.topic, p.partition, at) for p, at in starts.items()])

    @property
    def partitions(self) -> frozenset[PartitionId]:
        """What is read."""
        return frozenset(self._partitions.values())

    @property
    def unread(self) -> frozenset[int]:
        """Partitions that were not read to their end."""
        return frozenset(self._unread)

    def has_reached(self, ends: Mapping[PartitionId, int]) -> bool:
        """Whether everything before some offsets was read; control records at the end count as read."""
        return all(
            partition.partition not in self._unread or self._next[partition] >= end
            for partition, end in ends.items()
        )

    def read(self, most: int) -> list[Batch]:
        """What came within half a second, at most so many messages.

        Raises:
            KafkaException: The broker reports a failure.
            LandingError: A partition begins again before what was read: it is another topic of this name.
        """
        by_partition: dict[int, list[Message]] = defaultdict(list)
        for message in self._consumer.consume(most, BATCH_WAIT_S):
            number = message.partition() or 0
            error = message.error()
            if error is None:
                by_partition[number].append(message)
                self._unread.add(number)
            elif error.code() == KafkaError._PARTITION_EOF:  # pyright: ignore[reportPrivateUsage]
                self._unread.discard(number)
            else:
                raise KafkaException(error)
        found: list[Batch] = []
        for number, messages in by_partition.items():
            partition = self._partitions[number]
            if (messages[0].offset() or 0) < self._next[partition]:
                raise LandingError(
                    f"{partition}: offset {messages[0].offset()} came after {self._next[partition] - 1}. The "
                    "topic was made anew or its log was cut; its bounds are read again. Nothing is lost"
                )
            found.append((partition, self._next[partition], messages))
            self._next[partition] = (messages[-1].offset() or 0) + 1
        return found

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
