"""Sends records of any source to their topic; what can't be a record goes along as it was read.

A refused row is sent as its original text with the reason in a header: landing can't decode it, so it
becomes a dead letter like every other bad message, in the ledger and with `dead-letters list|show|replay`.
Nothing is lost between a source and Kafka that Kafka does not know of. Avoid reading sources here.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestration.ingest.contracts import ContractError, Direction, TopicContract
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.intake.coerce import coerce_record
from orchestration.ingest.intake.refused import refused_payload, storable
from orchestration.ingest.producer import (
    DELIVERY_TIMEOUT_S,
    DeliveryError,
    Headers,
    MessageProducer,
    RecordProducer,
)

PLACE_HEADER, REASON_HEADER = "intake_place", "intake_reason"
KEPT_REASONS = 5
SHARED_DELIVERY_TIMEOUT_S, SHARED_LOCK_TIMEOUT_S = 15.0, 5.0
"""A request waits no longer: whoever sent it has a timeout too, and the same key makes trying again safe."""


class SchemaFaultError(ContractError):
    """No row of the topic can be written now, whatever it holds; says what to do about the schema."""


class BusyError(DeliveryError):
    """Another request of the topic waits for the broker; nothing of this one was sent."""


@dataclass(frozen=True)
class SourceRow:
    """One row of a source.

    Attributes:
        place: Where it stands: file and line, page and index, table and key.
        values: Field name to value, as the source has it.
        known_at: When the plant could have known it; None means when it lands.
    """

    place: str
    values: Mapping[str, Any]
    known_at: datetime | None = None


@dataclass(frozen=True)
class Intake:
    """What a run sent, all of it acknowledged by the broker.

    Attributes:
        topic: Topic.
        sent: Rows sent as records.
        refused: Rows sent as they were read, which landing turns into dead letters.
        reasons: The first reasons, with their places.
    """

    topic: str
    sent: int
    refused: int
    reasons: tuple[str, ...] = ()


def landed_contract(contracts: Mapping[str, TopicContract], topic: str) -> TopicContract:
    """Contract of a topic that sources may write to.

    Raises:
        ContractError: The topic has no contract, or it is one that this system writes itself.
    """
    contract = contracts.get(topic)
    if contract is None or contract.direction is not Direction.IN:
        landed = sorted(name for name, item in contracts.items() if item.direction is Direction.IN)
        what = "has no contract" if contract is None else "is written by this system alone"
        raise ContractError(f"topic {topic} {what}; sources write to {', '.join(landed)}")
    return contract


class IntakeSender:
    """Sends rows of one topic and waits for the broker."""

    def __init__(
        self,
        bootstrap_servers: str,
        contracts: Mapping[str, TopicContract],
        topic: str,
        schemas: SchemaCatalog | None = None,
        delivery_timeout_s: float = DELIVERY_TIMEOUT_S,
    ) -> None:
        """Open the producers.

        Raises:
            ContractError: The topic is none that sources write to.
        """
        self._contract = landed_contract(contracts, topic)
        self._records = RecordProducer(bootstrap_servers, contracts, schemas, delivery_timeout_s)
        self._refused = MessageProducer(bootstrap_servers, delivery_timeout_s=delivery_timeout_s)

    def send(self, rows: Iterable[SourceRow]) -> Intake:
        """Send rows and wait until the broker has acknowledged each.

        Raises:
            SchemaFaultError: The topic's schema stands in the way of every row; none was sent.
            SchemaRegistryUnavailableError: The registry did not answer; none was sent.
            DeliveryError: The broker did not take some; the caller must not move its cursor.
        """
        try:
            self._records.encoder(self._contract.topic)
        except ContractError as error:
            raise SchemaFaultError(str(error)) from error
        sent, reasons, refused = 0, list[str](), 0
        try:
            for row in rows:
                try:
                    record = coerce_record(self._contract, row.values)
                    self._records.send(self._contract.topic, record, row.known_at)
                    sent += 1
                except ContractError as error:
                    refused += 1
                    if len(reasons) < KEPT_REASONS:
                        reasons.append(storable(f"{row.place}: {error}"))
                    self._refuse(row, str(error))
        finally:
            # Both, also when the first fails: a failure that stays would be told to the next caller.
            try:
                self._records.flush()
            finally:
                self._refused.flush()
        return Intake(self._contract.topic, sent, refused, tuple(reasons))

    def _refuse(self, row: SourceRow, reason: str) -> None:
        headers: Headers = [
            (PLACE_HEADER, storable(row.place).encode()),
            (REASON_HEADER, storable(reason).encode()),
        ]
        key = storable("/".join(str(row.values.get(name, "")) for name in self._contract.message_key))
        self._refused.send(self._contract.topic, key.encode(), refused_payload(row.values), headers)


class SharedSenders:
    """Senders of a process that answers several requests at once; one request of a topic at a time.

    Without the lock a request could wait for the failed message of another one, and be told of it in its
    place.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        contracts: Mapping[str, TopicContract],
        schemas: SchemaCatalog | None = None,
    ) -> None:
        """Open nothing yet: a topic's producers are made with its first request."""
        self._bootstrap_servers, self._contracts, self._schemas = bootstrap_servers, contracts, schemas
        self._senders: dict[str, IntakeSender] = {}
        self._locks = {topic: threading.Lock() for topic in contracts}

    def send(self, topic: str, rows: Iterable[SourceRow]) -> Intake:
        """Send rows and wait until the broker has acknowledged each; see `IntakeSender.send`.

        Raises:
            BusyError: An earlier request of the topic still waits for the broker.
        """
        lock = self._locks[topic]
        if not lock.acquire(timeout=SHARED_LOCK_TIMEOUT_S):
            raise BusyError(
                f"topic {topic}: other requests have waited for Kafka for {SHARED_LOCK_TIMEOUT_S:.0f} s; "
                "nothing of this one was sent"
            )
        try:
            if topic not in self._senders:
                self._senders[topic] = IntakeSender(
                    self._bootstrap_servers, self._contracts, topic, self._schemas, SHARED_DELIVERY_TIMEOUT_S
                )
            return self._senders[topic].send(rows)
        finally:
            lock.release()
