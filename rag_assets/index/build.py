"""One index build: corpus → points → engine → verification → alias.

An interrupted build is never visible: its folder has another name until it is complete, and the
alias moves in one transaction after every check has passed. Avoid reading folders here.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import psycopg

from rag_assets.chunking import ChunkerSettings
from rag_assets.embedding import Embedder
from rag_assets.embedding_cache import PostgresKeeper
from rag_assets.index import builds
from rag_assets.index.builds import ALIAS, IndexBuild
from rag_assets.index.contract import VectorStore
from rag_assets.index.corpus import DocumentHead, corpus_digest, corpus_heads, load_corpus
from rag_assets.index.manifest import (
    Difference,
    Manifest,
    difference,
    forget_manifest,
    load_manifest,
    manifest_of,
    store_manifest,
)
from rag_assets.index.points import Points, make_points
from rag_assets.index.verification import (
    Check,
    RetrievalGate,
    verify,
)

POINT_FORMAT = "points-4"
"""Part of the corpus digest: raise it when payload, fields or weights of a point change."""

KEPT_BUILDS = 3

LARGEST_INCREMENT = 0.3
"""Share of documents up to which a copy of the live build is changed; copying costs as much beyond."""


class BuildStatus(Enum):
    """How a build ended."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    HELD = "held"
    REJECTED = "rejected"


@dataclass(frozen=True)
class BuildOutcome:
    """What `build_index` did.

    Attributes:
        status: UNCHANGED means that the live build already holds this corpus, HELD that a person went
            back to it.
        build_id: The new build, or the live one where nothing was built.
        embedded_count: Texts that had to be embedded; all others came from the cache.
        checks: Verification, empty where nothing changed.
        written_count: Points that were written; the others came with the base.
        base_build_id: The build that this one started as a copy of; None for a full one.
        reason: Why nothing was built, in words.
    """

    status: BuildStatus
    build_id: str
    document_count: int
    chunk_count: int
    embedded_count: int
    checks: tuple[Check, ...] = ()
    written_count: int = 0
    base_build_id: str | None = None
    reason: str = ""


class EmptyCorpusError(RuntimeError):
    """There is no document to index."""


def build_index(
    database_url: str,
    store: VectorStore,
    embedder: Embedder,
    gates: Sequence[RetrievalGate] = (),
    settings: ChunkerSettings | None = None,
    alias: str = ALIAS,
    is_asked_for: bool = True,
) -> BuildOutcome:
    """Index all of `rag.documents` and, if every check passes, let it answer.

    Builders wait for each other (an advisory lock); what an interrupted one left is removed.

    Args:
        database_url: The opsgraph database.
        store: The engine.
        embedder: Its name and dimension are stamped on the build.
        gates: Further checks by answers.
        settings: Chunk lengths.
        alias: The alias to move.
        is_asked_for: Whether a person wants this build; one that runs by itself leaves a build alone that
            a person went back to.

    Raises:
        EmptyCorpusError: `rag.documents` has no row: an empty index never replaces a full one.
    """
    settings = settings or ChunkerSettings()
    with psycopg.connect(database_url, autocommit=True) as connection, _builder_lock(connection, alias):
        _remove_interrupted(connection, store, alias)
        with _one_moment(connection):
            heads = corpus_heads(connection)
            if not heads:
                raise EmptyCorpusError(
                    "there is no document to index: read a folder with `opsgraph index PATH` first"
                )
            stamps = (POINT_FORMAT, embedder.name, str(embedder.dimension), settings.name)
            digest = corpus_digest(heads, *stamps)
            live = builds.current_build(connection, alias)
            if live and live.corpus_digest == digest and store.exists(live.build_id):
                if is_asked_for and builds.rolled_back_build(connection, alias):
                    builds.keep_build(connection, alias)
                reason = f"{live.build_id} already holds this corpus and passed when it was built"
                return _not_built(BuildStatus.UNCHANGED, live, reason)
            held = None if is_asked_for else _held(connection, alias)
            if held:
                return held
            plan = _plan(connection, store, live, heads, stamps)
            documents = load_corpus(connection, plan.difference.changed)
        keeper = PostgresKeeper(connection)
        made = make_points(documents, embedder, keeper, settings)
        manifest = {**plan.difference.kept, **manifest_of(plan.difference.changed, made.points)}
        build = _describe(connection, store, embedder, settings, digest, manifest, made, plan.base)
        builds.start_build(connection, build, alias)
        _write(store, build, made, plan.difference)
        checks = _verified(store, build, manifest, made, embedder, gates, keeper)
        passed = all(check.passed for check in checks)
        if passed:
            with connection.transaction():
                builds.hold_alias(connection, alias)
                held = None if is_asked_for else _held(connection, alias)
                if held is None:
                    store_manifest(connection, build.build_id, manifest, plan.base, plan.difference.kept)
                    builds.publish(connection, build.build_id, checks, alias)
        if held or not passed:
            # The data first: of one that is still on record as building the next builder removes the rest.
            store.drop(build.build_id)
            taken_back = [Check("still_wanted", False, held.reason)] if held else []
            builds.reject(connection, build.build_id, [*checks, *taken_back])
        _remove_old(connection, store, alias)
        return held or BuildOutcome(
            BuildStatus.PUBLISHED if passed else BuildStatus.REJECTED,
            build.build_id,
            build.document_count,
            build.chunk_count,
            build.embedded_count,
            checks,
            written_count=len(made.points),
            base_build_id=plan.base,
        )


