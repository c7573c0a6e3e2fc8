"""The landing pipeline: consume, prepare, load and lake as threads with short queues between them.

Arrow, polars, zstd, Kafka's and Postgres' clients work outside of Python's lock, so the stages overlap.
Memory stays bounded because every queue is. Add a stage here. Avoid deciding what to land: `landing`
and `landing_service` do.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

import psycopg

from orchestration.ingest.batch import Batch, BatchBuilder
from orchestration.ingest.consume import Chunk, RangeReader
from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.lake import Lake
from orchestration.ingest.lake_writer import FlushSettings, LakeBehindError, LakeWriter
from orchestration.ingest.ledger import next_batch_ids
from orchestration.ingest.offsets import PartitionId, Range
from orchestration.ingest.pii import PiiVault
from orchestration.ingest.poison import build_around_poison
from orchestration.ingest.postgres_sink import PostgresSink
from orchestration.ingest.services import LandingServices

log = logging.getLogger(__name__)
Item = TypeVar("Item")
POLL_S = 0.1
LAKE_RETRY_S = 10.0
BATCH_IDS_AT_ONCE = 200


@dataclass(frozen=True)
class PipelineSettings:
    """Sizes and times of a lander.

    Attributes:
        batch_messages: Messages of one partition per transaction, about.
        batch_bytes: Payload bytes of one partition per transaction, about.
        window_s: Seconds that a message waits for others before it is landed.
        queue_length: Groups of chunks that may wait between two stages.
        lake_flush: When the lake gets a file.
    """

    batch_messages: int = 50_000
    batch_bytes: int = 32 * 1024 * 1024
    window_s: float = 1.0
    queue_length: int = 1
    lake_flush: FlushSettings = field(default_factory=FlushSettings)


class StoppedError(Exception):
    """Another stage has failed; this one has nothing left to do."""


class Pipe(Generic[Item]):
    """A bounded queue that can be closed by its writer and is given up when the pipeline stops."""

    def __init__(self, length: int, stop: threading.Event) -> None:
        self._queue: queue.Queue[Item | None] = queue.Queue(length)
        self._stop = stop

    def put(self, item: Item | None) -> None:
        """Wait for space.

        Raises:
            StoppedError: The pipeline was stopped meanwhile.
        """
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=POLL_S)
            except queue.Full:
                continue
            return
        raise StoppedError

    def close(self) -> None:
        """Say that nothing follows."""
        self.put(None)

    def __iter__(self) -> Iterator[Item]:
        """Items until the writer closes."""
        while True:
            item = self.get(POLL_S)
            if item is None:
                return
            if not isinstance(item, _Nothing):
                yield item

    def get(self, timeout_s: float) -> "Item | _Nothing | None":
        """Next item; None when the writer has closed; `NOTHING` when there was none in time."""
        if self._stop.is_set():
            raise StoppedError
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return NOTHING


class _Nothing:
    """Type of `NOTHING`."""


NOTHING = _Nothing()


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
    ) -> None:
        """Set up the stages; nothing is read before `run`.

        Args:
            services: Addresses.
            contracts: Contracts of all topics (the schema catalog needs them).
            ranges: Where each partition begins and, if bounded, ends.
            is_bounded: Whether the pipeline ends with its ranges.
            settings: Sizes and times.
            run_id: Written into the ledger.
            on_commit: Told of each committed group of batches.
        """
        self._services, self._contracts, self._ranges = services, contracts, ranges
        self._is_bounded, self._settings, self._run_id = is_bounded, settings, run_id
        self._on_commit = on_commit
        self._failed = threading.Event()
        self._failure: BaseException | None = None
        self._chunks: Pipe[list[Chunk]] = Pipe(settings.queue_length, self._failed)
        self._batches: Pipe[list[tuple[Batch, bytes]]] = Pipe(settings.queue_length, self._failed)
        self._committed: Pipe[list[Batch]] = Pipe(settings.queue_length * 2, self._failed)
        self.lake_failure: Exception | None = None
        self.lake_rows = 0

    def run(self, stop: threading.Event, check: Callable[[], None] = lambda: None) -> None:
        """Land until the ranges end, or until `stop` is set: then what was read is still committed.

        Args:
            stop: Ends the consuming of an unbounded pipeline in an orderly way.
            check: Called between reads; may raise to end the pipeline.

        Raises:
            Exception: The first failure of any stage. What was committed before it stays.
        """
        stages = [
            threading.Thread(target=self._guard, args=(stage,), name=stage.__name__.strip("_"))
            for stage in (self._prepare, self._load, self._fill_lake)
        ]
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
                if chunks := reader.read():
                    self._chunks.put(chunks)
                if self._is_bounded and reader.is_finished:
                    break
            self._chunks.close()
        finally:
            reader.close()

    def _prepare(self) -> None:
        with psycopg.connect(self._services.database_url, autocommit=True) as connection:
            vault = self._vault = PiiVault(connection)
            catalog = self._services.schema_catalog(self._contracts)
            builders: dict[str, BatchBuilder] = {}
            ids: list[int] = []
            for chunks in self._chunks:
                landed_at = datetime.now(UTC)
                group: list[tuple[Batch, bytes]] = []
                for chunk in chunks:
                    topic = chunk.partition.topic
                    if topic not in builders:
                        builders[topic] = BatchBuilder(self._contracts[topic], catalog, vault)
                    if not ids:
                        ids = next_batch_ids(connection, BATCH_IDS_AT_ONCE)[::-1]
                    group.append(build_around_poison(builders[topic], chunk, ids.pop(), landed_at))
                self._batches.put(group)
            self._batches.close()

    def _load(self) -> None:
        with psycopg.connect(self._services.database_url, autocommit=True) as connection:
            sink: PostgresSink | None = None
            for group in self._batches:
                sink = sink or PostgresSink(connection, self._vault, self._run_id)
                sink.commit(group)
                batches = [batch for batch, _ in group]
                self._on_commit(batches)
                self._committed.put(batches)
            self._committed.close()

    def _fill_lake(self) -> None:
        """Follow Postgres. A lake that fails holds nothing up: it catches up from Postgres later."""
        topics = sorted({partition.topic for partition in self._ranges})
        contracts = {topic: self._contracts[topic] for topic in topics}
        lake = _LakeTables(self._services, contracts, self._settings.lake_flush)
        while (group := self._committed.get(POLL_S)) is not None:
            lake.take([] if isinstance(group, _Nothing) else group)
        lake.finish()
        self.lake_failure, self.lake_rows = lake.failure, lake.rows


class _LakeTables:
    """The lake writers of a pipeline's topics, each with its own state of health."""

    def __init__(
        self, services: LandingServices, contracts: Mapping[str, TopicContract], flush: FlushSettings
    ) -> None:
        self._services, self._contracts, self._flush = services, contracts, flush
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

    def finish(self) -> None:
        """Flush everything, trying once more where the lake has failed."""
        for topic in self._contracts:
            self._retry_at[topic] = 0.0
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
        except Exception as error:
            log.warning(
                "lake table of %s can't be written (%s); it catches up from Postgres, which has the rows",
                topic, error,
            )  # fmt: skip
            self.failure = error
            writer = self._writers.pop(topic, None)
            if writer:
                writer.abandon()
            self._retry_at[topic] = time.monotonic() + LAKE_RETRY_S

    def _open(self, topic: str) -> None:
        self._lake = self._lake or Lake(self._services.lake_url, self._services.catalog_uri)
        writer = LakeWriter(self._lake, self._contracts[topic], self._services.database_url, self._flush)
        self.rows += writer.catch_up()
        self._writers[topic] = writer
        self.failure = None

    def _append(self, topic: str, batches: list[Batch]) -> None:
        writer = self._writers[topic]
        for batch in batches:
            try:
                writer.append(batch)
            except LakeBehindError:
                self.rows += writer.catch_up()
                return
