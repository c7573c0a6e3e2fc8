"""Lands one topic: everything that Kafka holds of it and the ledger does not.

Add here what a bounded landing does before and after its pipeline. Avoid the stages themselves
(`pipeline`) and what runs for ever (`landing_service`).
"""

import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from confluent_kafka.admin import AdminClient

from orchestration.ingest.batch import Batch
from orchestration.ingest.contracts import Direction, TopicContract, load_contracts
from orchestration.ingest.lake_recovery import refuse_after_loss
from orchestration.ingest.landing_report import LandingProgress, LandingReport, landed_since
from orchestration.ingest.leases import acquire, holder_of, topic_lease
from orchestration.ingest.ledger import account_for_lost
from orchestration.ingest.offsets import (
    Bounds,
    LandingError,
    PartitionId,
    Plan,
    begin_positions,
    broker_bounds,
    plan,
    positions,
)
from orchestration.ingest.outbox import relay_outbox
from orchestration.ingest.partition_share import PartitionShare
from orchestration.ingest.pipeline import LandingPipeline, PipelineSettings
from orchestration.ingest.producer import DeliveryError, MessageProducer
from orchestration.ingest.run_limits import RunLimits, SizeGate
from orchestration.ingest.services import LandingServices
from orchestration.ingest.topics import admin_client

FOLLOW_POLL_S = 0.2
FOLLOW_TIMEOUT_S = 300.0
LEASE_RETRY_S = 2.0  # how soon a waiting run notices that the holder of the lease has died


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
    partitions: Collection[int] | None = None,
    limits: RunLimits | None = None,
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
        partitions: Land only these, while other landers land the rest; all by default.
        limits: How much at most; everything by default.

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
    landing = _Landing(
        topic, services, contracts, until, run_id, settings or PipelineSettings(), partitions,
        limits or RunLimits(),
    )  # fmt: skip
    holder = holder_name(run_id or "opsgraph land")
    while True:
        lease = acquire(services.database_url, topic_lease(topic), holder, is_shared=partitions is not None)
        if lease is not None:
            with lease, collector_paused(), closing(PartitionShare(services.database_url)) as share:
                if partitions is None or share.take(topic, partitions) == frozenset(partitions):
                    return landing.land()
        report = landing.wait_for_other()
        if report is not None:
            return report


def prepare(
    services: LandingServices,
    admin: AdminClient,
    topics: Sequence[str],
    until: Mapping[int, int] | None,
    run_id: str | None,
    is_own: Callable[[PartitionId], bool] = lambda _: True,
) -> tuple[Plan, tuple[str, ...]]:
    """Find what is pending, give new partitions a position and account for what retention deleted."""
    bounds = {item: bound for item, bound in broker_bounds(admin, topics).items() if is_own(item)}
    with psycopg.connect(services.database_url) as connection:
        planned = plan(bounds, positions(connection, topics), until)
        findings = tuple(
            account_for_lost(connection, partition, lost, run_id) for partition, lost in planned.lost.items()
        )
        begin_positions(connection, {item: span.lo for item, span in planned.pending.items()})
    return planned, findings


