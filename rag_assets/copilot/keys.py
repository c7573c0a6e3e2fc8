"""API keys, one tenant each, and daily quotas: kept in Postgres, the key itself only as its digest.

Avoid HTTP here (`orchestration.api.access`).
"""

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from rag_assets.copilot.tools.database import CONNECTION_SECONDS
from rag_assets.index.contract import MissingTenantError

PREFIX = "ogk"
_REMEMBERED_S = 5.0
"""How long a looked-up key is believed: a revoked key stops working within this time."""


@dataclass(frozen=True)
class ApiKey:
    """A key as it is stored.

    Attributes:
        requests_per_minute: Of the whole tenant, by this key's word; None: the API's default.
        requests_per_day: Quota of the key; None: none.
    """

    key_id: str
    tenant_id: str
    name: str
    requests_per_minute: int | None
    requests_per_day: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class IssuedKey:
    """A new key; `secret` is shown once and stored nowhere."""

    key: ApiKey
    secret: str


_COLUMNS = (
    "key_id, tenant_id, name, requests_per_minute, requests_per_day, created_at, expires_at, revoked_at"
)


_INSERT = f"""
    insert into rag.api_keys
        (key_id, tenant_id, name, key_digest, requests_per_minute, requests_per_day, expires_at)
    values (%s, %s, %s, %s, %s, %s, %s)
    returning {_COLUMNS}
"""  # noqa: S608 - a constant


def issue_key(
    connection: psycopg.Connection[Any],
    tenant_id: str,
    name: str,
    requests_per_minute: int | None = None,
    requests_per_day: int | None = None,
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Make a key of 256 random bits; as long as that, one round of SHA-256 is enough to store it.

    Raises:
        MissingTenantError: No tenant is named.
    """
    if not tenant_id.strip():
        raise MissingTenantError("a key belongs to one tenant: none was given")
    key_id = secrets.token_hex(6)
    secret = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
    with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        row = cursor.execute(
            _INSERT,
            (
                key_id, tenant_id, name, _digest(secret), requests_per_minute, requests_per_day, expires_at,
            ),
        ).fetchone()  # fmt: skip
    assert row is not None
    return IssuedKey(row, secret)


def revoke_key(connection: psycopg.Connection[Any], key_id: str) -> bool:
    """Let a key work no longer; whether there was one that still did."""
    row = connection.execute(
        "update rag.api_keys set revoked_at = now() where key_id = %s and revoked_at is null returning 1",
        (key_id,),
    ).fetchone()
    return row is not None


def list_keys(connection: psycopg.Connection[Any], tenant_id: str | None = None) -> list[ApiKey]:
    """Keys, newest first; of all tenants if none is named, since only the operator can ask this."""
    with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from rag.api_keys "  # noqa: S608 - a constant
            "where %(tenant)s::text is null or tenant_id = %(tenant)s order by created_at desc",
            {"tenant": tenant_id},
        ).fetchall()


class KeyStore:
    """Looks keys up for a serving process, and counts requests against quotas; threads may share it.

    Args:
        database_url: The opsgraph database.
    """

    def __init__(self, database_url: str) -> None:
        self._pool: ConnectionPool[Any] = ConnectionPool(
            database_url, min_size=0, max_size=2, timeout=CONNECTION_SECONDS, name="api-keys", open=False
        )
        self._remembered: dict[bytes, tuple[float, ApiKey | None]] = {}
        self._guard = threading.Lock()

    def open(self) -> None:
        """Start connecting; a database that is away is told when a key is looked up."""
        self._pool.open()

    def find(self, secret: str) -> ApiKey | None:
        """The key of a secret, if it works; a wrong one is looked up too, so that it takes as long."""
        digest = _digest(secret)
        now = time.monotonic()
        with self._guard:
            known = self._remembered.get(digest)
        if known and now - known[0] < _REMEMBERED_S:
            return known[1]
        with (
            self._pool.connection() as connection,
            connection.cursor(row_factory=class_row(ApiKey)) as cursor,
        ):
            found = cursor.execute(
                f"select {_COLUMNS} from rag.api_keys where key_digest = %s "  # noqa: S608 - a constant
                "and revoked_at is null and (expires_at is null or expires_at > now())",
                (digest,),
            ).fetchone()
        with self._guard:
            if len(self._remembered) > 10_000:  # a guesser must not fill the memory
                self._remembered.clear()
            self._remembered[digest] = (now, found)
        return found

    def count(self, key: ApiKey) -> int:
        """Count one request against today's quota; the number so far, this one included."""
        with self._pool.connection() as connection:
            row = connection.execute(
                """
                insert into rag.api_usage (tenant_id, key_id, used_on, request_count)
                values (%s, %s, (now() at time zone 'UTC')::date, 1)
                on conflict (tenant_id, key_id, used_on)
                    do update set request_count = rag.api_usage.request_count + 1
                returning request_count
                """,
                (key.tenant_id, key.key_id),
            ).fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
