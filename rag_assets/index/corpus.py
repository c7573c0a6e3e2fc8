"""The corpus of record: `rag.documents`, from which every index build is made.

Sources (folders) are read into it one by one. Avoid chunking and index work here.
"""

import hashlib
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from rag_assets.documents import BrokenDocument, Collection, Document

UPDATES = "knowledge-updates"
"""Source whose word on a document stands over every other source's until it is withdrawn."""


@dataclass(frozen=True)
class CorpusChange:
    """What reading a source changed.

    Attributes:
        source: Name of the source.
        document_count: Documents that the source has now.
        changed_count: Of these, new or different ones.
        removed_count: Documents that the source no longer has.
        by_tenant: Documents per tenant.
        broken: Files that were left out, those too whose id and version another source holds; where a
            file was fine before, its last good text is kept.
    """

    source: str
    document_count: int
    changed_count: int
    removed_count: int
    by_tenant: dict[str, int]
    broken: tuple[BrokenDocument, ...]


def store_collection(
    connection: psycopg.Connection[Any], collection: Collection, source: str
) -> CorpusChange:
    """Make `rag.documents` hold exactly what a source has, in one transaction.

    Args:
        connection: A connection that may write.
        collection: What the source gave.
        source: Name that the rows carry; rows of other sources are not touched, and a document whose id
            and version one of them holds is left out.
    """
    with connection.transaction():
        _take_turns(connection)
        known = _known(connection, source)
        holders = _other_holders(connection, collection.documents, source)
        broken = (*collection.broken, *(_taken(item, holders) for item in collection.documents
                                        if _identity(item) in holders))  # fmt: skip
        documents = [item for item in collection.documents if _identity(item) not in holders]
        changed = [item for item in documents if known.get(_identity(item)) != _fingerprint(item)]
        for document in changed:
            connection.execute(_UPSERT, _row(document, source))
        kept_paths = {item.path for item in broken}
        present = {_identity(item) for item in documents}
        gone = [key for key in known if key not in present and known[key][1] not in kept_paths]
        for tenant_id, document_id, version in gone:
            connection.execute(
                "delete from rag.documents where tenant_id = %s and document_id = %s and version = %s",
                (tenant_id, document_id, version),
            )
    return CorpusChange(
        source=source,
        document_count=len(documents),
        changed_count=len(changed),
        removed_count=len(gone),
        by_tenant=dict(Counter(item.tenant_id for item in documents)),
        broken=broken,
    )


def known_documents(connection: psycopg.Connection[Any], source: str) -> dict[str, list[Document]]:
    """Documents of a source by path: a file that did not change need not be read again."""
    rows = connection.execute(
        "select tenant_id, document_id, version, title, path, md5, content, effective_on, metadata "
        "from rag.documents where metadata ->> 'source' = %s",
        (source,),
    ).fetchall()
    found: dict[str, list[Document]] = {}
    for row in rows:
        document = _document(*row)
        found.setdefault(document.path, []).append(document)
    return found


def store_update(connection: psycopg.Connection[Any], document: Document) -> int:
    """Insert one document, or put it in the place of any source's; the caller's transaction decides."""
    _take_turns(connection)
    connection.execute(_UPSERT, _row(document, UPDATES))
    return 1


def delete_path(connection: psycopg.Connection[Any], source: str, tenant_id: str, path: str) -> int:
    """Take out what a source has under a path; how many documents that were."""
    return connection.execute(
        "delete from rag.documents where metadata ->> 'source' = %s and tenant_id = %s and path = %s",
        (source, tenant_id, path),
    ).rowcount


@dataclass(frozen=True)
class DocumentHead:
    """A document of the corpus without its text.

    Attributes:
        fingerprint: Changes whenever anything of the document does.
    """

    tenant_id: str
    document_id: str
    version: str
    fingerprint: str

    @property
    def identity(self) -> "Identity":
        """What names the document."""
        return self.tenant_id, self.document_id, self.version


def corpus_heads(
    connection: psycopg.Connection[Any], without_source: str | None = None
) -> tuple[DocumentHead, ...]:
    """Every document of every tenant, ordered by tenant, id and version; on demand without one source."""
    rows = connection.execute(
        "select tenant_id, document_id, version, md5 || ' ' || path from rag.documents "
        "where %(left_out)s::text is null or metadata ->> 'source' is distinct from %(left_out)s "
        "order by 1, 2, 3",
        {"left_out": without_source},
    ).fetchall()
    return tuple(DocumentHead(*row) for row in rows)


