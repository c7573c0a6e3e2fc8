"""Documents to points: chunks with their dense and sparse vectors, ready for an engine.

Avoid engine calls here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rag_assets.analysis import searchable, terms
from rag_assets.chunking import Chunk, ChunkerSettings, chunk_document
from rag_assets.documents import Document
from rag_assets.embedding import Embedder
from rag_assets.embedding_cache import EmbeddingKeeper, embed_cached
from rag_assets.fields import lead, passage_text, spoken
from rag_assets.index.contract import IndexPoint, Passage
from rag_assets.lexical import passage_weights


@dataclass(frozen=True)
class Points:
    """Points of a corpus, and how many texts had to be embedded for them."""

    points: tuple[IndexPoint, ...]
    embedded_count: int


def make_points(
    documents: Sequence[Document], embedder: Embedder, keeper: EmbeddingKeeper, settings: ChunkerSettings
) -> Points:
    """Chunk and embed documents; lexical weights are computed tenant by tenant."""
    chunked = [(document, chunk) for document in documents for chunk in chunk_document(document, settings)]
    texts = [text for document, chunk in chunked for text in _texts(document, chunk).values()]
    embedded = embed_cached(texts, embedder, keeper)
    vectors = iter(embedded.vectors)
    sparse = _sparse_by_chunk(chunked)
    points = tuple(
        IndexPoint(
            passage=_passage(document, chunk),
            dense={name: next(vectors) for name in _texts(document, chunk)},
            sparse=sparse[chunk.chunk_id],
        )
        for document, chunk in chunked
    )
    return Points(points, embedded.embedded_count)


def _texts(document: Document, chunk: Chunk) -> dict[str, str]:
    """What is embedded for a chunk, by vector name; title and lead once per document."""
    texts = {"passage": passage_text(document.title, chunk.text)}
    if chunk.ordinal == 0:
        title = spoken(document.title)
        texts |= {"title": title, "lead": f"{title}\n{lead(searchable(document.content))}"}
    return texts


def _sparse_by_chunk(chunked: Sequence[tuple[Document, Chunk]]) -> dict[str, dict[int, float]]:
    by_tenant: dict[str, list[Chunk]] = {}
    for document, chunk in chunked:
        by_tenant.setdefault(document.tenant_id, []).append(chunk)
    weights: dict[str, dict[int, float]] = {}
    for chunks in by_tenant.values():
        tokenized = [terms(searchable(f"{chunk.title}\n{chunk.text}")) for chunk in chunks]
        weights.update(zip((chunk.chunk_id for chunk in chunks), passage_weights(tokenized), strict=True))
    return weights


def _passage(document: Document, chunk: Chunk) -> Passage:
    return Passage(
        chunk_id=chunk.chunk_id,
        content_hash=chunk.content_hash,
        tenant_id=document.tenant_id,
        document_id=document.document_id,
        version=document.version,
        title=document.title,
        path=document.path,
        section=chunk.section,
        text=chunk.text,
        ordinal=chunk.ordinal,
        overlap_characters=chunk.overlap_characters,
        kind=document.kind,
        effective_on=document.effective_on,
        supersedes=document.supersedes,
        machine_models=document.machine_models,
        firmware=document.firmware,
        tags=document.tags,
    )
