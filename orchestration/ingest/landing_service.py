"""The landing service: lands all topics as messages arrive, until it is told to stop.

Add here how the service survives its surroundings (restarts of Postgres and Kafka, new partitions,
recreated topics). Avoid the stages (`pipeline`): the service runs the same ones as a bounded landing.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from orchestration.ingest.batch import Batch
from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.contracts.schema_catalog import SchemaRegistryUnavailableError
from orchestration.ingest.dagster_reports import DagsterReports
from orchestration.ingest.landing import holder_name, prepare
from orchestration.ingest.leases import SERVICE_LEASE, Lease, acquire, topic_lease
from orchestration.ingest.offsets import LandingError, PartitionId, described
from orchestration.ingest.outbox import relay_outbox
from orchestration.ingest.partition_share import PartitionShare
from orchestration.ingest.pipeline import LandingPipeline, PipelineSettings
from orchestration.ingest.producer import DeliveryError, MessageProducer
from orchestration.ingest.quotas import Debts, quotas
from orchestration.ingest.refused_topics import RefusedTopics
from orchestration.ingest.services import LandingServices
from orchestration.ingest.sink_states import (
    CONNECT_S,
    LONGEST_PAUSE_S,
    Breakers,
    Heartbeat,
    Sink,
    sink_of,
)
from orchestration.ingest.topics import admin_client

log = logging.getLogger(__name__)
PLAN_CHECK_S = 5.0  # how soon new partitions and recreated topics are noticed
COLLECT_EVERY_S = 60.0
REFUSED_AGAIN_S = 15.0  # how soon a topic that was left out is looked at again: some 0.02 s each
OTHER_PAUSE_S = 3.0  # after what is no sink's failure, for example another lander's fence
LEASE_PAUSE_S = 2.0
FRESH = PipelineSettings(batch_messages=20_000, window_s=0.15, connections=1)
"""Small windows: at 10,000 messages/s a row is visible 0.2 s after it was produced, about. One connection: a
window's batches are built together and committed at once; with two they would be two of each."""
LOW_LATENCY = PipelineSettings(batch_messages=20_000, window_s=0.02, connections=1)
"""For alarms: a third of the delay, for several times as many commits."""

PASSING = (psycopg.Error, KafkaException, LandingError, SchemaRegistryUnavailableError, OSError)


class PlanChangedError(Exception):
    """The broker has other partitions or topic ids than those that are being read."""


class LandingService:
    """Lands until `stop`; holds the leases of its topics all the while."""

    def __init__(
        self,
        services: LandingServices,
        contracts: Mapping[str, TopicContract],
        topics: Sequence[str],
        dagster_url: str | None = None,
        settings: PipelineSettings = FRESH,
        is_shared: bool = False,
        state_file: Path | None = None,
    ) -> None:
        """Set up; nothing is read before `run`.

        Args:
            services: Addresses.
            contracts: Contracts by topic.
            topics: Topics to land.
            dagster_url: Web server that is told of materializations; None tells nobody.
            settings: Sizes and times.
            is_shared: Share the partitions of each topic with other services that share them.
            state_file: Where the state of the sinks is said besides Postgres, in case that is away.
        """
        self._services, self._contracts, self._topics = services, contracts, list(topics)
        self._settings, self._is_shared = settings, is_shared
        self._stop = threading.Event()
        self._reports = DagsterReports(dagster_url)
        self._breakers = Breakers()
        self._refused = RefusedTopics(services, contracts)
        self._heartbeat = Heartbeat(
            services.database_url, holder_name("opsgraph land --follow"), self._breakers, state_file,
            self._refused.states,
        )  # fmt: skip
        self._debts = Debts(self._quotas)
        self._has_dead_letters = threading.Event()

    def stop(self) -> None:
        """End in an orderly way: what was read is committed and flushed first."""
        self._stop.set()

    def run(self) -> None:
        """Land until `stop` is called. A sink that fails is waited for, ever longer up to 15 s."""
        relay = threading.Thread(target=self._relay, name="outbox relay")
        relay.start()
        self._heartbeat.start()
        gc.disable()  # no cycles arise per message; `_check` collects once a minute
        try:
            while not self._stop.is_set():
                try:
                    self._hold_and_land()
                except PlanChangedError as change:
                    log.info("%s: starting again from the ledger", change)
                except PASSING as error:
                    self._pause(error)
                except Exception as error:  # a fault of ours must not end the landing of all topics for good
                    log.exception("landing failed and is tried again")
                    self._pause(error)
        finally:
            gc.enable()
            self._stop.set()
            relay.join()
            self._reports.close()
            self._heartbeat.close()

    def _pause(self, error: BaseException) -> None:
        sink = sink_of(error)
        pause_s = self._breakers.failed(sink, error) if sink else OTHER_PAUSE_S
        log.info("landing goes on in %.1f s: %s", pause_s, error)
        self._stop.wait(pause_s)

    def _quotas(self) -> dict[str, float]:
        try:
            with psycopg.connect(self._services.database_url, connect_timeout=CONNECT_S) as connection:
                return quotas(connection)
        except psycopg.Error:  # the next commit meets the same and says so
            return {}

    def _of_lake(self, error: Exception | None) -> None:
        if error is None:
            self._breakers.succeeded(Sink.LAKE)
        else:
            self._breakers.failed(Sink.LAKE, error)  # also for a full disk: Postgres' disk may have room

    def _hold_and_land(self) -> None:
        with ExitStack() as stack:
            leases: list[Lease] = []
            for name in [SERVICE_LEASE, *(topic_lease(topic) for topic in self._topics)]:
                lease = self._acquire(name)
                if lease is None:
                    return
                leases.append(stack.enter_context(lease))
            if not self._is_shared:
                self._land(leases, None)
                return
            share = stack.enter_context(closing(PartitionShare(self._services.database_url)))
            while not self._stop.is_set():
                self._land(leases, share)

    def _acquire(self, name: str) -> Lease | None:
        """Wait for a lease; None when the service is stopped meanwhile."""
        said = False
        while not self._stop.is_set():
            lease = acquire(
                self._services.database_url, name, holder_name("opsgraph land --follow"), self._is_shared
            )
            if lease is not None:
                return lease
            if not said:
                log.info("lease %s is held by another lander; waiting", name)
                said = True
            self._stop.wait(LEASE_PAUSE_S)
        return None

    def _land(self, leases: list[Lease], share: PartitionShare | None) -> None:
        admin = admin_client(self._services.bootstrap_servers)
        self._refused.read_all_again()
        fit = set(self._refused.judge(admin, self._topics))
        there = set(described(admin, self._topics)[0])
        found = {partition for partition in there if partition.topic in fit}
        own = found if share is None else _settled(share, found)
        well = partial(self._breakers.succeeded, Sink.KAFKA, Sink.POSTGRES)
        watch = _Watch(admin, self._topics, there, leases, share, self._stop, well, self._refused)
        if not own:
            while not watch.ending.wait(1.0):
                watch.check()
            return
        planned, findings = prepare(
            self._services, admin, sorted(fit), None, "service", lambda item: item in own
        )
        for finding in findings:
            log.error("%s", finding)
        pipeline = LandingPipeline(
            self._services, self._contracts, planned.pending, is_bounded=False,
            settings=self._settings, run_id="service", on_commit=self._committed,
            is_shared=share is not None, waiting=self._debts.waiting, on_lake=self._of_lake,
            on_unreadable=self._refused.leave_out,
        )  # fmt: skip
        log.info("landing %d of %d partitions of %s", len(own), len(found), ", ".join(sorted(fit)))
        pipeline.run(watch.ending, watch.check)

    def _committed(self, batches: list[Batch]) -> None:
        self._breakers.succeeded(Sink.POSTGRES, Sink.KAFKA, Sink.DISK)
        self._debts.add(batches)
        self._reports.add(batches)
        if any(batch.dead_letters for batch in batches):
            self._has_dead_letters.set()

    def _relay(self) -> None:
        """Send dead letters to their topics: at the start, and when new ones were committed."""
        self._has_dead_letters.set()
        while not self._stop.is_set():
            if not self._has_dead_letters.wait(1.0):
                continue
            self._has_dead_letters.clear()
            try:
                relay_outbox(self._services.database_url, MessageProducer(self._services.bootstrap_servers))
            except (*PASSING, DeliveryError) as error:
                log.warning("dead letters wait in the outbox: %s", error)
                self._has_dead_letters.set()
                self._stop.wait(LONGEST_PAUSE_S)


