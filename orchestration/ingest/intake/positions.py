"""Where each batch, push and pull source stands: files taken, requests answered, cursors reached.

A source moves its position after the broker has acknowledged what lies before it. A run that is cut off in
between sends that part again; the copies have the same key and content, so the warehouse resolves them as
declared duplicates. Avoid anything that reads a source.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from orchestration.ingest.intake.refused import storable
from orchestration.ingest.intake.sending import Intake

CLAIM_EXPIRES_S = 60.0
"""After it a key may be taken over: a request waits 5 s for its turn and 15 s for Kafka (`SharedSenders`);
the rest is margin for a process that stalled."""


@dataclass(frozen=True)
class Answered:
    """A request that was answered before.

    Attributes:
        body_digest: SHA-256 of the body that came with the key.
        response: What was answered; None while the first sender is still at work.
    """

    body_digest: str
    response: dict[str, Any] | None


@dataclass(frozen=True)
class Claim:
    """A key that a request holds; who took it over holds another one, though the key is the same."""

    tenant_id: str
    key: str
    begun_at: datetime


def taken_files(connection: psycopg.Connection[Any], source: str) -> set[tuple[str, str]]:
    """Topic and digest of the files of a source that were sent whole."""
    rows = connection.execute(
        "select topic, content_digest from ops.intake_files where source = %s", (source,)
    )
    return {(str(topic), str(digest)) for topic, digest in rows}


def mark_file(
    connection: psycopg.Connection[Any], source: str, path: str, digest: str, intake: Intake
) -> None:
    """Remember a file whose rows the broker has acknowledged."""
    connection.execute(
        """
        insert into ops.intake_files (source, content_digest, path, topic, sent, refused, reasons)
        values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing
        """,
        (
            source,
            digest,
            storable(path),
            intake.topic,
            intake.sent,
            intake.refused,
            Jsonb(list(intake.reasons)),
        ),
    )


def cursor_of(connection: psycopg.Connection[Any], source: str) -> Any | None:
    """Cursor that a pull source has reached; None before its first page."""
    row = connection.execute(
        "select position from ops.intake_cursors where source = %s", (source,)
    ).fetchone()
    return row[0] if row else None


def move_cursor(connection: psycopg.Connection[Any], source: str, position: Any, intake: Intake) -> None:
    """Move a pull source's cursor behind what the broker has acknowledged."""
    connection.execute(
        """
        insert into ops.intake_cursors as c (source, position, sent, refused) values (%s, %s, %s, %s)
        on conflict (source) do update set position = excluded.position, sent = c.sent + excluded.sent,
            refused = c.refused + excluded.refused, moved_at = now()
        """,
        (source, Jsonb(position), intake.sent, intake.refused),
    )


def begin_request(
    connection: psycopg.Connection[Any], tenant_id: str, key: str, body_digest: str
) -> Claim | Answered:
    """Take an idempotency key, or find what was answered to it.

    A request that was begun and never answered (its process died) may be taken over once no sender of it
    can still be at work.
    """
    row = connection.execute(
        """
        insert into ops.intake_requests as r (tenant_id, idempotency_key, body_digest, begun_at)
        values (%s, %s, %s, clock_timestamp())
        on conflict (tenant_id, idempotency_key) do update set begun_at = clock_timestamp()
        where r.response is null and r.body_digest = excluded.body_digest
            and r.begun_at < clock_timestamp() - make_interval(secs => %s)
        returning begun_at
        """,
        (tenant_id, key, body_digest, CLAIM_EXPIRES_S),
    ).fetchone()
    if row:
        return Claim(tenant_id, key, row[0])
    found = connection.execute(
        "select body_digest, response from ops.intake_requests where tenant_id = %s and idempotency_key = %s",
        (tenant_id, key),
    ).fetchone()
    # None where the first sender has just given the key back: the caller is told to ask again.
    return Answered(str(found[0]), found[1]) if found else Answered(body_digest, None)


def finish_request(connection: psycopg.Connection[Any], claim: Claim, response: dict[str, Any]) -> None:
    """Keep the answer for every later request with this key."""
    connection.execute(
        "update ops.intake_requests set response = %s "
        "where tenant_id = %s and idempotency_key = %s and response is null",
        (Jsonb(response), claim.tenant_id, claim.key),
    )


def drop_request(connection: psycopg.Connection[Any], claim: Claim) -> None:
    """Give a key back: nothing was accepted under it. One that was taken over is no longer ours to drop."""
    connection.execute(
        "delete from ops.intake_requests "
        "where tenant_id = %s and idempotency_key = %s and begun_at = %s and response is null",
        (claim.tenant_id, claim.key, claim.begun_at),
    )
