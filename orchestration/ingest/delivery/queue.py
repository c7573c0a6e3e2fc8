"""Which alert goes to which channel when: pages once, in order, again after failures, never too many.

Add a rule of pace here. Avoid forms and the network: `formats` and `send`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import psycopg

from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.contracts.json_message import encode_json
from orchestration.ingest.delivery.alert import Alert
from orchestration.ingest.delivery.channels import Channel
from orchestration.ingest.delivery.send import Attempt, Outcome, send
from orchestration.ingest.incidents.model import Severity

Connection = psycopg.Connection[Any]
ALERT_TOPIC = "processed_alerts"
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=5)
DIGEST_SIZE = 50


@dataclass(frozen=True)
class Delivered:
    """What one round of a channel did."""

    sent: int = 0
    later: int = 0
    refused: int = 0


@dataclass(frozen=True)
class _Waiting:
    delivery_id: int
    attempts: int
    is_due: bool
    age_minutes: float
    alert: Alert


def enqueue(
    connection: Connection,
    alert: Alert,
    step: str,
    stages: Mapping[str, float],
    contract: TopicContract,
    channels: Sequence[Channel],
) -> None:
    """Write an alert, its message for Kafka, and a delivery per channel that wants it: all or nothing.

    Args:
        connection: The caller's transaction.
        alert: What is sent.
        step: What happened to the incident.
        stages: Milliseconds that each stage took.
        contract: Contract of `processed_alerts`.
        channels: Receivers.
    """
    written = connection.execute(
        """
        insert into ops.alerts (tenant_id, fingerprint, revision, step, payload, stage_latencies_ms)
        values (%s, %s, %s, %s, %s, %s) on conflict do nothing
        """,
        (
            alert.tenant_id,
            alert.fingerprint,
            alert.revision,
            step,
            json.dumps(alert.as_json(), default=str),
            json.dumps(dict(stages)),
        ),
    )
    if not written.rowcount:
        return  # this revision was told before
    connection.execute(
        "insert into ops.outbox (topic, message_key, payload) values (%s, %s, %s)",
        (ALERT_TOPIC, alert.fingerprint.encode(), encode_json(contract, alert.record())),
    )
    for channel in channels:
        # An incident that was told when it was critical is also told when it ends.
        if channel.wants(alert.tenant_id, alert.severity):
            connection.execute(
                """
                insert into ops.deliveries (channel, tenant_id, fingerprint, revision)
                values (%s, %s, %s, %s) on conflict do nothing
                """,
                (channel.name, alert.tenant_id, alert.fingerprint, alert.revision),
            )


def deliver(database_url: str, channel: Channel, client: httpx.Client) -> Delivered:
    """Send what waits for one channel and is due, until its pace is used up or it fails.

    Rows are locked while they are sent: two services share the work and none is sent by both.

    Args:
        database_url: `postgresql://…`.
        channel: Receiver.
        client: HTTP client.
    """
    sent = refused = 0
    with psycopg.connect(database_url) as connection:
        while True:
            room = channel.per_minute - _sent_lately(connection, channel)
            waiting = _waiting(connection, channel) if room > 0 else []
            batch = _next_batch(connection, channel, waiting)
            if not batch:
                connection.commit()
                return Delivered(sent, len(waiting), refused)
            attempt = send(channel, [item.alert for item in batch], client)
            _note(connection, channel, batch, attempt)
            connection.commit()
            if attempt.outcome is Outcome.LATER:
                return Delivered(sent, len(waiting), refused)
            sent += attempt.outcome is Outcome.TAKEN
            refused += attempt.outcome is Outcome.REFUSED


def _sent_lately(connection: Connection, channel: Channel) -> int:
    """Messages of the last minute; a digest is one message and shares one instant."""
    row = connection.execute(
        """
        select count(distinct sent_at) from ops.deliveries
        where channel = %s and state = 'sent' and sent_at > clock_timestamp() - interval '1 minute'
        """,
        (channel.name,),
    ).fetchone()
    return int(row[0]) if row else 0


def _waiting(connection: Connection, channel: Channel) -> list[_Waiting]:
    rows = connection.execute(
        """
        select d.delivery_id, d.attempts, d.next_attempt_at <= clock_timestamp(),
            extract(epoch from clock_timestamp() - a.created_at)::float8 / 60, a.payload
        from ops.deliveries d join ops.alerts a using (tenant_id, fingerprint, revision)
        where d.channel = %s and d.state = 'pending'
        order by d.delivery_id limit 500 for update of d skip locked
        """,
        (channel.name,),
    ).fetchall()
    return [_Waiting(row[0], row[1], row[2], row[3], Alert.from_json(row[4])) for row in rows]


def _next_batch(connection: Connection, channel: Channel, waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """The next message's alerts: one, or a digest. Older updates of the same state are left out."""
    latest = {(item.alert.fingerprint, item.alert.status): item.delivery_id for item in waiting}
    superseded = [
        item for item in waiting if latest[item.alert.fingerprint, item.alert.status] != item.delivery_id
    ]
    if superseded:
        connection.execute(
            "update ops.deliveries set state = 'superseded' where delivery_id = any(%s)",
            ([item.delivery_id for item in superseded],),
        )
    gone = {item.delivery_id for item in superseded}
    due = [item for item in waiting if item.is_due and item.delivery_id not in gone]
    if not channel.digest_minutes:
        return due[:1]
    urgent = [item for item in due if item.alert.severity is Severity.CRITICAL]
    if urgent:
        return urgent[:1]
    ripe = any(item.age_minutes >= channel.digest_minutes for item in due)
    return due[:DIGEST_SIZE] if ripe else []


def _note(connection: Connection, channel: Channel, batch: Sequence[_Waiting], attempt: Attempt) -> None:
    ids = [item.delivery_id for item in batch]
    match attempt.outcome:
        case Outcome.TAKEN:
            connection.execute(
                """
                update ops.deliveries set state = 'sent', attempts = attempts + 1, last_error = null,
                    sent_at = now_at from (select clock_timestamp() as now_at) as clock
                where delivery_id = any(%s)
                """,
                (ids,),
            )
        case Outcome.REFUSED:
            connection.execute(
                """
                update ops.deliveries set state = 'refused', attempts = attempts + 1, last_error = %s
                where delivery_id = any(%s)
                """,
                (attempt.reason, ids),
            )
        case Outcome.LATER:
            connection.execute(
                """
                update ops.deliveries set attempts = attempts + 1, last_error = %s
                where delivery_id = any(%s)
                """,
                (attempt.reason, ids),
            )
            # The receiver is down, not the one alert: the others must not each find that out.
            connection.execute(
                """
                update ops.deliveries
                set next_attempt_at = greatest(next_attempt_at, clock_timestamp() + %s * interval '1 second')
                where channel = %s and state = 'pending'
                """,
                (pause_s(batch[0].attempts, attempt.retry_after_s), channel.name),
            )


def pause_s(attempts: int, asked_s: float | None) -> float:
    """Seconds until the next try: 1, 2, 4 … up to 300, or what the receiver asked for when that is longer.

    >>> [pause_s(attempts, None) for attempts in (0, 1, 2, 20)], pause_s(0, 30.0)
    ([1.0, 2.0, 4.0, 300.0], 30.0)
    """
    doubled = FIRST_PAUSE.total_seconds() * 2.0 ** min(attempts, 16)
    return max(min(doubled, LONGEST_PAUSE.total_seconds()), asked_s or 0.0)
