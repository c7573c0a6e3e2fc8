"""Writes messages to Kafka: records in the form of their contracts, or bytes as they are.

Add here what concerns sending and delivery. Avoid making records: simulators and replays do that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from orchestration.ingest.contracts import ContractError, MessageFormat, TopicContract
from orchestration.ingest.contracts.avro_writer import compile_writer
from orchestration.ingest.contracts.json_message import encode_json
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.contracts.wire import frame_prefix
from orchestration.ingest.topics import MAX_MESSAGE_BYTES

KNOWN_AT_HEADER = "known_at"
MESSAGES_PER_POLL = 500  # polling after each message doubles the time that sending takes (10 against 5 µs)
DELIVERY_TIMEOUT_S = 120.0
KEPT_FAILURES = 5  # enough to see a pattern; the count says the rest
Headers = list[tuple[str, str | bytes | None]]


class DeliveryError(RuntimeError):
    """Messages were not delivered; names how many, topic and key of the first, and what to do."""


class UnsendableError(DeliveryError):
    """A message that no broker will ever take: sending it again is of no use."""


@dataclass(frozen=True)
class Delivery:
    """What the broker confirmed since the producer was opened.

    Attributes:
        sent: Messages handed over.
        delivered: Messages that the broker acknowledged.
    """

    sent: int
    delivered: int


def producer_settings(
    bootstrap_servers: str, buffer_messages: int, delivery_timeout_s: float = DELIVERY_TIMEOUT_S
) -> dict[str, str | int | bool]:
    """Settings of librdkafka: no duplicate and no reordering on retry, 5 MiB payloads, large batches."""
    return {
        "bootstrap.servers": bootstrap_servers,
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",  # the Java clients' one: the same key finds the same partition
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "queue.buffering.max.messages": buffer_messages,
        "queue.buffering.max.kbytes": 256 * 1024,
        "linger.ms": 20,
        "compression.type": "lz4",
        "log_level": 0,  # it prints up to 20 lines a second of a broker that is away; `flush` says it once
        "message.timeout.ms": round(delivery_timeout_s * 1000),
        "topic.metadata.propagation.max.ms": 5_000,  # `ensure_topics` waited already: later is a misspelling
    }


class MessageProducer:
    """An idempotent producer of bytes that counts what the broker confirmed."""

    def __init__(
        self,
        bootstrap_servers: str,
        buffer_messages: int = 200_000,
        delivery_timeout_s: float = DELIVERY_TIMEOUT_S,
    ) -> None:
        """Open the producer.

        Args:
            bootstrap_servers: `host:port,…` of the cluster.
            buffer_messages: Messages that wait in memory at most; `send` blocks beyond that.
            delivery_timeout_s: A message that the broker has not acknowledged by then has failed.
        """
        self._bootstrap_servers = bootstrap_servers
        self._producer = Producer(producer_settings(bootstrap_servers, buffer_messages, delivery_timeout_s))
        self._sent = self._delivered = self._failed = 0
        self._failures: list[str] = []

    def send(
        self, topic: str, key: bytes | None, payload: bytes | None, headers: Headers | None = None
    ) -> None:
        """Hand one message over; waits while the buffer is full.

        Raises:
            UnsendableError: The message can never be sent (larger than the limit, unknown topic).
        """
        while True:
            try:
                self._producer.produce(
                    topic, value=payload, key=key, headers=headers, on_delivery=self._on_delivery
                )
                break
            except BufferError:
                # Every buffered message is acknowledged or times out, so this wait has an end.
                self._producer.poll(0.5)
            except KafkaException as error:
                raise UnsendableError(
                    f"topic {topic}, key {_key_text(key)}: a message of {len(payload or b'')} bytes was not "
                    f"taken: {error.args[0].str()} (limit {MAX_MESSAGE_BYTES} bytes)"
                ) from error
        self._sent += 1
        if not self._sent % MESSAGES_PER_POLL:
            self._producer.poll(0)

    def flush(self) -> Delivery:
        """Wait until every message is acknowledged or has failed for good.

        Returns:
            Counts since the producer was opened.

        Raises:
            DeliveryError: At least one message failed since the last flush.
        """
        self._producer.flush()
        if self._failed:
            failed, shown = self._failed, "; ".join(self._failures)
            self._failed, self._failures = 0, []
            raise DeliveryError(
                f"{failed} of {self._sent} messages did not reach Kafka at {self._bootstrap_servers}, first: "
                f"{shown}. {self._delivered} were delivered and stay; check the broker, then send the rest"
            )
        return Delivery(self._sent, self._delivered)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._delivered += 1
            return
        self._failed += 1
        if len(self._failures) < KEPT_FAILURES:
            self._failures.append(f"topic {message.topic()}, key {_key_text(message.key())}: {error.str()}")


class RecordProducer:
    """Writes records as their contracts say: wire format, message key, `known_at` header.

    As a context manager it flushes at the end of a block that did not fail.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        contracts: Mapping[str, TopicContract],
        schemas: SchemaCatalog | None = None,
        delivery_timeout_s: float = DELIVERY_TIMEOUT_S,
    ) -> None:
        """Open the producer.

        Args:
            bootstrap_servers: `host:port,…` of the cluster.
            contracts: Contracts by topic.
            schemas: Where schema ids come from; the ids pinned in the repository by default.
            delivery_timeout_s: A record that the broker has not acknowledged by then has failed.
        """
        self._contracts = contracts
        self._schemas = schemas or SchemaCatalog(contracts)
        self._messages = MessageProducer(bootstrap_servers, delivery_timeout_s=delivery_timeout_s)
        self._encoders: dict[str, Callable[[Mapping[str, Any]], bytes]] = {}
        self._last_known: tuple[datetime, Headers] | None = None

    def send(self, topic: str, record: Mapping[str, Any], known_at: datetime | None = None) -> None:
        """Encode one record and hand it over; waits while the buffer is full.

        Args:
            topic: Topic of a contract.
            record: Field name to value; instants are timezone-aware. Optional fields may be left out.
            known_at: When the plant could have known the record; None means "when it lands".

        Raises:
            ContractError: The record does not fit the contract; names topic, key and field.
            UnsendableError: The message can never be sent.
        """
        encode = self._encoders.get(topic) or self.encoder(topic)
        key = self._key(topic, record)
        try:
            payload = encode(record)
        except ContractError as error:
            raise ContractError(f"topic {topic}, key {_key_text(key)}: {error}") from error
        self._messages.send(topic, key, payload, self._headers(known_at))

    def flush(self) -> Delivery:
        """Wait for the broker's acknowledgements; see `MessageProducer.flush`."""
        return self._messages.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()

    def encoder(self, topic: str) -> Callable[[Mapping[str, Any]], bytes]:
        """What makes a message's bytes of a record; asked for once, it tells faults of the schema early.

        Raises:
            ContractError: The topic has no contract, or no schema stands for the contract as it is.
            SchemaRegistryUnavailableError: The registry did not answer.
        """
        if topic not in self._encoders:
            if topic not in self._contracts:
                raise ContractError(f"topic {topic} has no contract; known are {', '.join(self._contracts)}")
            self._encoders[topic] = encoder_of(self._contracts[topic], self._schemas)
        return self._encoders[topic]

    def _key(self, topic: str, record: Mapping[str, Any]) -> bytes:
        try:
            return "/".join([str(record[name]) for name in self._contracts[topic].message_key]).encode()
        except KeyError as error:
            raise ContractError(
                f"topic {topic}: the message key needs field {error.args[0]!r}, which the record lacks: "
                f"{dict(record)!r}"
            ) from error

    def _headers(self, known_at: datetime | None) -> Headers | None:
        if known_at is None:
            return None
        # A replay sends all machines of one instant in a row: formatting it once is enough.
        if self._last_known is None or self._last_known[0] != known_at:
            self._last_known = (known_at, known_at_headers(known_at))
        return self._last_known[1]


def encoder_of(contract: TopicContract, schemas: SchemaCatalog) -> Callable[[Mapping[str, Any]], bytes]:
    """What makes a message's bytes of a record of one topic.

    Raises:
        ContractError: No schema stands for the contract as it is.
        SchemaRegistryUnavailableError: The registry did not answer.
    """
    if contract.format is MessageFormat.JSON:
        return lambda record: encode_json(contract, record)
    latest = schemas.latest(contract.topic)
    write, prefix = compile_writer(latest.schema), frame_prefix(latest.schema_id)
    return lambda record: prefix + write(record)


def known_at_headers(known_at: datetime) -> Headers:
    """The header that says when the plant could have known.

    Raises:
        ContractError: The instant names no time zone.
    """
    if known_at.tzinfo is None:
        raise ContractError(f"known_at {known_at} names no time zone; use an aware datetime (UTC)")
    return [(KNOWN_AT_HEADER, known_at.astimezone(UTC).isoformat().encode())]


def _key_text(key: str | bytes | None) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)
