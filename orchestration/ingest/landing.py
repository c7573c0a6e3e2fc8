"""Lands one topic: everything that Kafka holds of it and the ledger does not.

Add here what a bounded landing does before and after its pipeline. Avoid the stages themselves
(`pipeline`) and what runs for ever (`landing_service`).
"""

import gc
import os
import socket
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from confluent_kafka.admin import AdminClient

from orchestration.ingest.batch import Batch
from orchestration.ingest.contracts import Direction, TopicContract, load_contracts
from orchestration.ingest.leases import acquire, holder_of, topic_lease
from orchestration.ingest.ledger import Counts, account_for_lost
from orchestration.ingest.offsets import (
    LandingError,
    PartitionId,
    Plan,
    Range,
    begin_positions,
    broker_bounds,
    plan,
    positions,
)
from orchestration.ingest.outbox import relay_outbox
from orchestration.ingest.pipeline import LandingPipeline, PipelineSettings
from orchestration.ingest.producer import MessageProducer
from orchestration.ingest.services import LandingServices

FOLLOW_POLL_S = 0.2
FOLLOW_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class PartitionReport:
    """What was landed of one partition.

    Attributes:
        partition: Which.
        offsets: Range that was accounted for.
        counts: Its terms.
    """

    partition: PartitionId
    offsets: Range
    counts: Counts


@dataclass(frozen=True)
class LandingReport:
    """What one landing did.

    Attributes:
        topic: Topic.
        partitions: Per partition; partitions without news are left out.
        batch_ids: Ledger rows that were written, ascending.
        lag: Offsets that waited when it ended.
        seconds: Wall time from the first look at the broker to the last commit.
        findings: What was found lost, in words.
        landed_by: `this run`, or the holder of the lease who landed it meanwhile.
    """

    topic: str
    partitions: tuple[PartitionReport, ...]
    batch_ids: tuple[int, ...]
    lag: int
    seconds: float
    findings: tuple[str, ...] = ()
    landed_by: str = "this run"

    @property
    def counts(self) -> Counts:
        """Terms over all partitions."""
        return sum((item.counts for item in self.partitions), Counts())


