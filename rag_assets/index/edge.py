"""The default engine: qdrant-edge, Qdrant's Rust core in this process, one folder per build.

Only what is particular to the engine belongs here. Every passage is looked at (no HNSW graph): equal
questions then get equal evidence. The scan reads vectors of one byte per number, and the nearest of them
are scored again with the whole ones: 1.0 ms instead of 3.4 ms over 20,000 vectors, and the same 100 passages.
"""

import fcntl
import mmap
import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

import qdrant_edge as edge

from rag_assets.embedding import Vectors
from rag_assets.index.contract import (
    DENSE_NAMES,
    DOCUMENT_VECTORS,
    BuildUnavailableError,
    IndexPoint,
    Passage,
    StoredText,
    TenantScope,
    VectorHit,
    VectorQuery,
)
from rag_assets.index.layout import (
    INDEXED_FIELDS,
    PAGE,
    TEXT_FIELDS,
    ReadPage,
    document_vectors,
    engine_point,
    first_passages,
    pages,
    passages,
    scope_filter,
    texts,
)

_POINTS_PER_UPDATE = 500
_OF_DOCUMENTS: list[str] = list(DOCUMENT_VECTORS)
_SCORED_AGAIN = 2.0
"""For each passage that is asked for, how many are scored with whole vectors."""

_LEAST_KILOBYTES = 1000  # smaller segments stay as they were written: scanning them whole costs 0.1 ms
_POLL_SECONDS = 0.1
_READ_AT_ONCE = 1 << 20  # bytes


class EdgeStore:
    """Builds as folders below one folder.

    Args:
        folder: Where builds live.
        wait_seconds: How long `open` waits for a build that another process holds. The engine
            itself would let a second process in, and both would then write the same files on close.
    """

    def __init__(self, folder: Path, wait_seconds: float = 10.0) -> None:
        self._folder = folder
        self._wait_seconds = wait_seconds

    def location(self, build_id: str) -> str:
        """The build's folder."""
        return str(self._folder / build_id)

    def create(self, build_id: str, dimension: int, base: str | None = None) -> "EdgeWriter":
        """Start a build in a folder whose name marks it as unfinished.

        A base is copied file by file. Whoever answers from it meanwhile only reads.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self.drop(build_id)
        partial = self._folder / f"{build_id}.partial"
        if base is None:
            partial.mkdir()
            shard = _new_shard(partial, dimension)
        else:
            shutil.copytree(self._folder / base, partial)
            shard = edge.EdgeShard.load(str(partial), _config(dimension))
        return EdgeWriter(shard, partial, self._folder / build_id)

    def open(self, build_id: str) -> "EdgeBuild":
        """Open a finished build for this process alone."""
        if not self.exists(build_id):
            raise self._gone(build_id)
        lock = self._lock(build_id)
        try:
            folder = self._folder / build_id
            _read_ahead(folder)
            return EdgeBuild(edge.EdgeShard.load(str(folder)), folder, lock)
        except Exception as error:
            lock.close()
            if self.exists(build_id):
                raise
            self.drop(build_id)  # a builder has just removed it: its lock file may be there again
            raise self._gone(build_id) from error

    def exists(self, build_id: str) -> bool:
        """Whether a finished folder is there."""
        return (self._folder / build_id).is_dir()

    def drop(self, build_id: str) -> None:
        """Remove the folder, finished or not."""
        for name in (build_id, f"{build_id}.partial"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        (self._folder / f"{build_id}.lock").unlink(missing_ok=True)

    def _gone(self, build_id: str) -> BuildUnavailableError:
        return BuildUnavailableError(f"index build {build_id} is not in {self._folder}: run `opsgraph index`")

    def _lock(self, build_id: str) -> IO[bytes]:
        handle = (self._folder / f"{build_id}.lock").open("ab")
        deadline = time.monotonic() + self._wait_seconds
        while not _locked(handle):
            if time.monotonic() >= deadline:
                handle.close()
                raise BuildUnavailableError(
                    f"index build {build_id} is held by another process (the embedded engine lets one in): "
                    "ask through the API while it is up, or set QDRANT_URL"
                )
            time.sleep(_POLL_SECONDS)
        return handle


def _read_ahead(folder: Path) -> None:
    """Have a build's files in the system's cache before the engine maps them.

    200 MB one after another take 0.3 s where they come from the disk; page after page of 4 kB takes 2.5 s.
    """
    kept = bytearray(_READ_AT_ONCE)
    for path in _files(folder):
        with path.open("rb", buffering=0) as file:
            while file.readinto(kept):
                pass


@contextmanager
def _cached(folder: Path) -> Generator[None]:
    """Keeps a build's files in the system's cache while the engine closes it, for whoever opens it next.

    The engine asks the system to forget them; what somebody still has mapped is not forgotten.
    """
    with ExitStack() as held:
        # Of a build that is being removed meanwhile there is nothing to keep.
        with suppress(OSError):
            for path in _files(folder):
                if path.stat().st_size >= mmap.PAGESIZE:
                    held.enter_context(_mapped(path))
        yield


def _mapped(path: Path) -> mmap.mmap:
    """A file's bytes, read into memory at once where the system can."""
    with path.open("rb") as file:
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        return mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _locked(handle: IO[bytes]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _config(dimension: int) -> edge.EdgeConfig:
    vectors = {
        name: edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine) for name in DENSE_NAMES
    }
    # Titles and leads are not searched in the engine: they are few, and the library holds them.
    vectors["passage"] = edge.EdgeVectorParams(
        size=dimension,
        distance=edge.Distance.Cosine,
        quantization_config=edge.ScalarQuantizationConfig(edge.ScalarType.Int8, always_ram=True),
        hnsw_config=edge.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=_LEAST_KILOBYTES),
    )
    return edge.EdgeConfig(
        vectors=vectors,
        # A build that did not reach close() is thrown away: there is nothing to replay from a log.
        wal_enabled=False,
        # Handing a scan of 1 ms over to another thread is 0.6 ms of work, and a wait where cores are busy.
        max_search_threads=1,
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=_LEAST_KILOBYTES),
    )


