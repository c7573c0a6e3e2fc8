"""Which documents a build holds as which chunks: `rag.build_documents`.

What makes a small change cheap: the next build copies the last one and writes only the documents whose
fingerprint differs. Avoid engine calls here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from rag_assets.contents import Change
from rag_assets.index.contract import IndexPoint
from rag_assets.index.corpus import DocumentHead, Identity


@dataclass(frozen=True)
class BuiltDocument:
    """One document of a build.

    Attributes:
        fingerprint: Of the document that the chunks were made of.
        chunks: Chunk id → content hash.
    """

    fingerprint: str
    chunks: Mapping[str, str]


Manifest = Mapping[Identity, BuiltDocument]


@dataclass(frozen=True)
class Difference:
    """What a build on a base has to do.

    Attributes:
        changed: Documents that are new or different.
        kept: Documents of the base that stay.
        removed_chunks: Points of the base that go, unless a changed document has them again.
    """

    changed: tuple[DocumentHead, ...]
    kept: Manifest
    removed_chunks: frozenset[str]


def difference(base: Manifest, heads: Sequence[DocumentHead]) -> Difference:
    """Compare a base with the corpus."""
    kept: dict[Identity, BuiltDocument] = {}
    changed: list[DocumentHead] = []
    for head in heads:
        built = base.get(head.identity)
        if built and built.fingerprint == head.fingerprint:
            kept[head.identity] = built
        else:
            changed.append(head)
    gone = (built.chunks for identity, built in base.items() if identity not in kept)
    return Difference(tuple(changed), kept, frozenset(chunk for chunks in gone for chunk in chunks))


def manifest_of(heads: Sequence[DocumentHead], points: Iterable[IndexPoint]) -> Manifest:
    """What the points of some documents amount to."""
    chunks: dict[Identity, dict[str, str]] = {head.identity: {} for head in heads}
    for point in points:
        passage = point.passage
        identity = (passage.tenant_id, passage.document_id, passage.version)
        chunks[identity][passage.chunk_id] = passage.content_hash
    return {head.identity: BuiltDocument(head.fingerprint, chunks[head.identity]) for head in heads}


def load_manifest(connection: psycopg.Connection[Any], build_id: str) -> Manifest:
    """What a build holds; empty for one that kept no record."""
    # Joined by the server: taking 8,000 arrays of text apart in Python takes five times as long.
    rows = connection.execute(
        "select tenant_id, document_id, version, fingerprint, array_to_string(chunk_ids, ' '), "
        "array_to_string(content_hashes, ' ') from rag.build_documents where build_id = %s",
        (build_id,),
    ).fetchall()
    return {
        (tenant, document, version): BuiltDocument(
            fingerprint, dict(zip(ids.split(), hashes.split(), strict=True))
        )
        for tenant, document, version, fingerprint, ids, hashes in rows
    }


def store_manifest(
    connection: psycopg.Connection[Any],
    build_id: str,
    manifest: Manifest,
    base: str | None = None,
    kept: Manifest | None = None,
) -> None:
    """Record what a build holds.

    Args:
        connection: A connection that may write.
        build_id: The build.
        manifest: What it holds.
        base: The build that it started as a copy of.
        kept: What it took over unchanged: rows of the base, which the server copies by itself.
    """
    kept = kept or {}
    connection.execute(
        "insert into rag.build_documents select %(build)s, tenant_id, document_id, version, fingerprint, "
        "chunk_ids, content_hashes from rag.build_documents "
        "join unnest(%(tenants)s::text[], %(ids)s::text[], %(versions)s::text[]) "
        "as kept (tenant_id, document_id, version) using (tenant_id, document_id, version) "
        "where build_id = %(base)s",
        {
            "build": build_id,
            "base": base,
            "tenants": [identity[0] for identity in kept],
            "ids": [identity[1] for identity in kept],
            "versions": [identity[2] for identity in kept],
        },
    )
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "copy rag.build_documents (build_id, tenant_id, document_id, version, fingerprint, chunk_ids, "
            "content_hashes) from stdin"
        ) as copy,
    ):
        for identity, built in manifest.items():
            if identity not in kept:
                chunks = (list(built.chunks), list(built.chunks.values()))
                copy.write_row((build_id, *identity, built.fingerprint, *chunks))


def forget_manifest(connection: psycopg.Connection[Any], build_id: str) -> None:
    """Remove the record of a build whose points are gone."""
    connection.execute("delete from rag.build_documents where build_id = %s", (build_id,))


def change_between(connection: psycopg.Connection[Any], earlier: str, later: str) -> Change:
    """In which documents two builds differ; a build without a record has nothing in common with another."""
    rows = connection.execute(
        "select tenant_id, document_id, version, coalesce(later.chunk_ids, '{}') "
        "from (select * from rag.build_documents where build_id = %(earlier)s) as earlier "
        "full join (select * from rag.build_documents where build_id = %(later)s) as later "
        "using (tenant_id, document_id, version) "
        "where (earlier.fingerprint, earlier.chunk_ids) "
        "is distinct from (later.fingerprint, later.chunk_ids)",
        {"earlier": earlier, "later": later},
    ).fetchall()
    documents = frozenset((tenant, f"{document}@{version}") for tenant, document, version, _ in rows)
    return Change(documents, tuple(chunk for row in rows for chunk in row[3]))
