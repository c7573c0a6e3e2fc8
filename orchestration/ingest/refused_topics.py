"""Topics that a landing service can't land for now, each with its reason: the others are landed meanwhile.

A topic is refused while the broker does not have it, while its log ends before the ledger does, and while
only the lake knows its rows. One with a damaged batch is refused too, but only the partition of that batch
is not landed. Add a reason here that stops one topic and no other. Avoid what stops them all (Postgres or
Kafka away): the breakers of `sink_states` have that.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from confluent_kafka.admin import AdminClient

from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.fetch import Fetcher, UnreadableBatchError
from orchestration.ingest.lake_recovery import refuse_after_loss
from orchestration.ingest.offsets import (
    Bounds,
    PartitionId,
    TopicRefusedError,
    broker_bounds,
    plan,
    positions,
)
from orchestration.ingest.services import LandingServices

log = logging.getLogger(__name__)
PROBE_S = 2.0  # a broker that is there answers a question for one batch within some milliseconds


@dataclass(frozen=True)
class RefusedTopic:
    """A topic that is left out.

    Attributes:
        reason: What is wrong, what was kept and what to do.
        since: When it was left out first.
    """

    reason: str
    since: datetime


class RefusedTopics:
    """What one service leaves out; safe to use from its threads."""

    def __init__(self, services: LandingServices, contracts: Mapping[str, TopicContract]) -> None:
        """Nothing is refused before `judge`."""
        self._services, self._contracts = services, contracts
        self._lock = threading.Lock()
        self._refused: dict[str, RefusedTopic] = {}
        self._unreadable: dict[PartitionId, int] = {}

    def leave_out(self, error: UnreadableBatchError) -> None:
        """Take note of a partition that is landed no further; `judge` tries to read on."""
        self._unreadable[error.partition] = error.offset
        self._refuse(error)

    def read_all_again(self) -> None:
        """Forget what could not be read: landing begins anew, and comes to it again."""
        self._unreadable.clear()

    def judge(self, admin: AdminClient, topics: Sequence[str]) -> list[str]:
        """Ask broker, ledger and lake about topics; gives those that may be landed.

        Raises:
            LandingError: The broker does not answer, which says nothing about any topic.
        """
        return [topic for topic in topics if self._is_fit(admin, topic)]

    def states(self) -> Mapping[str, RefusedTopic]:
        """What is left out now, by topic."""
        with self._lock:
            return dict(self._refused)

    def _is_fit(self, admin: AdminClient, topic: str) -> bool:
        try:
            bounds = broker_bounds(admin, [topic])
            self._read_again(topic, bounds)
            refuse_after_loss(self._services, self._contracts, [topic])
            with psycopg.connect(self._services.database_url) as connection:
                plan(bounds, positions(connection, [topic]))
        except TopicRefusedError as error:
            self._refuse(error)
            return False
        with self._lock:
            known = self._refused.pop(topic, None)
        if known is not None:
            log.info("%s can be landed again", topic)
        return True

    def _refuse(self, error: TopicRefusedError) -> None:
        with self._lock:
            known = self._refused.get(error.topic)
            since = known.since if known else datetime.now(UTC)
            self._refused[error.topic] = RefusedTopic(str(error), since)
        if known is None:
            log.warning("left out, the other topics are landed: %s", error)

    def _read_again(self, topic: str, bounds: Mapping[PartitionId, Bounds]) -> None:
        """Read again what could not be read, unless it is gone: deleted, or its topic recreated.

        Raises:
            UnreadableBatchError: It still can't be read.
        """
        for partition, offset in [item for item in self._unreadable.items() if item[0].topic == topic]:
            if partition in bounds and bounds[partition].low <= offset:
                with closing(Fetcher(self._services.bootstrap_servers, {partition: offset})) as fetcher:
                    deadline = time.monotonic() + PROBE_S
                    while not fetcher.fetch(PROBE_S / 10) and time.monotonic() < deadline:
                        pass
            del self._unreadable[partition]
