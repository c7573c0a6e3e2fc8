"""The landing pipeline: consume, prepare, load and lake as threads with short queues between them.

Arrow, polars, zstd, Kafka's and Postgres' clients work outside of Python's lock, so the stages overlap.
Memory stays bounded because every queue is. Add a stage here. Avoid deciding what to land: `landing`
and `landing_service` do.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import groupby

import psycopg

from orchestration.ingest.batch import Batch, BatchBuilder
from orchestration.ingest.consume import Chunk, RangeReader
from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.copy_format import CopyStream
from orchestration.ingest.fetch import UnreadableBatchError
from orchestration.ingest.lake import Lake
from orchestration.ingest.lake_writer import FlushSettings, LakeBehindError, LakeWriter
from orchestration.ingest.ledger import next_batch_ids
from orchestration.ingest.offsets import PartitionId, Range
from orchestration.ingest.pii import PiiVault, has_personal_fields
from orchestration.ingest.pipe import POLL_S, UNLIMITED, Nothing, Pipe, StoppedError
from orchestration.ingest.poison import build_small
from orchestration.ingest.postgres_sink import PostgresSink
from orchestration.ingest.services import LandingServices

log = logging.getLogger(__name__)
LAKE_RETRY_S = 10.0
TURN_S = 0.0005
BATCH_IDS_AT_ONCE = 200
LAKE_BYTES = 110 * 1024 * 1024
"""Rows that may wait for the lake of a service. What comes while they do is read back from Postgres later."""


@dataclass(frozen=True)
class PipelineSettings:
    """Sizes and times of a lander.

    Attributes:
        batch_messages: Messages of one partition per transaction, about.
        batch_bytes: Payload bytes of one partition per transaction, about.
        window_s: Seconds that a message waits for others before it is landed.
        queue_length: Groups of chunks that may wait between two stages.
        connections: Connections that load, each its own partitions; one backend takes some 400,000 rows/s.
        lake_flush: When the lake gets a file.
    """

    batch_messages: int = 50_000
    batch_bytes: int = 32 * 1024 * 1024
    window_s: float = 1.0
    queue_length: int = 1
    connections: int = 2
    lake_flush: FlushSettings = field(default_factory=FlushSettings)


class LandingPipeline:
    """Lands ranges of one or several topics until they end or `stop` is set."""

    def __init__(
        self,
        services: LandingServices,
        contracts: Mapping[str, TopicContract],
        ranges: Mapping[PartitionId, Range],
        is_bounded: bool,
        settings: PipelineSettings,
        run_id: str | None,
        on_commit: Callable[[list[Batch]], None],
        is_shared: bool = False,
        waiting: Callable[[], frozenset[PartitionId]] | None = None,
        on_lake: Callable[[Exception | None], None] = lambda _: None,
        on_unreadable: Callable[[UnreadableBatchError], None] = lambda _: None,
    ) -> None:
        """Set up the stages; nothing is read before `run`.

        Args:
            services: Addresses.
            contracts: Contracts of all topics (the schema catalog needs them).
            ranges: Where each partition begins and, if bounded, ends.
            is_bounded: Whether the pipeline ends with its ranges.
            settings: Sizes and times.
            run_id: Written into the ledger.
            on_commit: Told of each committed group of batches, one group at a time.
            is_shared: Whether other landers work on the topics' other partitions.
            waiting: Asked between reads for the partitions that are to be left alone for now.
            on_lake: Told of each failure of the lake, and of None when it took rows.
            on_unreadable: Told of each partition that is landed no further, the others going on.
        """
        self._services, self._contracts, self._ranges = services, contracts, ranges
        self._is_bounded, self._settings, self._run_id = is_bounded, settings, run_id
        self._on_commit, self._is_shared = on_commit, is_shared
        self._waiting, self._on_lake, self._on_unreadable = waiting, on_lake, on_unreadable
        self._failed = threading.Event()
        self._failure: BaseException | None = None
        self._chunks: Pipe[list[Chunk]] = Pipe(settings.queue_length, self._failed)
        self._lanes: list[Pipe[list[tuple[Batch, CopyStream]]]] = [
            Pipe(settings.queue_length, self._failed) for _ in range(settings.connections)
        ]
        self._loading = settings.connections
        self._commits = threading.Lock()
        self._committed: Pipe[list[Batch]] = Pipe(
            settings.queue_length * 2 if is_bounded else UNLIMITED, self._failed
        )
        self._waiting_bytes = 0
        self._has_skipped_lake = False
        self.lake_failure: Exception | None = None
        self.lake_rows = 0

    def run(self, stop: threading.Event, check: Callable[[], None] = lambda: None) -> None:
        """Land until the ranges end, or until `stop` is set: then what was read is still committed.

        Args:
            stop: Ends the consuming of an unbounded pipeline in an orderly way.
            check: Called between reads; may raise to end the pipeline.

        Raises:
            UnreadableBatchError: A partition of a bounded pipeline can't be read to its end; all else landed.
            Exception: The first failure of any stage. What was committed before it stays.
        """
        loads = [partial(self._load, lane) for lane in self._lanes]
        stages = [
            threading.Thread(target=self._guard, args=(stage,))
            for stage in (self._prepare, *loads, self._fill_lake)
        ]
        if not self._is_bounded:  # seconds of work under Python's lock, which rows would wait for
            import pyiceberg.catalog.sql  # noqa: F401  # pyright: ignore[reportUnusedImport]
        with _short_turns():
            for stage in stages:
                stage.start()
            self._guard(lambda: self._consume(stop, check))
            for stage in stages:
                stage.join()
        if self._failure is not None:
            raise self._failure

    def _guard(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except StoppedError:
            pass
        except BaseException as error:  # the failure is raised again by `run`, in the caller's thread
            if self._failure is None:
                self._failure = error
            self._failed.set()

    def _consume(self, stop: threading.Event, check: Callable[[], None]) -> None:
        reader = RangeReader(
            self._services.bootstrap_servers, self._ranges, self._is_bounded,
            self._settings.batch_messages, self._settings.batch_bytes, self._settings.window_s,
        )  # fmt: skip
        try:
            while not (stop.is_set() or self._failed.is_set()):
                check()
                if self._waiting is not None:
                    reader.hold(self._waiting())
                known = len(reader.unreadable)
                if chunks := reader.read(self._is_bounded or self._is_free()):
                    self._chunks.put(chunks)
                for error in list(reader.unreadable.values())[known:]:
                    self._on_unreadable(error)
                if self._is_bounded and reader.is_finished:
                    break
            self._chunks.close()
            if self._is_bounded and reader.unreadable:  # what could be read is landed first
                self._failure = next(iter(reader.unreadable.values()))
        finally:
            reader.close()

    def _is_free(self) -> bool:
        """Whether what is read now would be prepared and loaded without waiting in a queue."""
        return self._chunks.is_empty and all(lane.is_empty for lane in self._lanes)

    def _prepare(self) -> None:
        with psycopg.connect(self._services.database_url, autocommit=True) as connection:
            vault = self._vault = PiiVault(connection)
            catalog = self._services.schema_catalog(self._contracts)
            builders: dict[str, BatchBuilder] = {}
            ids: list[int] = []
            for chunks in self._chunks:
                landed_at = datetime.now(UTC)
                if len(ids) < len(chunks):
                    ids = next_batch_ids(connection, max(BATCH_IDS_AT_ONCE, len(chunks)))[::-1]
                for number, lane in enumerate(self._lanes):
                    own = [chunk for chunk in chunks if self._lane_of(chunk.partition) == number]
                    group: list[tuple[Batch, CopyStream]] = []
                    for topic, of_topic in groupby(own, lambda chunk: chunk.partition.topic):
                        if topic not in builders:
                            builders[topic] = BatchBuilder(self._contracts[topic], catalog, vault)
                        same = list(of_topic)
                        group += build_small(builders[topic], same, [ids.pop() for _ in same], landed_at)
                    if group:
                        lane.put(group)
            for lane in self._lanes:
                lane.close()

    def _lane_of(self, partition: PartitionId) -> int:
        """The connection of a partition: always the same, so that its batches stay in order.

        Topics with personal fields share the first one: two connections that write the same subjects'
        keys would wait for each other.
        """
        if has_personal_fields(self._contracts[partition.topic]):
            return 0
        return partition.partition % len(self._lanes)

    def _load(self, lane: Pipe[list[tuple[Batch, CopyStream]]]) -> None:
        with psycopg.connect(self._services.database_url, autocommit=True) as connection:
            sink: PostgresSink | None = None
            for group in lane:
                sink = sink or PostgresSink(connection, self._vault, self._run_id)
                sink.commit(group)
                batches = [batch for batch, _ in group]
                with self._commits:
                    self._on_commit(batches)
                if self._is_bounded or self._has_room(batches):
                    self._committed.put(batches)
                else:  # a slow lake must not delay rows for a service
                    self._has_skipped_lake = True
        with self._commits:
            self._loading -= 1
            is_last = not self._loading
        if is_last:
            self._committed.close()

    def _has_room(self, batches: list[Batch]) -> bool:
        """Take room for batches that the lake is to have, if there is enough."""
        with self._commits:
            if self._waiting_bytes + _size(batches) > LAKE_BYTES:
                return False
            self._waiting_bytes += _size(batches)
        return True

    def _fill_lake(self) -> None:
        """Follow Postgres. A lake that fails holds nothing up: it catches up from Postgres later."""
        topics = sorted({partition.topic for partition in self._ranges})
        contracts = {topic: self._contracts[topic] for topic in topics}
        own = {t: {p.partition for p in self._ranges if p.topic == t} for t in topics}
        partitions = own if self._is_shared else dict.fromkeys(topics)
        lake = _LakeTables(self._services, contracts, self._settings.lake_flush, partitions, self._on_lake)
        while (group := self._committed.get(POLL_S)) is not None:
            batches = [] if isinstance(group, Nothing) else group
            lake.take(batches)
            with self._commits:
                self._waiting_bytes -= _size(batches)
            if self._has_skipped_lake and self._committed.is_empty:
                self._has_skipped_lake = False  # first: a group that is skipped from here on counts again
                lake.catch_up()
        lake.finish(self._has_skipped_lake)
        self.lake_failure, self.lake_rows = lake.failure, lake.rows


def _size(batches: list[Batch]) -> int:
    return sum(batch.size for batch in batches)


@contextmanager
def _short_turns() -> Generator[None]:
    """Let a thread that wants Python's lock have it after 0.5 ms.

    Each call into a native library gives the lock up and asks for it again; while another thread
    computes, every one of some hundred calls per batch would wait for the usual 5 ms.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


