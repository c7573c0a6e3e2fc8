"""The knowledge base as a Dagster resource: where index builds live, and who answers questions."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

if TYPE_CHECKING:
    from rag_assets.copilot.copilot import Answering
    from rag_assets.embedding import Embedder
    from rag_assets.index.contract import VectorStore


class VectorStoreResource(dg.ConfigurableResource):
    """Folder of the embedded engine, or address of a Qdrant server; and the API's address, with keys."""

    index_dir: str
    qdrant_url: str | None = None
    api_url: str
    api_client_keys: dict[str, str] = Field(default_factory=dict)

    def store(self) -> "VectorStore":
        """The engine that holds the builds."""
        from rag_assets.index.stores import open_store

        return open_store(Path(self.index_dir), self.qdrant_url)

    def embedder(self) -> "Embedder":
        """The local embedder; its graph is kept beside the index."""
        from rag_assets.embedding import MiniLmEmbedder

        return MiniLmEmbedder(Path(self.index_dir).parent / "models")

    def copilot(self, database_url: str) -> "Answering":
        """Who answers: the API while it is up (it holds the index), else this process."""
        from rag_assets.copilot.client import connect_copilot

        return connect_copilot(
            self.api_url, database_url, self.store(), self.embedder(), self.api_client_keys
        )
