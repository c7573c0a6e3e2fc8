"""What waits in Kafka, as evidence for a run request: topic ids and offset ranges, never a clock.

Add here what a sensor or a status page asks about lag. Avoid landing.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from orchestration.ingest.leases import SERVICE_LEASE, holder_of, topic_lease
from orchestration.ingest.offsets import (
    PartitionId,
    Range,
    TopicRefusedError,
    bounds_of,
    described,
    plan,
    positions,
)
from orchestration.ingest.services import LandingServices
from orchestration.ingest.topics import admin_client

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """What waits now.

    Attributes:
        evidence: Topic, topic id and range per partition, as text; empty where nothing waits.
        topics: Topics with waiting offsets.
        holder: Who lands them already; None where nobody does.
    """

    evidence: str
    topics: tuple[str, ...]
    holder: str | None


def lag(services: LandingServices, topics: Sequence[str]) -> dict[PartitionId, Range]:
    """Range that waits in each partition; empty ranges included.

    Nobody can say it of a topic that is refused: it is left out, so that the others are landed.
    """
    admin = admin_client(services.bootstrap_servers)
    partitions, refused = described(admin, topics)
    there = [topic for topic in topics if topic not in refused]
    bounds = bounds_of(admin, partitions)
    with psycopg.connect(services.database_url) as connection:
        known = positions(connection, there)
    pending: dict[PartitionId, Range] = {}
    for topic in there:
        own = {item: bound for item, bound in bounds.items() if item.topic == topic}
        try:
            pending |= plan(own, known).pending
        except TopicRefusedError as error:
            refused[topic] = error
    for error in refused.values():
        log.info("left out: %s", error)
    return pending


def waiting_evidence(services: LandingServices, topics: Sequence[str]) -> Waiting:
    """Ask the broker and Postgres once; takes some 50 ms."""
    with psycopg.connect(services.database_url) as connection:
        holders = [holder_of(connection, name) for name in [SERVICE_LEASE, *map(topic_lease, topics)]]
    holder = next((item for item in holders if item), None)
    if holder:
        return Waiting("", (), holder)
    pending = {item: span for item, span in lag(services, topics).items() if len(span)}
    waiting = tuple(sorted({item.topic for item in pending}))
    return Waiting("; ".join(_evidence(topic, pending) for topic in waiting), waiting, None)


def _evidence(topic: str, pending: Mapping[PartitionId, Range]) -> str:
    own = sorted((item, span) for item, span in pending.items() if item.topic == topic)
    ranges = ",".join(f"{item.partition}={span.lo}-{span.hi}" for item, span in own)
    return f"{topic}:{own[0][0].topic_id}:{ranges}"
