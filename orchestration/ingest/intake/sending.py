"""Sends records of any source to their topic; what can't be a record goes along as it was read.

A refused row is sent as its original text with the reason in a header: landing can't decode it, so it
becomes a dead letter like every other bad message, in the ledger and with `dead-letters list|show|replay`.
Nothing is lost between a source and Kafka that Kafka does not know of. Avoid reading sources here.
"""

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestration.ingest.contracts import ContractError, TopicContract
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.intake.coerce import coerce_record
from orchestration.ingest.producer import Headers, MessageProducer, RecordProducer

PLACE_HEADER, REASON_HEADER = "intake_place", "intake_reason"
KEPT_REASONS = 5


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


class IntakeSender:
    """Sends rows of one topic and waits for the broker."""

    def __init__(
        self,
        bootstrap_servers: str,
        contracts: Mapping[str, TopicContract],
        topic: str,
        schemas: SchemaCatalog | None = None,
    ) -> None:
        """Open the producers.

        Raises:
            ContractError: The topic has no contract.
        """
        if topic not in contracts:
            raise ContractError(f"topic {topic} has no contract; known are {', '.join(sorted(contracts))}")
        self._contract = contracts[topic]
        self._records = RecordProducer(bootstrap_servers, contracts, schemas)
        self._refused = MessageProducer(bootstrap_servers)

    def send(self, rows: Iterable[SourceRow]) -> Intake:
        """Send rows and wait until the broker has acknowledged each.

        Raises:
            DeliveryError: The broker did not take some; the caller must not move its cursor.
        """
        sent, reasons, refused = 0, list[str](), 0
        for row in rows:
            try:
                record = coerce_record(self._contract, row.values)
                self._records.send(self._contract.topic, record, row.known_at)
                sent += 1
            except ContractError as error:
                refused += 1
                if len(reasons) < KEPT_REASONS:
                    reasons.append(f"{row.place}: {error}")
                self._refuse(row, str(error))
        self._records.flush()
        self._refused.flush()
        return Intake(self._contract.topic, sent, refused, tuple(reasons))

    def _refuse(self, row: SourceRow, reason: str) -> None:
        headers: Headers = [(PLACE_HEADER, row.place.encode()), (REASON_HEADER, reason.encode())]
        key = "/".join(str(row.values.get(name, "")) for name in self._contract.message_key)
        text = json.dumps(dict(row.values), default=str, ensure_ascii=True)
        # The word in front keeps a JSON topic from taking the text for a message that merely lacks fields.
        self._refused.send(
            self._contract.topic, key.encode(), b"refused by intake\n" + text.encode(), headers
        )


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
        """Send rows and wait until the broker has acknowledged each; see `IntakeSender.send`."""
        with self._locks[topic]:
            if topic not in self._senders:
                self._senders[topic] = IntakeSender(
                    self._bootstrap_servers, self._contracts, topic, self._schemas
                )
            return self._senders[topic].send(rows)