def _held(connection: psycopg.Connection[Any], alias: str) -> BuildOutcome | None:
    """What is to be said where a person has gone back to the live build; None where nobody has."""
    live = builds.current_build(connection, alias)
    left = builds.rolled_back_build(connection, alias)
    if live is None or left is None:
        return None
    reason = (
        f"{live.build_id} answers since somebody went back to it from {left}, and the corpus has "
        "changed: index with `opsgraph index`, or go forward with `opsgraph index-rollback`"
    )
    return _not_built(BuildStatus.HELD, live, reason)


def _not_built(status: BuildStatus, live: IndexBuild, reason: str) -> BuildOutcome:
    return BuildOutcome(
        status, live.build_id, live.document_count, live.chunk_count, embedded_count=0, reason=reason
    )


@dataclass(frozen=True)
class _Plan:
    """What to write, and on which build."""

    base: str | None
    difference: Difference


def _plan(
    connection: psycopg.Connection[Any],
    store: VectorStore,
    live: IndexBuild | None,
    heads: Sequence[DocumentHead],
    stamps: tuple[str, ...],
) -> _Plan:
    """A small change is written into a copy of the live build; anything else is built from nothing."""
    full = _Plan(None, Difference(tuple(heads), {}, frozenset()))
    if live is None or not store.exists(live.build_id):
        return full
    if live.stamps != stamps:
        return full
    found = difference(load_manifest(connection, live.build_id), heads)
    is_small = len(found.changed) <= LARGEST_INCREMENT * len(heads) and bool(found.kept)
    return _Plan(live.build_id, found) if is_small else full


@contextmanager
def _builder_lock(connection: psycopg.Connection[Any], alias: str) -> Generator[None]:
    """One builder per alias; the server lets the lock go if this process dies."""
    connection.execute("select pg_advisory_lock(hashtextextended('rag.index_builds/' || %s, 0))", (alias,))
    try:
        yield
    finally:
        connection.execute(
            "select pg_advisory_unlock(hashtextextended('rag.index_builds/' || %s, 0))", (alias,)
        )


@contextmanager
def _one_moment(connection: psycopg.Connection[Any]) -> Generator[None]:
    """Everything is read as of the first look: a source may write meanwhile, the next builder sees it."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read")
        yield


def _remove_interrupted(connection: psycopg.Connection[Any], store: VectorStore, alias: str) -> None:
    for build_id in builds.interrupted_builds(connection, alias):
        store.drop(build_id)
        builds.reject(connection, build_id, [Check("finished", False, "the builder was interrupted")])


def _remove_old(connection: psycopg.Connection[Any], store: VectorStore, alias: str) -> None:
    """A removal that breaks off stays off the record, and the next builder does it again."""
    with connection.transaction():
        for retired in builds.retire_old_builds(connection, KEPT_BUILDS, alias):
            store.drop(retired)
            forget_manifest(connection, retired)


def _describe(
    connection: psycopg.Connection[Any],
    store: VectorStore,
    embedder: Embedder,
    settings: ChunkerSettings,
    digest: str,
    manifest: Manifest,
    made: Points,
    base: str | None,
) -> IndexBuild:
    row = connection.execute("select count(*), now() from rag.index_builds").fetchone()
    assert row is not None  # an aggregate without groups always gives a row
    build_id = f"build-{row[0] + 1:04d}-{digest[:10]}"
    return IndexBuild(
        build_id=build_id,
        location=store.location(build_id),
        embedder=embedder.name,
        dimension=embedder.dimension,
        chunker=settings.name,
        corpus_digest=digest,
        document_count=len(manifest),
        chunk_count=sum(len(built.chunks) for built in manifest.values()),
        embedded_count=made.embedded_count,
        status="building",
        started_at=row[1],
        finished_at=None,
        point_format=POINT_FORMAT,
        base_build_id=base,
        written_count=len(made.points),
    )


def _write(store: VectorStore, build: IndexBuild, made: Points, found: Difference) -> None:
    writer = store.create(build.build_id, build.dimension, build.base_build_id)
    writer.remove(sorted(found.removed_chunks - {point.passage.chunk_id for point in made.points}))
    writer.add(made.points)
    writer.close()


def _verified(
    store: VectorStore,
    build: IndexBuild,
    manifest: Manifest,
    made: Points,
    embedder: Embedder,
    gates: Sequence[RetrievalGate],
    keeper: PostgresKeeper,
) -> tuple[Check, ...]:
    expected = {chunk: digest for built in manifest.values() for chunk, digest in built.chunks.items()}
    written = {point.passage.chunk_id: point.passage for point in made.points}
    opened = store.open(build.build_id)
    try:
        return verify(opened, expected, written, embedder, gates, keeper if build.base_build_id else None)
    finally:
        opened.close()