@dataclass
class _Progress:
    """Collects what the pipeline commits."""

    ranges: dict[PartitionId, Range] = field(default_factory=dict[PartitionId, Range])
    counts: dict[PartitionId, Counts] = field(default_factory=dict[PartitionId, Counts])
    batch_ids: list[int] = field(default_factory=list[int])
    has_dead_letters: bool = False

    def add(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            known = self.ranges.get(batch.partition)
            lo = known.lo if known else batch.offsets.lo
            self.ranges[batch.partition] = Range(lo, batch.offsets.hi)
            self.counts[batch.partition] = self.counts.get(batch.partition, Counts()) + batch.counts
            self.batch_ids.append(batch.batch_id)
            self.has_dead_letters |= bool(batch.dead_letters)

    def partitions(self) -> tuple[PartitionReport, ...]:
        return tuple(
            PartitionReport(item, self.ranges[item], self.counts[item]) for item in sorted(self.ranges)
        )


def landed_topics(contracts: Mapping[str, TopicContract]) -> list[str]:
    """Topics that opsgraph lands, in order."""
    return [topic for topic, contract in contracts.items() if contract.direction is Direction.IN]


def holder_name(purpose: str) -> str:
    """Who holds a lease, for people."""
    return f"{purpose} on {socket.gethostname()}, process {os.getpid()}"


def land_topic(
    topic: str,
    services: LandingServices,
    until: Mapping[int, int] | None = None,
    run_id: str | None = None,
    contracts: Mapping[str, TopicContract] | None = None,
    settings: PipelineSettings | None = None,
) -> LandingReport:
    """Land everything that the topic holds now, into Postgres and the lake.

    While somebody else lands the topic (the service), this waits until that lander has reached the
    same offsets, and reports what it landed.

    Args:
        topic: Topic with a contract of direction `in`.
        services: Addresses.
        until: End offset by partition that must not be passed; the broker's end at the start otherwise.
        run_id: Dagster run, for the ledger.
        contracts: Contracts by topic; those of the repository by default.
        settings: Sizes and times.

    Returns:
        What was landed.

    Raises:
        LandingError: Landing can't go on; what was committed before stays.
    """
    contracts = load_contracts(services.contracts_dir) if contracts is None else contracts
    if topic not in landed_topics(contracts):
        raise LandingError(
            f"{topic} is no topic that is landed; known are {', '.join(landed_topics(contracts))}. "
            "A new one needs a contract with direction `in`."
        )
    started = time.perf_counter()
    admin = AdminClient({"bootstrap.servers": services.bootstrap_servers})
    lease = acquire(services.database_url, topic_lease(topic), holder_name(run_id or "opsgraph land"))
    if lease is None:
        return _follow(topic, services, admin, until, started)
    progress = _Progress()
    with lease, collector_paused():
        planned, findings = prepare(services, admin, [topic], until, run_id)
        pipeline = LandingPipeline(
            services, contracts, planned.pending, is_bounded=True,
            settings=settings or PipelineSettings(), run_id=run_id, on_commit=progress.add,
        )  # fmt: skip
        pipeline.run(threading.Event())
        seconds = time.perf_counter() - started
        if pipeline.lake_failure is not None:
            raise LandingError(
                f"{topic}: Postgres has everything up to {_ends(planned)}, but the lake was not written: "
                f"{pipeline.lake_failure}. Correct that and land again: the lake catches up from Postgres."
            ) from pipeline.lake_failure
        relay_outbox(services.database_url, MessageProducer(services.bootstrap_servers))
    return LandingReport(
        topic=topic,
        partitions=progress.partitions(),
        batch_ids=tuple(sorted(progress.batch_ids)),
        lag=_lag(services, admin, topic),
        seconds=seconds,
        findings=findings,
    )


def prepare(
    services: LandingServices,
    admin: AdminClient,
    topics: Sequence[str],
    until: Mapping[int, int] | None,
    run_id: str | None,
) -> tuple[Plan, tuple[str, ...]]:
    """Find what is pending, give new partitions a position and account for what retention deleted."""
    bounds = broker_bounds(admin, topics)
    with psycopg.connect(services.database_url) as connection:
        planned = plan(bounds, positions(connection, topics), until)
        findings = tuple(
            account_for_lost(connection, partition, lost, run_id) for partition, lost in planned.lost.items()
        )
        begin_positions(connection, {item: span.lo for item, span in planned.pending.items()})
    return planned, findings


def _lag(services: LandingServices, admin: AdminClient, topic: str) -> int:
    bounds = broker_bounds(admin, [topic])
    with psycopg.connect(services.database_url) as connection:
        return plan(bounds, positions(connection, [topic])).lag


def _ends(planned: Plan) -> str:
    return ", ".join(f"{item}: {span.hi}" for item, span in sorted(planned.pending.items()))


def _follow(
    topic: str,
    services: LandingServices,
    admin: AdminClient,
    until: Mapping[int, int] | None,
    started: float,
) -> LandingReport:
    """Wait until the holder of the lease has landed what is pending now; report the ledger's rows."""
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        target = plan(broker_bounds(admin, [topic]), positions(connection, [topic]), until)
        before = connection.execute("select coalesce(max(batch_id), 0) from ops.landing_ledger").fetchone()
        holder = holder_of(connection, topic_lease(topic)) or "another lander"
        while True:
            reached = positions(connection, [topic])
            if all(reached.get(item, -1) >= span.hi for item, span in target.pending.items() if len(span)):
                break
            if time.perf_counter() - started > FOLLOW_TIMEOUT_S:
                raise LandingError(
                    f"{topic}: {holder} holds the lease but has not landed up to {_ends(target)} within "
                    f"{FOLLOW_TIMEOUT_S:.0f} s. Nothing is lost; look at its log, or stop it and land again."
                )
            time.sleep(FOLLOW_POLL_S)
        rows = _ledger_since(connection, topic, int(before[0]) if before else 0)
    return LandingReport(
        topic=topic,
        partitions=tuple(
            PartitionReport(item, span, Counts()) for item, span in target.pending.items() if len(span)
        )
        if not rows
        else tuple(rows.values()),
        batch_ids=(),
        lag=_lag(services, admin, topic),
        seconds=time.perf_counter() - started,
        landed_by=holder,
    )


def _ledger_since(
    connection: psycopg.Connection[Any], topic: str, batch_id: int
) -> dict[PartitionId, PartitionReport]:
    rows = connection.execute(
        """
        select topic_id, kafka_partition, min(offset_lo), max(offset_hi), sum(landed)::bigint,
               sum(dead_lettered)::bigint, sum(discarded)::bigint, sum(tombstones)::bigint,
               sum(absent)::bigint, sum(discarded_values)::bigint
        from ops.landing_ledger
        where topic = %s and batch_id > %s and offset_hi > offset_lo
        group by topic_id, kafka_partition
        """,
        (topic, batch_id),
    ).fetchall()
    found: dict[PartitionId, PartitionReport] = {}
    for topic_id, partition, lo, hi, *terms in rows:
        place = PartitionId(topic, topic_id, partition)
        found[place] = PartitionReport(place, Range(lo, hi), Counts(*terms))
    return found


@contextmanager
def collector_paused() -> Generator[None]:
    """Pause Python's cycle collector: it walks 100,000 live messages per batch and finds no cycle.

    Landing runs a quarter faster without it; memory is bounded by the pipeline's queues.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
