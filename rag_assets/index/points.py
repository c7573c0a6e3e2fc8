"""Documents to points: chunks with their vectors and search terms, ready for an engine.

Avoid engine calls here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rag_assets.analysis import searchable, term_keys
from rag_assets.chunking import Chunk, ChunkerSettings, chunk_document
from rag_assets.documents import Document
from rag_assets.embedding import Embedder
from rag_assets.embedding_cache import EmbeddingKeeper, embed_cached
from rag_assets.fields import document_fields, has_headings, lead, passage_text, spoken
from rag_assets.index.contract import IndexPoint, Passage
from rag_assets.postings import Keys


@dataclass(frozen=True)
class Points:
    """Points of a corpus, and how many texts had to be embedded for them."""

    points: tuple[IndexPoint, ...]
    embedded_count: int


def make_points(
    documents: Sequence[Document], embedder: Embedder, keeper: EmbeddingKeeper, settings: ChunkerSettings
) -> Points:
    """Chunk, embed, and take words apart."""
    chunked = [
        (document, chunk, is_only) for document in documents for chunk, is_only in _chunks(document, settings)
    ]
    texts = [_texts(document, chunk, is_only) for document, chunk, is_only in chunked]
    embedded = embed_cached([text for item in texts for text in item.values()], embedder, keeper)
    vectors = iter(embedded.vectors)
    points: list[IndexPoint] = []
    for (document, chunk, is_only), named in zip(chunked, texts, strict=True):
        dense = {name: next(vectors) for name in named}
        if is_only:
            dense["lead"] = dense["passage"]
        points.append(IndexPoint(_passage(document, chunk), dense))
    return Points(tuple(points), embedded.embedded_count)


def _chunks(document: Document, settings: ChunkerSettings) -> list[tuple[Chunk, bool]]:
    chunks = chunk_document(document, settings)
    is_only = len(chunks) == 1 and not has_headings(document.content)
    return [(chunk, is_only) for chunk in chunks]


def _texts(document: Document, chunk: Chunk, is_only: bool) -> dict[str, str]:
    """What is embedded for a chunk, by vector name; title and lead once per document.

    The lead of a plain text of one chunk is that chunk: embedding it again would double the cost of
    collections of short texts. (With headings the lead is the Meaning or Summary, and without it the
    runbook benchmark loses 0.012 of nDCG@10.) A document without a title has no vector of it.
    """
    texts = {"passage": passage_text(document.title, chunk.text)}
    if chunk.ordinal == 0:
        title = spoken(document.title)
        if title:
            texts["title"] = title
        if not is_only:
            texts["lead"] = f"{title}\n{lead(searchable(document.content))}"
    return texts


def _words(document: Document, chunk: Chunk) -> Mapping[str, Keys]:
    """Search terms, made once here so that opening a build takes no text apart."""
    words = {"text": term_keys(searchable(chunk.text))}
    if chunk.overlap_characters:
        words["overlap"] = term_keys(searchable(chunk.text[: chunk.overlap_characters]))
    if chunk.ordinal == 0:
        labels = (*document.tags, *document.machine_models)
        fields = document_fields(document.title, document.path, labels, document.content)
        for name in ("title", "file_name", "labels", "headings", "lead"):
            words[name] = term_keys(getattr(fields, name))
    return words


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
        words=_words(document, chunk),
    )
