"""Opens a build for answering, with what the process still holds of the build before.

The API, and whoever else answers for long, opens builds through here. Avoid watching the alias
(`rag_assets.index.live`).
"""

from typing import Any

import psycopg

from rag_assets.contents import follow_contents, read_contents
from rag_assets.embedding import Embedder
from rag_assets.index.builds import IndexBuild
from rag_assets.index.contract import VectorStore
from rag_assets.index.manifest import change_between
from rag_assets.retrieval import RetrievalCaches, Retriever


def open_retriever(
    connection: psycopg.Connection[Any],
    store: VectorStore,
    build: IndexBuild,
    embedder: Embedder,
    earlier: tuple[IndexBuild, Retriever] | None = None,
    caches: RetrievalCaches | None = None,
) -> Retriever:
    """A retriever that is ready to answer.

    Documents that two builds hold unchanged, as the builders recorded it, are taken from the one that is in
    memory: of a change of 1 % of 20,000 passages 0.5 s are left, of which half is counting, instead of 4 s.

    Args:
        connection: A connection to the opsgraph database.
        store: The engine that holds the builds.
        build: Which one.
        embedder: The embedder that the build is stamped with.
        earlier: The build that this process answers from now, with its retriever.
        caches: Shared by the retrievers of successive builds.

    Raises:
        BuildUnavailableError: The build is gone, or another process holds it.
    """
    opened = store.open(build.build_id)
    try:
        if earlier and earlier[0].stamps == build.stamps:
            change = change_between(connection, earlier[0].build_id, build.build_id)
            contents = follow_contents(opened, earlier[1].contents, change)
        else:
            contents = read_contents(opened)
        retriever = Retriever(
            opened, embedder, caches=caches, contents=contents, earlier=earlier[1] if earlier else None
        )
        retriever.prepare()
    except BaseException:
        opened.close()
        raise
    return retriever