class _Landing:
    """One call of `land_topic`: lands, or waits for the lander that holds the lease."""

    def __init__(
        self,
        topic: str,
        services: LandingServices,
        contracts: Mapping[str, TopicContract],
        until: Mapping[int, int] | None,
        run_id: str | None,
        settings: PipelineSettings,
        partitions: Collection[int] | None,
        limits: RunLimits,
    ) -> None:
        self._partitions, self._limits = partitions, limits
        self._topic, self._services, self._contracts = topic, services, contracts
        self._until, self._run_id, self._settings = until, run_id, settings
        self._started = time.perf_counter()
        self._admin = admin_client(services.bootstrap_servers)
        self._target: Plan | None = None

    def land(self) -> LandingReport:
        """Land what waits; the caller holds the lease."""
        refuse_after_loss(self._services, self._contracts, [self._topic])
        progress = LandingProgress()
        planned, findings = prepare(
            self._services, self._admin, [self._topic], self._until, self._run_id, self._is_own
        )
        planned, ending = self._limits.capped(planned), threading.Event()
        gate = SizeGate(self._limits, ending)

        def committed(batches: list[Batch]) -> None:
            progress.add(batches)
            gate.add(batches)

        pipeline = LandingPipeline(
            self._services, self._contracts, planned.pending, is_bounded=True,
            settings=self._settings, run_id=self._run_id, on_commit=committed,
            is_shared=self._partitions is not None,
        )  # fmt: skip
        assigned = time.perf_counter()
        pipeline.run(ending)
        seconds = time.perf_counter() - self._started
        if pipeline.lake_failure is not None:
            raise LandingError(
                f"{self._topic}: Postgres has everything up to {_ends(planned)}, the lake has not. Reason: "
                f"{pipeline.lake_failure}. Correct that and land again: the lake catches up from Postgres."
            ) from pipeline.lake_failure
        return LandingReport(
            topic=self._topic,
            partitions=progress.partitions(),
            batch_ids=tuple(sorted(progress.batch_ids)),
            lag=self._lag(),
            seconds=seconds,
            findings=findings + self._relay(),
            loading=(assigned, progress.last_commit) if progress.batch_ids else (0.0, 0.0),
        )

    def wait_for_other(self) -> LandingReport | None:
        """Wait some seconds for the holder of the lease to land what was pending at the start.

        Returns:
            What it landed; None if it is not there yet, and the lease may be free again.

        Raises:
            LandingError: It has not got there in all the time that a run can wait.
        """
        with psycopg.connect(self._services.database_url, autocommit=True) as connection:
            target = self._target = self._target or self._pending(connection)
            holder = holder_of(connection, topic_lease(self._topic)) or "another lander"
            deadline = time.perf_counter() + LEASE_RETRY_S
            while not _is_reached(connection, target):
                if time.perf_counter() - self._started > FOLLOW_TIMEOUT_S:
                    raise LandingError(
                        f"{self._topic}: {holder} holds the lease but has not landed up to {_ends(target)} "
                        f"within {FOLLOW_TIMEOUT_S:.0f} s. Nothing is lost; look at its log, or stop it and "
                        "land again."
                    )
                if time.perf_counter() > deadline:
                    return None
                time.sleep(FOLLOW_POLL_S)
            starts = {item: span.lo for item, span in target.pending.items() if len(span)}
            partitions, batch_ids = landed_since(connection, starts)
        return LandingReport(
            topic=self._topic,
            partitions=partitions,
            batch_ids=batch_ids,
            lag=self._lag(),
            seconds=time.perf_counter() - self._started,
            landed_by=holder,
        )

    def _is_own(self, partition: PartitionId) -> bool:
        return self._partitions is None or partition.partition in self._partitions

    def _bounds(self) -> dict[PartitionId, Bounds]:
        bounds = broker_bounds(self._admin, [self._topic])
        return {item: bound for item, bound in bounds.items() if self._is_own(item)}

    def _pending(self, connection: psycopg.Connection[Any]) -> Plan:
        return plan(self._bounds(), positions(connection, [self._topic]), self._until)

    def _lag(self) -> int:
        with psycopg.connect(self._services.database_url) as connection:
            return plan(self._bounds(), positions(connection, [self._topic])).lag

    def _relay(self) -> tuple[str, ...]:
        """Send dead letters to their topic. The rows are committed: a failure here is no failed landing."""
        try:
            relay_outbox(self._services.database_url, MessageProducer(self._services.bootstrap_servers))
        except DeliveryError as error:
            return (f"dead letters wait in ops.outbox for the next landing: {error}",)
        return ()


def _is_reached(connection: psycopg.Connection[Any], target: Plan) -> bool:
    reached = positions(connection, {item.topic for item in target.pending})
    return all(reached.get(item, -1) >= span.hi for item, span in target.pending.items() if len(span))


def _ends(planned: Plan) -> str:
    return ", ".join(f"{item}: {span.hi}" for item, span in sorted(planned.pending.items()))


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