def _new_shard(folder: Path, dimension: int) -> edge.EdgeShard:
    shard = edge.EdgeShard.create(str(folder), _config(dimension))
    for name, kind in INDEXED_FIELDS.items():
        field_type = getattr(edge.PayloadSchemaType, kind)
        shard.update(edge.UpdateOperation.create_field_index(name, field_type))
    return shard


class EdgeWriter:
    """Writes one build; its folder gets its final name when the writer closes."""

    def __init__(self, shard: edge.EdgeShard, partial: Path, final: Path) -> None:
        self._shard = shard
        self._partial = partial
        self._final = final

    def add(self, points: Iterable[IndexPoint]) -> None:
        """Store points."""
        iterator = iter(points)
        while batch := [engine_point(edge.Point, point) for point in islice(iterator, _POINTS_PER_UPDATE)]:
            self._shard.update(edge.UpdateOperation.upsert_points(batch))

    def remove(self, chunk_ids: Sequence[str]) -> None:
        """Take points out."""
        if chunk_ids:
            self._shard.update(edge.UpdateOperation.delete_points(list(chunk_ids)))

    def close(self) -> None:
        """Make the vectors for the scan, flush, close, and give the folder its final name."""
        self._shard.optimize()
        self._shard.flush()
        with _cached(self._partial):
            self._shard.close()
        self._partial.rename(self._final)


class EdgeBuild:
    """A finished build, held by this process until `close`."""

    def __init__(self, shard: edge.EdgeShard, folder: Path, lock: IO[bytes]) -> None:
        self._shard = shard
        self._folder = folder
        self._lock = lock

    def count(self) -> int:
        """Points in the build."""
        return self._shard.count(edge.CountRequest(exact=True))

    def passages(self, chunk_ids: Sequence[str] | None = None) -> Iterator[Passage]:
        """Stored passages."""
        if chunk_ids is None:
            return passages(self._scrolled(with_payload=True))
        return passages(pages(chunk_ids, lambda page: self._shard.retrieve(page, True, False)))

    def texts(self) -> Iterator[StoredText]:
        """Stored texts."""
        return texts(self._scrolled(with_payload=edge.PayloadSelector.Include(TEXT_FIELDS)))

    def document_vectors(
        self, chunk_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Mapping[str, Vectors]]]:
        """Vectors of documents' first passages."""
        if chunk_ids is None:
            wanted = {"filter": first_passages(edge), "with_payload": False, "with_vector": _OF_DOCUMENTS}
            return document_vectors(self._scrolled(**wanted))
        return document_vectors(
            pages(chunk_ids, lambda page: self._shard.retrieve(page, False, _OF_DOCUMENTS))
        )

    def _scrolled(self, **wanted: Any) -> ReadPage:
        return lambda offset: self._shard.scroll(edge.ScrollRequest(offset=offset, limit=PAGE, **wanted))

    def search(self, scope: TenantScope, queries: Sequence[VectorQuery]) -> list[list[VectorHit]]:
        """All queries in one pass over the shard, filtered by the scope."""
        rescored = edge.QuantizationSearchParams(rescore=True, oversampling=_SCORED_AGAIN)
        requests = [
            edge.QueryRequest(
                limit=query.limit,
                query=edge.Query.Nearest(query.dense.tolist(), using=query.using),
                filter=scope_filter(edge, scope),
                params=edge.SearchParams(quantization=rescored),
                with_payload=False,
            )
            for query in queries
        ]
        rankings = self._shard.query_batch(edge.QueryBatchRequest(requests))
        return [[VectorHit(str(hit.id), hit.score) for hit in ranking] for ranking in rankings]

    def close(self) -> None:
        """Close the shard, then let other processes in."""
        with _cached(self._folder):
            self._shard.close()
        self._lock.close()
