"""A plant whose documents are a folder, indexed with the real engine; the embedder is a fake, for speed.

The fixture `plant` of `conftest.py` gives one with two documents. Avoid expectations here.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import psycopg
from word_embedder import WordEmbedder

from rag_assets.index import builds
from rag_assets.index.build import BuildOutcome, build_index
from rag_assets.index.edge import EdgeStore
from rag_assets.index.refresh import read_source
from rag_assets.retrieval import Retriever, SearchRequest

ON = date(2026, 6, 1)


class Plant:
    """A folder of documents, the database and the engine that it is indexed with."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.database_url = database_url
        self.documents = folder / "documents"
        self.documents.mkdir()
        self.folder = folder / "index"
        self.store = EdgeStore(self.folder, wait_seconds=5)
        self.embedder = WordEmbedder()

    def write(self, name: str, text: str) -> None:
        """Write one document."""
        (self.documents / f"{name}.md").write_text(text)

    def build(self, gates: Sequence = (), is_asked_for: bool = True) -> BuildOutcome:
        """Read the folder for tenant `plant`, and index."""
        read_source(self.database_url, self.documents, "folder", "plant")
        return build_index(self.database_url, self.store, self.embedder, gates, is_asked_for=is_asked_for)

    def roll_back(self) -> str:
        """The build that answered before, or after."""
        with psycopg.connect(self.database_url) as connection:
            return builds.roll_back(connection).build_id

    def alias(self) -> str | None:
        """The build that answers."""
        with psycopg.connect(self.database_url) as connection:
            build = builds.current_build(connection)
        return build.build_id if build else None

    def find(self, query: str, tenant: str = "plant") -> list[str]:
        """Document ids that the live build gives."""
        retriever = Retriever(self.store.open(self.alias() or ""), self.embedder)
        try:
            return [hit.document.document_id for hit in retriever.search(SearchRequest(query, tenant, ON))]
        finally:
            retriever.close()
