"""The knowledge base as a Dagster resource: where index builds live, and who answers questions."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from orchestration.environment import Environment

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
    embedder_choice: str = "local"
    embedding_base_url: str = ""

    def store(self) -> "VectorStore":
        """The engine that holds the builds."""
        from rag_assets.index.stores import open_store

        return open_store(Path(self.index_dir), self.qdrant_url)

    def embedder(self) -> "Embedder":
        """Who embeds; the local model's graph is kept beside the index."""
        from rag_assets.embedders import open_embedder

        # The web UI shows a resource's fields: the key is not one of them.
        key = Environment().embedding_api_key
        models = Path(self.index_dir).parent / "models"
        return open_embedder(models, self.embedder_choice, self.embedding_base_url, key)

    def copilot(self, database_url: str) -> "Answering":
        """Who answers: the API while it is up (it holds the index), else this process."""
        from rag_assets.copilot.client import connect_copilot

        return connect_copilot(
            self.api_url,
            database_url,
            self.store(),
            self.embedder(),
            self.api_client_keys,
            Environment().llm_timeout_s,
        )