def load_corpus(
    connection: psycopg.Connection[Any], wanted: Sequence[DocumentHead] | None = None
) -> tuple[Document, ...]:
    """Documents with their text, ordered by tenant, id and version.

    Args:
        connection: A connection that may read.
        wanted: Which ones; by default all of every tenant.
    """
    query = (
        "select tenant_id, document_id, version, title, path, md5, content, effective_on, metadata "
        "from rag.documents"
    )
    parameters: dict[str, list[str]] = {}
    if wanted is not None:
        query += (
            " join unnest(%(tenants)s::text[], %(ids)s::text[], %(versions)s::text[])"
            " as wanted (tenant_id, document_id, version) using (tenant_id, document_id, version)"
        )
        parameters = {
            "tenants": [head.tenant_id for head in wanted],
            "ids": [head.document_id for head in wanted],
            "versions": [head.version for head in wanted],
        }
    rows = connection.execute(query + " order by 1, 2, 3", parameters or None).fetchall()
    return tuple(_document(*row) for row in rows)


def corpus_digest(heads: Sequence[DocumentHead], *stamps: str) -> str:
    """SHA-256 over what an index would be made of; equal digests give equal builds.

    Args:
        heads: The corpus.
        stamps: Embedder, chunker and whatever else shapes the build.
    """
    digest = hashlib.sha256("\x1f".join(stamps).encode())
    for head in sorted(heads, key=lambda item: item.identity):
        digest.update("\x1f".join((*head.identity, head.fingerprint)).encode())
        digest.update(b"\x1e")
    return digest.hexdigest()


Identity = tuple[str, str, str]

_UPSERT = """
    insert into rag.documents
        (tenant_id, document_id, version, title, path, md5, effective_on, supersedes, metadata, content)
    values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    on conflict (tenant_id, document_id, version) do update set
        title = excluded.title, path = excluded.path, md5 = excluded.md5,
        effective_on = excluded.effective_on, supersedes = excluded.supersedes,
        metadata = excluded.metadata, content = excluded.content, indexed_at = now()
"""


def _take_turns(connection: psycopg.Connection[Any]) -> None:
    """Until the transaction ends: between a look at who holds a document and the write nobody comes."""
    connection.execute("select pg_advisory_xact_lock(hashtextextended('rag.documents', 0))")


def _other_holders(
    connection: psycopg.Connection[Any], documents: Sequence[Document], source: str
) -> dict[Identity, str]:
    """Documents that another source holds already, and which."""
    keys = [_identity(item) for item in documents]
    rows = connection.execute(
        "select tenant_id, document_id, version, metadata ->> 'source' from rag.documents "
        "join unnest(%(tenants)s::text[], %(ids)s::text[], %(versions)s::text[]) "
        "as wanted (tenant_id, document_id, version) using (tenant_id, document_id, version) "
        "where metadata ->> 'source' is distinct from %(source)s",
        {
            "source": source,
            "tenants": [key[0] for key in keys],
            "ids": [key[1] for key in keys],
            "versions": [key[2] for key in keys],
        },
    ).fetchall()
    return {(tenant, document, version): holder or "unnamed" for tenant, document, version, holder in rows}


def _taken(document: Document, holders: Mapping[Identity, str]) -> BrokenDocument:
    holder = holders[_identity(document)]
    if holder == UPDATES:
        reason = f"a message on {UPDATES} has replaced {document.key}; it stands until it is withdrawn"
    else:
        reason = (
            f"id and version {document.key} are taken by source {holder}: give it another id or version, "
            f"or let that source go with `opsgraph index-forget {shlex.quote(holder)}`"
        )
    return BrokenDocument(document.path, reason)


def _identity(document: Document) -> Identity:
    return document.tenant_id, document.document_id, document.version


def _fingerprint(document: Document) -> tuple[str, str]:
    return document.md5, document.path


def _known(connection: psycopg.Connection[Any], source: str) -> dict[Identity, tuple[str, str]]:
    rows = connection.execute(
        "select tenant_id, document_id, version, md5, path from rag.documents "
        "where metadata ->> 'source' = %s",
        (source,),
    ).fetchall()
    return {(tenant, document, version): (md5, path) for tenant, document, version, md5, path in rows}


def _row(document: Document, source: str) -> tuple[Any, ...]:
    metadata = {
        "source": source,
        "kind": document.kind,
        "tags": list(document.tags),
        "machine_models": list(document.machine_models),
        "supersedes": list(document.supersedes),
        "firmware": document.firmware,
        "owner": document.owner,
        "language": document.language,
    }
    return (
        *_identity(document),
        document.title,
        document.path,
        document.md5,
        document.effective_on,
        ", ".join(document.supersedes) or None,
        Jsonb(metadata),
        document.content,
    )


def _document(*row: Any) -> Document:
    tenant_id, document_id, version, title, path, md5, content, effective_on, metadata = row
    return Document(
        tenant_id=tenant_id,
        document_id=document_id,
        version=version,
        title=title,
        path=path,
        md5=md5,
        content=content,
        effective_on=effective_on,
        supersedes=tuple(metadata.get("supersedes", ())),
        machine_models=tuple(metadata.get("machine_models", ())),
        firmware=metadata.get("firmware"),
        owner=metadata.get("owner"),
        language=metadata.get("language") or "en",
        kind=metadata.get("kind") or "",
        tags=tuple(metadata.get("tags", ())),
    )