class _LakeTables:
    """The lake writers of a pipeline's topics, each with its own state of health."""

    def __init__(
        self,
        services: LandingServices,
        contracts: Mapping[str, TopicContract],
        flush: FlushSettings,
        partitions: Mapping[str, Collection[int] | None],
        tell: Callable[[Exception | None], None],
    ) -> None:
        self._services, self._contracts, self._flush = services, contracts, flush
        self._partitions, self._tell = partitions, tell
        self._lake: Lake | None = None
        self._writers: dict[str, LakeWriter] = {}
        self._retry_at: dict[str, float] = dict.fromkeys(contracts, 0.0)
        self.failure: Exception | None = None
        self.rows = 0

    def take(self, batches: list[Batch]) -> None:
        """Append what was committed; flush what is due; open or repair what is not healthy."""
        by_topic: dict[str, list[Batch]] = {topic: [] for topic in self._contracts}
        for batch in batches:
            by_topic[batch.partition.topic].append(batch)
        for topic, own in by_topic.items():
            self._try(topic, own, is_last=False)

    def catch_up(self) -> None:
        """Read back what was committed and never given: its partition may get nothing more for hours."""
        for topic in self._contracts:
            if writer := self._writers.pop(topic, None):
                writer.abandon()  # it is opened again, and catches up from Postgres
            self._try(topic, [], is_last=False)

    def finish(self, has_missed: bool) -> None:
        """Flush everything, trying once more where the lake has failed.

        Args:
            has_missed: Whether batches were committed that the lake was never given.
        """
        self._retry_at = dict.fromkeys(self._contracts, 0.0)
        if has_missed:
            self.catch_up()
        for topic in self._contracts:
            self._try(topic, [], is_last=True)

    def _try(self, topic: str, batches: list[Batch], is_last: bool) -> None:
        try:
            if topic not in self._writers:
                if time.monotonic() < self._retry_at[topic]:
                    return
                self._open(topic)
                return  # what was just committed came with the catch-up
            self._append(topic, batches)
            if is_last or self._writers[topic].is_due():
                self.rows += self._writers[topic].flush()
                self._tell(None)
        except Exception as error:
            log.warning(
                "lake table of %s can't be written (%s); it catches up from Postgres, which has the rows",
                topic, error,
            )  # fmt: skip
            self.failure = error
            self._tell(error)
            writer = self._writers.pop(topic, None)
            if writer:
                writer.abandon()
            self._retry_at[topic] = time.monotonic() + LAKE_RETRY_S

    def _open(self, topic: str) -> None:
        self._lake = self._lake or Lake(self._services.lake_url, self._services.catalog_uri)
        writer = LakeWriter(
            self._lake, self._contracts[topic], self._services.database_url, self._flush,
            self._partitions[topic],
        )  # fmt: skip
        self.rows += writer.catch_up()
        self._writers[topic] = writer
        self.failure = None
        self._tell(None)

    def _append(self, topic: str, batches: list[Batch]) -> None:
        writer = self._writers[topic]
        for batch in batches:
            try:
                writer.append(batch)
            except LakeBehindError:
                self.rows += writer.catch_up()
                return
