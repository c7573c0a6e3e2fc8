"""The rankers that serve, as search reads them: rows of `rag.served_rankers`.

Apart from `versions`, which needs MLflow: whoever only answers must start without it.
"""

from typing import Any

import psycopg

from rag_assets.rerank.rankers import Ranker, StaleRankerError, read_ranker


def served_rankers(connection: psycopg.Connection[Any]) -> dict[str, Ranker]:
    """The ranker of each tenant that has a champion; one of another version's features is left out."""
    found: dict[str, Ranker] = {}
    for tenant_id, content in connection.execute("select tenant_id, ranker from rag.served_rankers"):
        try:
            found[tenant_id] = read_ranker(content)
        except StaleRankerError:
            continue  # the first stage's order stands until the asset has run again
    return found


def served_versions(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """The version of each tenant's ranker; cheap enough to be asked for every second."""
    rows = connection.execute("select tenant_id, model_version from rag.served_rankers").fetchall()
    return {str(tenant_id): str(version) for tenant_id, version in rows}
