"""Embeddings kept by content: text that did not change is never embedded again.

Two keepers with one interface: `rag.embeddings` in Postgres for the index, a SQLite file for
evaluations that need no database. Avoid embedding here.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psycopg

from rag_assets.embedding import Embedder, Vectors

_TEXTS_PER_CALL = 256  # what an interrupted build loses at most: about 5 s of work


class EmbeddingKeeper(Protocol):
    """Where vectors are kept, by content hash and embedder name."""

    def load(self, hashes: Sequence[str], embedder: str) -> dict[str, bytes]:
        """Little-endian float32 vectors of the hashes that are kept."""
        ...

    def save(self, vectors: dict[str, bytes], embedder: str, dimension: int) -> None:
        """Keep vectors."""
        ...


@dataclass(frozen=True)
class EmbeddedTexts:
    """Vectors in the order of the texts, and how many texts had to be embedded."""

    vectors: Vectors
    embedded_count: int


def embed_cached(texts: Sequence[str], embedder: Embedder, keeper: EmbeddingKeeper) -> EmbeddedTexts:
    """Vectors of texts, from the keeper where it has them.

    Args:
        texts: Texts; equal ones are embedded once.
        embedder: Who embeds what is missing.
        keeper: Who keeps the result.

    Raises:
        ValueError: A kept vector has another dimension than the embedder's.
    """
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    text_of = dict(zip(hashes, texts, strict=True))
    known = keeper.load(list(text_of), embedder.name)
    missing = [digest for digest in text_of if digest not in known]
    for start in range(0, len(missing), _TEXTS_PER_CALL):
        batch = missing[start : start + _TEXTS_PER_CALL]
        vectors = embedder.embed([text_of[digest] for digest in batch])
        fresh = {
            digest: vector.astype("<f4").tobytes() for digest, vector in zip(batch, vectors, strict=True)
        }
        keeper.save(fresh, embedder.name, embedder.dimension)
        known.update(fresh)
    result = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    for row, digest in enumerate(hashes):
        vector = np.frombuffer(known[digest], dtype="<f4")
        if vector.shape != (embedder.dimension,):
            raise ValueError(
                f"kept embedding {digest[:12]} of {embedder.name} has dimension {vector.size}, "
                f"the embedder {embedder.dimension}: delete its rows from the cache"
            )
        result[row] = vector
    return EmbeddedTexts(result, len(missing))


class PostgresKeeper:
    """Embeddings in `rag.embeddings`; each `save` is a transaction of its own."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def load(self, hashes: Sequence[str], embedder: str) -> dict[str, bytes]:
        """Vectors that the table has."""
        query = (
            "select content_hash, vector from rag.embeddings where embedder = %s and content_hash = any(%s)"
        )
        rows = self._connection.execute(query, (embedder, list(hashes))).fetchall()
        return {digest: bytes(vector) for digest, vector in rows}

    def save(self, vectors: dict[str, bytes], embedder: str, dimension: int) -> None:
        """Insert vectors that the table lacks."""
        statement = (
            "insert into rag.embeddings (content_hash, embedder, dimension, vector) values (%s, %s, %s, %s) "
            "on conflict do nothing"
        )
        rows = [(digest, embedder, dimension, vector) for digest, vector in vectors.items()]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(statement, rows)


class FileKeeper:
    """Embeddings in one SQLite file.

    Args:
        path: The file; made when absent.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute(
            "create table if not exists embeddings (embedder text, content_hash text, vector blob, "
            "primary key (embedder, content_hash))"
        )

    def load(self, hashes: Sequence[str], embedder: str) -> dict[str, bytes]:
        """Vectors that the file has."""
        found: dict[str, bytes] = {}
        query = "select vector from embeddings where embedder = ? and content_hash = ?"
        for digest in hashes:
            row = self._database.execute(query, (embedder, digest)).fetchone()
            if row:
                found[digest] = row[0]
        return found

    def save(self, vectors: dict[str, bytes], embedder: str, dimension: int) -> None:
        """Add vectors; the dimension is that of the blob."""
        rows = [(embedder, digest, vector) for digest, vector in vectors.items()]
        self._database.executemany("insert or ignore into embeddings values (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._database.close()
