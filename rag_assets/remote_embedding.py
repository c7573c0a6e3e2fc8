"""Embedders behind an endpoint: any OpenAI-compatible one, and Gemini; both through LangChain's classes.

Texts leave the house: use one only where that is allowed. Avoid the cache here, and the local model
(`rag_assets.embedding`).
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from rag_assets.embedding import Embedder, Vectors

_TEXTS_PER_CALL = 64  # endpoints limit the tokens of one request


class Embeddings(Protocol):
    """What every embedding class of LangChain offers."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of texts."""
        ...

    def embed_query(self, text: str) -> list[float]:
        """Vector of a question."""
        ...


class DimensionMismatchError(ValueError):
    """An endpoint's vectors are not as long as configured; the build fails, not the query."""


class RemoteEmbedder:
    """An endpoint with a name and a dimension.

    Args:
        name: Stamped on builds; another model must have another name.
        dimension: Length that each vector must have.
        client: LangChain embeddings.
    """

    def __init__(self, name: str, dimension: int, client: Embeddings) -> None:
        self.name = name
        self.dimension = dimension
        self._client = client

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors in the order of the texts.

        Raises:
            DimensionMismatchError: The endpoint gives vectors of another length.
        """
        rows: list[list[float]] = []
        for start in range(0, len(texts), _TEXTS_PER_CALL):
            rows.extend(self._client.embed_documents(list(texts[start : start + _TEXTS_PER_CALL])))
        return self._checked(rows)

    def embed_question(self, text: str) -> Vectors:
        """The endpoint's vector of a question; Gemini's differ from those of documents.

        Raises:
            DimensionMismatchError: The endpoint gives vectors of another length.
        """
        return self._checked([self._client.embed_query(text)])[0]

    def _checked(self, rows: list[list[float]]) -> Vectors:
        wrong = next((len(row) for row in rows if len(row) != self.dimension), None)
        if wrong is not None:
            raise DimensionMismatchError(
                f"{self.name} gives vectors of {wrong} numbers, {self.dimension} are configured: "
                "nothing was indexed; set the model's own dimension and build again"
            )
        vectors = np.array(rows, dtype=np.float32).reshape(len(rows), self.dimension)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def openai_embedder(base_url: str, model: str, dimension: int, api_key: str = "unused") -> Embedder:
    """An OpenAI-compatible endpoint: OpenAI, vLLM, Ollama, llama.cpp.

    Args:
        base_url: Up to and with `/v1`.
        model: Its name there.
        dimension: Length of its vectors.
        api_key: Local servers take any.
    """
    from langchain_openai import OpenAIEmbeddings
    from pydantic import SecretStr

    client = OpenAIEmbeddings(
        base_url=base_url,
        model=model,
        api_key=SecretStr(api_key),
        # Other servers take texts, not OpenAI's own token numbers.
        check_embedding_ctx_length=False,
        max_retries=5,
        timeout=60,
    )
    return RemoteEmbedder(f"openai:{model}", dimension, client)


def gemini_embedder(model: str, dimension: int, api_key: str) -> Embedder:
    """Google's embedding models."""
    from langchain_google_genai import GoogleGenerativeAIEmbeddings
    from pydantic import SecretStr

    client = GoogleGenerativeAIEmbeddings(model=model, api_key=SecretStr(api_key))
    return RemoteEmbedder(f"gemini:{model}", dimension, client)
