"""Read-only access to one tenant's rows: the only way by which tools reach SQL.

Avoid queries here; each tool holds its own.
"""

from decimal import Decimal
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from rag_assets.index.contract import MissingTenantError

STATEMENT_TIMEOUT_MS = 2000
CONNECTION_SECONDS = 3.0
"""How long a question waits for a connection before it is told that the database is away."""


class NotBuiltError(RuntimeError):
    """A table that a query reads does not exist yet."""


class QueryFailedError(RuntimeError):
    """Postgres stopped a query, for example after its time was up."""


class TenantDatabase(Protocol):
    """Where tools read rows."""

    def rows(self, query: str, tenant_id: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of one tenant.

        Raises:
            MissingTenantError: `tenant_id` is empty.
            NotBuiltError: A table does not exist yet.
            QueryFailedError: Postgres stopped the query.
        """
        ...


class ReadOnlyDatabase:
    """A pool of connections that can't write: Postgres itself refuses.

    Args:
        database_url: The opsgraph database.
        connections: Largest number of connections.
    """

    def __init__(self, database_url: str, connections: int = 8) -> None:
        options = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_TIMEOUT_MS}"
        self._pool = ConnectionPool(
            database_url,
            min_size=1,
            max_size=connections,
            kwargs={"options": options, "autocommit": True, "row_factory": dict_row},
            timeout=CONNECTION_SECONDS,
            name="copilot-read-only",
            open=True,
        )

    def rows(self, query: str, tenant_id: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run one SELECT that is restricted to the tenant."""
        if not tenant_id or not tenant_id.strip():
            raise MissingTenantError("a query needs a tenant: none was given, and none means no access")
        if "%(tenant_id)s" not in query:
            raise ValueError(f"this query is not restricted to a tenant: {query[:80]}")
        try:
            with self._pool.connection() as connection:
                values = {"tenant_id": tenant_id, **parameters}
                rows: list[dict[str, Any]] = connection.execute(query, values).fetchall()  # type: ignore[arg-type, assignment]
                return [{name: _plain(value) for name, value in row.items()} for row in rows]
        except (
            psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName
        ) as error:  # fmt: skip
            raise NotBuiltError(str(error).splitlines()[0]) from error
        except (psycopg.errors.QueryCanceled, psycopg.errors.InsufficientPrivilege) as error:
            raise QueryFailedError(str(error).splitlines()[0]) from error

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def _plain(value: Any) -> Any:
    """Sums come as Decimal; kept evidence and answers know integers and floats."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
