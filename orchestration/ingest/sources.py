"""What all sources share: their position in the database, how their frames are sent, their report.

A source is a simulator or a replay. Its position says through which instant (exclusive, by `known_at`)
everything has reached Kafka; it moves after the broker has acknowledged a chunk. A run that is cut
off between the two sends that chunk again: such repeats have the same content and key, are declared
in the ledger's account as duplicates and resolved by the warehouse. Avoid making messages here.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from orchestration.ingest.avro_frames import encode_frame
from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.contracts.wire import frame_prefix
from orchestration.ingest.producer import KNOWN_AT_HEADER, MessageProducer


class SourceError(RuntimeError):
    """A source cannot run; says which one, why, what was kept and what to do."""


@dataclass(frozen=True)
class SourceReport:
    """What a run of a source did.

    Attributes:
        source: Name of the source's position.
        tenant_id: Tenant of its messages.
        produced_from_at: Where the run began (plant time, by `known_at`).
        produced_through_at: First instant that has not been produced.
        messages: Messages that the broker acknowledged, by topic.
    """

    source: str
    tenant_id: str
    produced_from_at: datetime
    produced_through_at: datetime
    messages: Mapping[str, int]

    @property
    def total(self) -> int:
        """Messages of all topics."""
        return sum(self.messages.values())


@dataclass(frozen=True)
class SourceProgress:
    """How far a run is.

    Attributes:
        share: Share of the run's plant time that is done, 0 to 1.
        reached_at: First instant that has not been produced.
        messages: Messages sent by this run so far.
    """

    share: float
    reached_at: datetime
    messages: int


OnProgress = Callable[[SourceProgress], None]


@dataclass
class SourcePosition:
    """The position of one source, held by this process alone while the context is open.

    Attributes:
        source: Name of the position.
        produced_through_at: First instant that has not been produced; None before the first run.
        detail: Totals over all runs, by name and topic.
    """

    source: str
    produced_through_at: datetime | None
    detail: dict[str, dict[str, int]]
    _connection: psycopg.Connection[Any] = field(repr=False)

    @classmethod
    @contextmanager
    def held(cls, database_url: str, source: str) -> Generator[Self]:
        """Take the position of a source; a second process that wants it is refused, not queued.

        Raises:
            SourceError: Another process is producing this source now.
        """
        with psycopg.connect(database_url, autocommit=True) as connection:
            taken = connection.execute(
                "select pg_try_advisory_lock(hashtextextended(%s, 0))", (f"source {source}",)
            ).fetchone()
            if not taken or not taken[0]:
                raise SourceError(
                    f"Source {source} is being produced by another process; nothing was sent. Wait for it "
                    "to end, or stop it, then run this again: it continues where that one stopped."
                )
            row = connection.execute(
                "select produced_through_at, detail from ops.source_positions where source = %s", (source,)
            ).fetchone()
            # Closing the connection gives the lock back, also when the process dies.
            yield cls(source, row[0] if row else None, dict(row[1]) if row else {}, connection)

    def move(self, to: datetime, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Move the position after a chunk was acknowledged, and add its counts to the totals.

        Args:
            to: First instant that has not been produced.
            counts: By name (`messages`, …) and topic.
        """
        for name, by_topic in counts.items():
            totals = self.detail.setdefault(name, {})
            for topic, count in by_topic.items():
                totals[topic] = totals.get(topic, 0) + count
        self._connection.execute(
            """
            insert into ops.source_positions (source, produced_through_at, detail) values (%s, %s, %s)
            on conflict (source) do update
            set produced_through_at = excluded.produced_through_at, detail = excluded.detail,
                updated_at = now()
            """,
            (self.source, to, Jsonb(self.detail)),
        )
        self.produced_through_at = to


class FrameProducer:
    """Sends whole frames of records of Avro topics, and waits until the broker has them."""

    def __init__(
        self,
        bootstrap_servers: str,
        contracts: Mapping[str, TopicContract],
        schemas: SchemaCatalog,
    ) -> None:
        """Open the producer.

        Args:
            bootstrap_servers: `host:port,…` of the cluster.
            contracts: Contracts by topic.
            schemas: Where schema ids come from.
        """
        self._contracts = contracts
        self._schemas = schemas
        self._messages = MessageProducer(bootstrap_servers)

    def send(self, frames: Mapping[str, pl.DataFrame]) -> dict[str, int]:
        """Send frames in the order of their rows and wait for the broker's acknowledgements.

        Args:
            frames: By topic: fields of its contract and the column `known_at`, which becomes the header.

        Returns:
            Messages by topic.

        Raises:
            ContractError: A frame does not fit its contract.
            DeliveryError: Messages did not reach the broker.
        """
        for topic, frame in frames.items():
            latest = self._schemas.latest(topic)
            payloads = encode_frame(latest.schema, frame.drop("known_at"), frame_prefix(latest.schema_id))
            keys = frame.select(pl.concat_str(self._contracts[topic].message_key, separator="/")).to_series()
            known_at = frame["known_at"].dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")
            for key, payload, known in zip(keys, payloads, known_at, strict=True):
                self._messages.send(topic, key.encode(), payload, [(KNOWN_AT_HEADER, known)])
        self._messages.flush()
        return {topic: frame.height for topic, frame in frames.items()}
