"""Which documents a build holds as which chunks: `rag.build_documents`.

What makes a small change cheap: the next build copies the last one and writes only the documents whose
fingerprint differs. Avoid engine calls here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

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
    rows = connection.execute(
        "select tenant_id, document_id, version, fingerprint, chunk_ids, content_hashes "
        "from rag.build_documents where build_id = %s",
        (build_id,),
    ).fetchall()
    return {
        (tenant, document, version): BuiltDocument(fingerprint, dict(zip(ids, hashes, strict=True)))
        for tenant, document, version, fingerprint, ids, hashes in rows
    }


def store_manifest(connection: psycopg.Connection[Any], build_id: str, manifest: Manifest) -> None:
    """Record what a build holds, in one statement: 20,000 single inserts would take as long as the build."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "copy rag.build_documents (build_id, tenant_id, document_id, version, fingerprint, chunk_ids, "
            "content_hashes) from stdin"
        ) as copy,
    ):
        for identity, built in manifest.items():
            chunks = (list(built.chunks), list(built.chunks.values()))
            copy.write_row((build_id, *identity, built.fingerprint, *chunks))


def forget_manifest(connection: psycopg.Connection[Any], build_id: str) -> None:
    """Remove the record of a build whose points are gone."""
    connection.execute("delete from rag.build_documents where build_id = %s", (build_id,))
