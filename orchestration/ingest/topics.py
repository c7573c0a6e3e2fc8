"""Kafka topics as the contracts want them: partitions, message size, dead-letter topics.

Add topic-level broker settings here. Avoid messages: `producer` writes them, landing reads them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# (the admin client types its futures in part)

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from orchestration.ingest.contracts import Direction, TopicContract

MAX_MESSAGE_BYTES = 8 * 1024 * 1024  # a 5 MiB payload passes, and so does its dead letter with headers
BATCH_OVERHEAD_BYTES = 64 * 1024  # Kafka needs less than 100; compression may add what it can't save
DEAD_LETTER_RETENTION_MS = 30 * 24 * 3600 * 1000  # a person has a month to look at what was refused
REQUEST_TIMEOUT_S = 15.0
METADATA_TIMEOUT_S = 5.0  # a broker that is up answers in milliseconds


class TopicError(RuntimeError):
    """A topic could not be made as its contract says; names topic, reason and what to do."""


@dataclass(frozen=True)
class TopicChanges:
    """What `ensure_topics` did.

    Attributes:
        created: Topics that were made.
        extended: Topics that got more partitions.
    """

    created: tuple[str, ...]
    extended: tuple[str, ...]


def admin_client(bootstrap_servers: str) -> AdminClient:
    """A client that prints nothing of lost connections: what is asked of it fails with the reason."""
    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})


def dead_letter_topic(topic: str) -> str:
    """Topic of the messages that landing refused, with their original bytes."""
    return f"{topic}.dlq"


def wanted_topics(contracts: Mapping[str, TopicContract]) -> dict[str, tuple[int, dict[str, str]]]:
    """Partitions and settings of each topic, dead-letter topics of the landed ones included."""
    wanted: dict[str, tuple[int, dict[str, str]]] = {}
    for contract in contracts.values():
        settings = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
        wanted[contract.topic] = (contract.partitions, settings)
        if contract.direction is Direction.IN:
            # Above what a producer sends: the broker counts the batch around a message too, and one dead
            # letter that it refuses would hold up all that follow.
            limit = str(MAX_MESSAGE_BYTES + BATCH_OVERHEAD_BYTES)
            dead = {"max.message.bytes": limit, "retention.ms": str(DEAD_LETTER_RETENTION_MS)}
            wanted[dead_letter_topic(contract.topic)] = (1, dead)
    return wanted


def ensure_topics(bootstrap_servers: str, contracts: Mapping[str, TopicContract]) -> TopicChanges:
    """Make the topics of the contracts that are missing and widen those that are too narrow.

    A topic with more partitions than its contract keeps them: Kafka cannot take any away. Safe to
    run by several processes at once.

    Args:
        bootstrap_servers: `host:port,…` of the cluster.
        contracts: Contracts by topic.

    Returns:
        What changed; empty on a second run.

    Raises:
        TopicError: The cluster does not answer, or refused a topic.
    """
    admin = admin_client(bootstrap_servers)
    wanted = wanted_topics(contracts)
    present = _partition_counts(admin, bootstrap_servers)
    missing = [
        NewTopic(name, num_partitions=partitions, replication_factor=-1, config=settings)
        for name, (partitions, settings) in wanted.items()
        if name not in present
    ]
    created = _settle(admin.create_topics(missing), KafkaError.TOPIC_ALREADY_EXISTS) if missing else ()
    narrow = [
        NewPartitions(name, partitions)
        for name, (partitions, _) in wanted.items()
        if name in present and present[name] < partitions
    ]
    extended = _settle(admin.create_partitions(narrow), KafkaError.INVALID_PARTITIONS) if narrow else ()
    _wait_until_visible(admin, bootstrap_servers, {name: count for name, (count, _) in wanted.items()})
    return TopicChanges(created, extended)


def _settle(futures: Mapping[str, Any], already_done: int) -> tuple[str, ...]:
    """Wait for admin futures; return the topics that this call changed, not those another one did."""
    changed: list[str] = []
    for topic, future in futures.items():
        try:
            future.result(REQUEST_TIMEOUT_S)
            changed.append(topic)
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() != already_done:
                raise TopicError(
                    f"topic {topic} could not be made as its contract says: {reason.str()}; check the "
                    "broker's limits and this client's rights, then run it again"
                ) from error
    return tuple(sorted(changed))


def _partition_counts(admin: AdminClient, bootstrap_servers: str) -> dict[str, int]:
    try:
        metadata = admin.list_topics(timeout=METADATA_TIMEOUT_S)
    except KafkaException as error:
        raise TopicError(
            f"Kafka at {bootstrap_servers} does not answer: start it (`opsgraph up`) or correct "
            "KAFKA_BOOTSTRAP_SERVERS"
        ) from error
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def _wait_until_visible(admin: AdminClient, bootstrap_servers: str, wanted: Mapping[str, int]) -> None:
    """A created topic reaches the brokers' metadata a moment later; a consumer before that fails."""
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        present = _partition_counts(admin, bootstrap_servers)
        late = sorted(name for name, count in wanted.items() if present.get(name, 0) < count)
        if not late:
            return
        if time.monotonic() > deadline:
            raise TopicError(f"topics {', '.join(late)} were made but are not visible yet; run it again")
        time.sleep(0.05)
