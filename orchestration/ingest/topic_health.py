"""Whether a topic looks as usual: rows per hour by hour of day, silent and new keys, lateness, fields.

Counts are taken once per landed batch and added up, so a look costs the same however long the history is.
All times are event times and the plant clock. Hours that the incident calendar names are no reference, and
no key counts as silent while a period of it explains that. Add another measure of a topic here. Avoid
judging single messages: contracts and rules do that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import psycopg
from psycopg import sql

from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.topic_fields import FieldChange, changed_fields

REFERENCE_DAYS = 28
MIN_REFERENCES = 7  # days with this hour; with fewer nothing is called unusual
UNUSUAL_Z = 6.0  # robust z; a Poisson count passes it once in about 10^9 hours
MIN_SPREAD = 0.05  # of the median
SILENT_INTERVALS = 20  # of a key's own mean interval
MIN_SILENCE = timedelta(hours=1)
MIN_KEY_ROWS = 20
EXPLAIN_SILENCE = ("maintenance", "outage", "sensor_fault", "holiday")
"""Periods of the incident calendar in which no machine need report; silence counts from their end."""
BUCKETS_PER_OCTAVE = 4
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Volume:
    """Rows of a tenant's last complete hour beside the same hour of the days before.

    Attributes:
        hour_at: Beginning of the hour.
        row_count: Rows.
        usual: Median of the reference hours; None with too few of them.
        z: Robust z; 0 with too few references.
    """

    hour_at: datetime
    row_count: int
    usual: float | None
    z: float

    @property
    def is_unusual(self) -> bool:
        """Whether somebody should look."""
        return abs(self.z) > UNUSUAL_Z


@dataclass(frozen=True)
class Lateness:
    """Known time minus event time in seconds, over everything landed; quantiles within 19 %."""

    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float


@dataclass(frozen=True)
class TopicHealth:
    """One tenant's part of a topic.

    Attributes:
        tenant_id: Tenant.
        topic: Topic.
        volume: The last complete hour; None before there is one.
        lateness: Lateness so far.
        keys: Keys (machines) heard in the last day of plant time.
        new_keys: Keys first heard in the last day.
        silent_keys: Keys that are silent for far longer than they ever were between two messages.
        changed_fields: Fields that have vanished from the newest rows, or are new in them.
    """

    tenant_id: str
    topic: str
    volume: Volume | None
    lateness: Lateness
    keys: int
    new_keys: tuple[str, ...]
    silent_keys: tuple[str, ...]
    changed_fields: tuple[FieldChange, ...] = ()


def observe(connection: psycopg.Connection[Any], contract: TopicContract) -> int:
    """Count the batches that were not counted yet, each once whoever asks.

    Args:
        connection: The caller's transaction.
        contract: Contract of the topic.

    Returns:
        Batches that were counted.
    """
    claimed = connection.execute(
        """
        insert into ops.observed_batches (batch_id, topic)
        select l.batch_id, l.topic from ops.landing_ledger as l
        where l.topic = %s and l.landed > 0
            and not exists (select from ops.observed_batches as o where o.batch_id = l.batch_id)
        on conflict do nothing returning batch_id
        """,
        (contract.topic,),
    ).fetchall()
    if not claimed:
        return 0
    ids = [row[0] for row in claimed]
    names = {
        "raw": sql.Identifier("raw", contract.table),
        "event": sql.Identifier(contract.event_time_field),
        "key": sql.SQL(", ").join(map(sql.Identifier, contract.message_key)),
        "octave": sql.Literal(BUCKETS_PER_OCTAVE),
    }
    for statement in (_HOURS, _LATENESS, _KEYS):
        connection.execute(sql.SQL(statement).format(**names), (contract.topic, ids))
    return len(ids)


_HOURS = """
    insert into ops.topic_hours as h (tenant_id, topic, hour_at, row_count)
    select tenant_id, %s, date_bin('1 hour', {event}, '2000-01-01Z'), count(*)
    from {raw} where batch_id = any(%s) group by 1, 2, 3
    on conflict (tenant_id, topic, hour_at) do update set row_count = h.row_count + excluded.row_count
