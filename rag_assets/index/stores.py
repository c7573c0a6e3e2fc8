"""Which engine holds the builds: a Qdrant server where one is named, else the embedded engine.

Only the choice belongs here.
"""

from pathlib import Path

from rag_assets.index.contract import VectorStore


def open_store(index_dir: Path, qdrant_url: str | None) -> VectorStore:
    """The store in use.

    Args:
        index_dir: Folder of the embedded engine.
        qdrant_url: Address of a Qdrant server; None means embedded.
    """
    if qdrant_url:
        from qdrant_client import QdrantClient

        from rag_assets.index.server import ServerStore

        return ServerStore(QdrantClient(url=qdrant_url))
    from rag_assets.index.edge import EdgeStore

    return EdgeStore(index_dir)
