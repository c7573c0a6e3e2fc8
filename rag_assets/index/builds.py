"""Rows of index builds and of the alias: which build exists, which one answers, and how to go back.

Avoid engine calls here; `rag_assets.index.build` makes builds, `rag_assets.index.live` serves them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from rag_assets.index.verification import Check

ALIAS = "knowledge"
"""The alias that the API, the command line and Dagster read."""


@dataclass(frozen=True)
class IndexBuild:
    """One row of `rag.index_builds`.

    Attributes:
        embedded_count: Texts that had to be embedded; all others came from the cache.
        point_format: Layout of its points.
        base_build_id: The build that it started as a copy of; None for a full one.
        written_count: Points that were written; the others came with the base.
    """

    build_id: str
    location: str
    embedder: str
    dimension: int
    chunker: str
    corpus_digest: str
    document_count: int
    chunk_count: int
    embedded_count: int
    status: str
    started_at: datetime
    finished_at: datetime | None
    point_format: str = ""
    base_build_id: str | None = None
    written_count: int | None = None

    @property
    def stamps(self) -> tuple[str, ...]:
        """What must be equal for equal documents to be equal points."""
        return self.point_format, self.embedder, str(self.dimension), self.chunker


class NoPreviousBuildError(RuntimeError):
    """There is no build to roll back to."""


_COLUMNS = (
    "build_id, location, embedder, dimension, chunker, corpus_digest, document_count, chunk_count, "
    "embedded_count, status, started_at, finished_at, point_format, base_build_id, written_count"
)


def current_build(connection: psycopg.Connection[Any], alias: str = ALIAS) -> IndexBuild | None:
    """The build that the alias names; None before the first verified build."""
    query = f"""
        select {_COLUMNS} from rag.index_builds
        where build_id = (select build_id from rag.index_aliases where alias = %s)
    """  # noqa: S608 - a constant
    with connection.cursor(row_factory=class_row(IndexBuild)) as cursor:
        return cursor.execute(query, (alias,)).fetchone()


def start_build(connection: psycopg.Connection[Any], build: IndexBuild, alias: str = ALIAS) -> None:
    """Record a build that is being written; nobody reads it yet."""
    connection.execute(
        "insert into rag.index_builds (build_id, collection, location, embedder, dimension, chunker, "
        "corpus_digest, document_count, chunk_count, embedded_count, point_format, base_build_id, "
        "written_count, status) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'building')",
        (
            build.build_id,
            alias,
            build.location,
            build.embedder,
            build.dimension,
            build.chunker,
            build.corpus_digest,
            build.document_count,
            build.chunk_count,
            build.embedded_count,
            build.point_format,
            build.base_build_id,
            build.written_count,
        ),
    )


def hold_alias(connection: psycopg.Connection[Any], alias: str = ALIAS) -> None:
    """Keep the alias where it is until the transaction ends."""
    connection.execute("select from rag.index_aliases where alias = %s for update", (alias,))


def publish(
    connection: psycopg.Connection[Any], build_id: str, checks: Sequence[Check], alias: str = ALIAS
) -> None:
    """Mark a build as verified and move the alias to it, in one transaction."""
    with connection.transaction():
        _finish(connection, build_id, "verified", checks)
        connection.execute(
            "insert into rag.index_aliases (alias, build_id) values (%s, %s) "
            "on conflict (alias) do update set previous_build_id = rag.index_aliases.build_id, "
            "build_id = excluded.build_id, moved_at = now()",
            (alias, build_id),
        )


def reject(connection: psycopg.Connection[Any], build_id: str, checks: Sequence[Check]) -> None:
    """Mark a build as one that must not answer, and why; the alias stays where it is."""
    with connection.transaction():
        _finish(connection, build_id, "rejected", checks)


def roll_back(connection: psycopg.Connection[Any], alias: str = ALIAS) -> IndexBuild:
    """Move the alias to the build that it named before; a second call moves it back again.

    While it names the older of the two, builds that nobody asked for are held back.

    Returns:
        The build that answers now.

    Raises:
        NoPreviousBuildError: The alias has never moved, or the earlier build is retired.
    """
    moved = connection.execute(
        "update rag.index_aliases a set build_id = a.previous_build_id, previous_build_id = a.build_id, "
        "moved_at = now() from rag.index_builds b "
        "where a.alias = %s and b.build_id = a.previous_build_id and b.status = 'verified' "
        "returning a.build_id",
        (alias,),
    ).fetchone()
    build = current_build(connection, alias)
    if moved is None or build is None:
        raise NoPreviousBuildError(
            f"alias {alias!r} has no earlier verified build to go back to; it stays on "
            f"{build.build_id if build else 'nothing'}"
        )
    return build


def rolled_back_build(connection: psycopg.Connection[Any], alias: str = ALIAS) -> str | None:
    """The build that a person went back from: the one before the alias's build is the younger of the two."""
    row = connection.execute(
        "select before.build_id from rag.index_aliases a "
        "join rag.index_builds live on live.build_id = a.build_id "
        "join rag.index_builds before on before.build_id = a.previous_build_id "
        "where a.alias = %s and live.started_at < before.started_at",
        (alias,),
    ).fetchone()
    return row[0] if row else None


def keep_build(connection: psycopg.Connection[Any], alias: str = ALIAS) -> None:
    """Say that the alias's build is the right one: there is nothing to go back to, and nothing is held."""
    connection.execute("update rag.index_aliases set previous_build_id = null where alias = %s", (alias,))


def interrupted_builds(connection: psycopg.Connection[Any], alias: str = ALIAS) -> list[str]:
    """Ids of builds that never finished. Only the holder of the builder's lock may ask."""
    rows = connection.execute(
        "select build_id from rag.index_builds where collection = %s and status = 'building'", (alias,)
    ).fetchall()
    return [row[0] for row in rows]


def retire_old_builds(connection: psycopg.Connection[Any], keep: int, alias: str = ALIAS) -> list[str]:
    """Mark all verified builds but the newest `keep` and those that the alias names as retired.

    Returns:
        Ids whose data may be removed.
    """
    rows = connection.execute(
        "update rag.index_builds set status = 'retired' where status = 'verified' and collection = %(alias)s "
        "and build_id not in (select build_id from rag.index_builds where status = 'verified' "
        "  and collection = %(alias)s order by started_at desc limit %(keep)s) "
        "and build_id not in (select build_id from rag.index_aliases union "
        "  select previous_build_id from rag.index_aliases where previous_build_id is not null) "
        "returning build_id",
        {"alias": alias, "keep": keep},
    ).fetchall()
    return [row[0] for row in rows]


def _finish(connection: psycopg.Connection[Any], build_id: str, status: str, checks: Sequence[Check]) -> None:
    connection.execute(
        "update rag.index_builds set status = %s, verification = %s, finished_at = now() where build_id = %s",
        (status, Jsonb([asdict(check) for check in checks]), build_id),
    )
