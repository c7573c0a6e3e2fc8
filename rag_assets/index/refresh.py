"""The two steps that keep the knowledge base current: read a source, then index the corpus.

The command line and Dagster call these. Avoid anything that only one of them needs.
"""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import psycopg

from rag_assets.documents import BrokenDocument, SourceFile, folder_files, read_files
from rag_assets.embedding import Embedder
from rag_assets.evaluation.gate import golden_gate
from rag_assets.evaluation.questions import read_questions
from rag_assets.index.build import BuildOutcome, build_index
from rag_assets.index.contract import VectorStore
from rag_assets.index.corpus import CorpusChange, known_documents, store_collection
from rag_assets.sources.insights import SOURCE as INSIGHTS
from rag_assets.sources.insights import insight_documents


def read_source(database_url: str, folder: Path, source: str, tenant_id: str | None) -> CorpusChange:
    """Make the corpus of record hold what a folder has.

    Args:
        database_url: The opsgraph database.
        folder: Folder of documents.
        source: Name of the folder in the corpus; its earlier rows that are gone are removed.
        tenant_id: Owner of files that name none; None: each file must name its own.
    """
    return store_files(database_url, folder_files(folder), source, tenant_id)


def store_files(
    database_url: str, files: Iterable[SourceFile | BrokenDocument], source: str, tenant_id: str | None
) -> CorpusChange:
    """Make the corpus of record hold what a source has; see `read_source`."""
    with psycopg.connect(database_url) as connection:
        collection = read_files(files, tenant_id, known_documents(connection, source))
        return store_collection(connection, collection, source)


def refresh_insights(database_url: str) -> CorpusChange:
    """Write what the marts say of each machine into the corpus; nothing changes while the data do not."""
    with psycopg.connect(database_url) as connection:
        return store_collection(connection, insight_documents(connection), INSIGHTS)


def refresh_index(
    database_url: str,
    store: VectorStore,
    embedder: Embedder,
    golden: Path,
    today: date,
    is_asked_for: bool = False,
) -> BuildOutcome:
    """Index the corpus of record; golden questions are asked where there are any.

    Args:
        database_url: The opsgraph database.
        store: The engine.
        embedder: Who embeds.
        golden: JSON Lines file of golden questions; need not exist.
        today: Day on which documents must be current.
        is_asked_for: Whether a person wants this build; see `build_index`.
    """
    questions = read_questions(golden) if golden.exists() else ()
    return build_index(
        database_url, store, embedder, gates=[golden_gate(questions, today)], is_asked_for=is_asked_for
    )
