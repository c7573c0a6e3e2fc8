"""What `bench_search` compares with: qdrant-client's local mode and a plain LangChain retriever.

Each is set up the way its documentation does. Avoid tuning here: neither better nor worse than usual.
"""

from collections.abc import Callable, Sequence
from typing import Any

from rag_assets.embedding import MiniLmEmbedder
from rag_assets.index.contract import IndexPoint

Search = Callable[[str], object]
_TOP_K = 5


def local_mode_search(points: Sequence[IndexPoint], embedder: MiniLmEmbedder, tenant: str) -> Search:
    """Nearest vectors of a tenant in qdrant-client without a server."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    client.create_collection(
        "bench", vectors_config=models.VectorParams(size=embedder.dimension, distance=models.Distance.COSINE)
    )
    client.upload_points(
        "bench",
        [
            models.PointStruct(
                id=point.passage.chunk_id,
                vector=point.dense["passage"].tolist(),
                payload={"tenant_id": point.passage.tenant_id, "text": point.passage.text},
            )
            for point in points
        ],
    )
    owner = models.FieldCondition(key="tenant_id", match=models.MatchValue(value=tenant))

    def search(question: str) -> object:
        vector = embedder.embed([question])[0].tolist()
        return client.query_points(
            "bench", query=vector, query_filter=models.Filter(must=[owner]), limit=_TOP_K
        )

    return search


def langchain_search(points: Sequence[IndexPoint], embedder: MiniLmEmbedder, tenant: str) -> Search:
    """LangChain's in-memory vector store as a retriever, with a metadata filter."""
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore

    class Local(Embeddings):
        """The same embedder behind LangChain's interface."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            """Vectors of texts."""
            return embedder.embed(texts).tolist()

        def embed_query(self, text: str) -> list[float]:
            """Vector of a question."""
            return embedder.embed([text])[0].tolist()

    store = InMemoryVectorStore(Local())
    for point in points:
        passage = point.passage
        store.store[passage.chunk_id] = {
            "id": passage.chunk_id,
            "vector": point.dense["passage"].tolist(),
            "text": passage.text,
            "metadata": {"tenant_id": passage.tenant_id},
        }

    def is_owned(document: Document) -> bool:
        return document.metadata["tenant_id"] == tenant  # pyright: ignore[reportUnknownMemberType]

    settings: dict[str, Any] = {"k": _TOP_K, "filter": is_owned}
    return store.as_retriever(search_kwargs=settings).invoke