class _Watch:
    """Looks at the surroundings every few seconds while the pipeline runs."""

    def __init__(
        self,
        admin: AdminClient,
        topics: list[str],
        partitions: set[PartitionId],
        leases: list[Lease],
        share: PartitionShare | None,
        stop: threading.Event,
        well: Callable[[], None],
        refused: RefusedTopics,
    ) -> None:
        self._well, self._refused = well, refused
        self._admin, self._topics, self._partitions, self._leases = admin, topics, partitions, leases
        self._share, self._stop = share, stop
        self.ending = threading.Event()
        """Set when the pipeline is to end in an orderly way: the service stops, or shares change."""
        self._next_check = time.monotonic() + PLAN_CHECK_S
        self._next_collection = time.monotonic() + COLLECT_EVERY_S
        self._next_judgement = time.monotonic() + REFUSED_AGAIN_S

    def check(self) -> None:
        if self._stop.is_set():
            self.ending.set()
            return
        now = time.monotonic()
        if now >= self._next_collection:
            self._next_collection = now + COLLECT_EVERY_S
            gc.collect()
        if now < self._next_check:
            return
        self._next_check = now + PLAN_CHECK_S
        if any(lease.is_lost for lease in self._leases):
            raise PlanChangedError("a lease was lost with its database session")
        found = set(described(self._admin, self._topics)[0])
        self._well()  # the broker has answered, and the leases' session stands
        if found != self._partitions:
            changed = ", ".join(sorted(str(item) for item in found ^ self._partitions))
            raise PlanChangedError(f"partitions changed ({changed})")
        left_out = self._refused.states()
        if left_out and now >= self._next_judgement:
            self._next_judgement = now + REFUSED_AGAIN_S
            if fit := self._refused.judge(self._admin, sorted(left_out)):
                raise PlanChangedError(f"{', '.join(fit)} can be landed again")
        if self._share is not None:
            numbers = _numbers({item for item in found if item.topic not in left_out})
            if any(self._share.is_unfair(topic, numbers[topic]) for topic in numbers):
                log.info("the number of landers has changed: sharing the partitions out anew")
                self.ending.set()


def _numbers(partitions: set[PartitionId]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for item in partitions:
        found.setdefault(item.topic, set()).add(item.partition)
    return found


def _settled(share: PartitionShare, partitions: set[PartitionId]) -> set[PartitionId]:
    """The partitions that are this lander's for now."""
    held = {topic: share.settle(topic, numbers) for topic, numbers in _numbers(partitions).items()}
    return {item for item in partitions if item.partition in held[item.topic]}
