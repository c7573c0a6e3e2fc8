"""An embedder for tests: words hashed into a vector, no model to load.

Equal texts get equal vectors and texts that share words are near, which is all that tests of index
mechanics need. Avoid using it where quality is judged.
"""

from collections.abc import Sequence

import numpy as np

from rag_assets.analysis import term_id, terms
from rag_assets.embedding import Vectors


class WordEmbedder:
    """Counts words in 64 hashed places; unit length."""

    name = "words"
    dimension = 64

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed, and remember what was asked for."""
        self.embedded.extend(texts)
        vectors = np.full((len(texts), self.dimension), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for term in terms(text):
                vectors[row, term_id(term) % self.dimension] += 1.0
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_question(self, text: str) -> Vectors:
        """As any other text."""
        return self.embed([text])[0]


class MemoryKeeper:
    """Keeps embeddings in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load(self, hashes: Sequence[str], embedder: str) -> dict[str, bytes]:
        """Vectors that are kept."""
        return {digest: self.kept[digest] for digest in hashes if digest in self.kept}

    def save(self, vectors: dict[str, bytes], embedder: str, dimension: int) -> None:
        """Keep vectors."""
        self.kept.update(vectors)