"""
_LATENESS = """
    insert into ops.topic_lateness as l (tenant_id, topic, bucket, row_count, max_lateness_s)
    select tenant_id, %s, floor({octave} * log(2, (1 + late_s)::numeric))::smallint, count(*), max(late_s)
    from (
        select tenant_id, greatest(extract(epoch from known_at - {event}), 0)::float8 as late_s
        from {raw} where batch_id = any(%s)
    ) as rows group by 1, 2, 3
    on conflict (tenant_id, topic, bucket) do update set
        row_count = l.row_count + excluded.row_count,
        max_lateness_s = greatest(l.max_lateness_s, excluded.max_lateness_s)
"""
_KEYS = """
    insert into ops.topic_keys as k
        (tenant_id, topic, message_key, first_event_at, last_event_at, row_count)
    select tenant_id, %s, concat_ws('/', {key}), min({event}), max({event}), count(*)
    from {raw} where batch_id = any(%s) group by 1, 2, 3
    on conflict (tenant_id, topic, message_key) do update set
        first_event_at = least(k.first_event_at, excluded.first_event_at),
        last_event_at = greatest(k.last_event_at, excluded.last_event_at),
        row_count = k.row_count + excluded.row_count
"""


def judge(connection: psycopg.Connection[Any], contract: TopicContract) -> list[TopicHealth]:
    """Judge what was counted, tenant by tenant, by the plant clock.

    Args:
        connection: Connection to read over.
        contract: Contract of the topic.
    """
    tenants = connection.execute(
        """
        select t.tenant_id, c.plant_now_at
        from (select distinct tenant_id from ops.topic_keys where topic = %s) as t
        inner join ops.plant_clock as c on t.tenant_id = c.tenant_id
        order by 1
        """,
        (contract.topic,),
    ).fetchall()
    # Only measured signals come by the clock; an event's fields follow from what happened.
    changes = changed_fields(connection, contract) if contract.metrics else []
    return [
        TopicHealth(
            tenant,
            contract.topic,
            _volume(connection, contract.topic, tenant, now),
            _lateness(connection, contract.topic, tenant),
            *_keys(connection, contract, tenant, now),
            tuple(item for item in changes if item.tenant_id == tenant),
        )
        for tenant, now in tenants
    ]


def _volume(connection: psycopg.Connection[Any], topic: str, tenant: str, now: datetime) -> Volume | None:
    hour = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    rows = connection.execute(
        """
        select %(hour)s - day * interval '1 day' as hour_at, coalesce(h.row_count, 0), exists (
            select from ops.incident_calendar as i
            where i.tenant_id = %(tenant)s and i.equipment_id is not null
                and i.starts_at < %(hour)s - day * interval '1 day' + interval '1 hour'
                and i.ends_at > %(hour)s - day * interval '1 day'
        )
        from generate_series(0, %(days)s) as day
        left join ops.topic_hours as h on h.tenant_id = %(tenant)s and h.topic = %(topic)s
            and h.hour_at = %(hour)s - day * interval '1 day'
        where %(hour)s - day * interval '1 day' >= (
            select min(hour_at) from ops.topic_hours where tenant_id = %(tenant)s and topic = %(topic)s
        ) and (day = 0 or not exists (
            select from ops.incident_calendar as i
            where i.tenant_id = %(tenant)s and i.equipment_id is null
                and i.starts_at < %(hour)s - day * interval '1 day' + interval '1 hour'
                and i.ends_at > %(hour)s - day * interval '1 day'
        ))
        order by day
        """,
        {"hour": hour, "days": REFERENCE_DAYS, "tenant": tenant, "topic": topic},
    ).fetchall()
    if not rows or rows[0][0] != hour:
        return None
    # Hours in which single machines had an incident are left out where enough others remain: in a large plant
    # there may be one in every hour.
    plain = [int(count) for _, count, has_incident in rows[1:] if not has_incident]
    references = plain if len(plain) >= MIN_REFERENCES else [int(count) for _, count, _ in rows[1:]]
    usual, z = robust_z(int(rows[0][1]), references)
    return Volume(hour, int(rows[0][1]), usual, z)


def robust_z(value: int, references: Sequence[int]) -> tuple[float | None, float]:
    """Median of the references, and how far a count lies from it in robust deviations.

    The deviation is never taken for less than 5 % of the median: machines that report by the clock have none
    of their own.

    >>> robust_z(0, [400, 404, 396, 400, 398, 402, 400])
    (400.0, -20.0)
    >>> robust_z(0, [400, 400])
    (None, 0.0)
    """
    if len(references) < MIN_REFERENCES:
        return None, 0.0
    usual = float(median(references))
    deviation = 1.4826 * float(median(abs(count - usual) for count in references))
    spread = max(deviation, MIN_SPREAD * usual, 1.0)
    return usual, (value - usual) / spread


def _lateness(connection: psycopg.Connection[Any], topic: str, tenant: str) -> Lateness:
    rows = connection.execute(
        """
        select bucket, row_count, max_lateness_s from ops.topic_lateness
        where tenant_id = %s and topic = %s order by bucket
        """,
        (tenant, topic),
    ).fetchall()
    p50, p95, p99 = (_quantile(rows, quantile) for quantile in QUANTILES)
    return Lateness(p50, p95, p99, max(highest for _, _, highest in rows))


def _quantile(buckets: Sequence[tuple[int, int, float]], quantile: float) -> float:
    """Upper edge of the bucket that holds a quantile, but never beyond what was seen in it."""
    wanted, seen = quantile * sum(count for _, count, _ in buckets), 0
    for bucket, count, highest in buckets:
        seen += count
        if seen >= wanted:
            return min(2 ** ((bucket + 1) / BUCKETS_PER_OCTAVE) - 1, highest)
    raise ValueError("no row was counted")


def _keys(
    connection: psycopg.Connection[Any], contract: TopicContract, tenant: str, now: datetime
) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    rows = connection.execute(
        """
        select k.message_key, k.first_event_at, k.last_event_at, k.row_count, greatest(k.last_event_at, (
            select max(least(i.ends_at, %(now)s)) from ops.incident_calendar as i
            where i.tenant_id = k.tenant_id and i.kind = any(%(explaining)s)
                and (i.equipment_id is null or k.message_key = concat_ws('/', k.tenant_id, i.equipment_id))
                and i.starts_at <= %(now)s and i.ends_at > k.last_event_at
        ))
        from ops.topic_keys as k
        where k.tenant_id = %(tenant)s and k.topic = %(topic)s and k.last_event_at >= %(since)s
        order by k.message_key
        """,
        {
            "now": now,
            "explaining": list(EXPLAIN_SILENCE),
            "tenant": tenant,
            "topic": contract.topic,
            "since": now - timedelta(days=REFERENCE_DAYS),
        },
    ).fetchall()
    day_ago = now - timedelta(days=1)
    heard = sum(last >= day_ago for _, _, last, _, _ in rows)
    new = tuple(str(key) for key, first, _, _, _ in rows if first >= day_ago)
    # Only measured signals come by the clock; a machine without maintenance is not silent.
    regular = rows if contract.metrics else []
    silent = tuple(
        str(key)
        for key, first, last, count, explained_until in regular
        if count >= MIN_KEY_ROWS
        and now - explained_until > max(MIN_SILENCE, SILENT_INTERVALS * (last - first) / (count - 1))
    )
    everything_is_new = heard == len(new)  # the first day of a plant
    return heard, () if everything_is_new else new, silent
