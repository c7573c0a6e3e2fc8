"""The one Alembic chain for every schema that dbt does not own: raw, ops, ml, rag, logs.

Add a revision here for each change of a table that Python writes. Raw tables get theirs from
`opsgraph contracts sync`. Avoid anything that dbt builds (staging, intermediate, marts).
"""

from pathlib import Path

MIGRATIONS_DIR = Path(__file__).resolve().parent


def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the opsgraph database to a revision of the chain.

    Args:
        database_url: `postgresql://user@host:port/database`.
        revision: Alembic revision, `head` by default.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_DIR))
    config.attributes["database_url"] = database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    command.upgrade(config, revision)
