"""Findings of other parts as signals: telemetry anomalies, drift verdicts, landing findings, dead letters.

Add a reader here when another table holds findings. Avoid detecting: each part judges its own data; only
bursts of dead letters are counted here, since nobody else does.
"""

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from psycopg.rows import dict_row

from orchestration.ingest.incidents.store import Connection
from orchestration.ingest.signals import Signal, SignalKind, write_signals

ROWS_READ = 1_000
CERTAIN = 16.0
"""Score of what was counted, not inferred: beyond what 64-bit arithmetic tells from certainty."""
LEAST_BURST = 5  # letters of one minute, as many as the errors of the mission's spike rule
LEAST_SCORE = 5.0
COMMIT_LAG = timedelta(minutes=2)
"""A batch commits a little after the instant that its rows name; its minute is counted again."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERDICT_SCORES = {"SENSOR_FAULT": 12.0, "CONCEPT": 12.0, "OPERATING_MODE": 6.0}
_VERDICT_WORDS = {
    "SENSOR_FAULT": "a sensor looks broken",
    "CONCEPT": "failures no longer follow the model",
    "OPERATING_MODE": "the machine runs in another mode",
}


def take_in(connection: Connection, platform_tenant: str) -> int:
    """Turn findings that are no signals yet into signals, in the caller's transaction.

    Args:
        connection: Its transaction holds the signals and how far dead letters were counted.
        platform_tenant: Who is told of troubles of the platform itself (landing, dead letters).

    Returns:
        Signals written.
    """
    readers: Mapping[str, Callable[[Connection, str], list[Signal]]] = {
        "ml.anomaly_events": _anomalies,
        "ml.drift_verdicts": _verdicts,
        "ops.landing_findings": _findings,
        "ops.dead_letters": _dead_letters,
    }
    signals = [
        signal
        for table, read in readers.items()
        if _exists(connection, table)
        for signal in read(connection, platform_tenant)
    ]
    if signals:
        write_signals(connection, signals)
    return len(signals)


def burst_score(count: int, rate: float) -> float:
    """How surprising a minute's count is: -log10 of the Poisson tail at the usual rate.

    Args:
        count: Letters of the minute.
        rate: Mean letters of a minute.

    >>> burst_score(0, 1.0), round(burst_score(5, 0.1), 2), burst_score(10_000, 1.0)
    (0.0, 7.12, 16.0)
    """
    if count <= 0:
        return 0.0
    rate = max(rate, 0.01)  # a topic that never had a letter: one in 100 minutes can't be ruled out
    # P(X >= n) <= P(X = n) / (1 - rate / (n + 1)) for n > rate; below that nothing is surprising.
    if count <= rate:
        return 0.0
    log_first = count * math.log(rate) - rate - math.lgamma(count + 1)
    log_tail = log_first - math.log1p(-rate / (count + 1))
    return max(0.0, min(-log_tail / math.log(10), CERTAIN))


def _anomalies(connection: Connection, _: str) -> list[Signal]:
    rows = _rows(
        connection,
        """
        select * from ml.anomaly_events event where not exists (
            select from ops.signals where tenant_id = event.tenant_id and kind = 'telemetry'
                and subject = event.equipment_id and observed_at = coalesce(event.ends_at, event.peak_at)
        ) limit %s
        """,
    )
    return [
        Signal(
            tenant_id=row["tenant_id"],
            kind=SignalKind.TELEMETRY,
            subject=row["equipment_id"],
            observed_at=row["ends_at"] or row["peak_at"],
            known_at=row["known_at"],
            # The detector's score is a share of 1; its distance to 1 is the tail. It judged: never below 5.
            score=max(LEAST_SCORE, -math.log10(max(1.0 - float(row["peak_score"]), 1e-12))),
            summary=row["summary"],
            evidence={
                "starts_at": row["starts_at"].isoformat(),
                "contributing_sensors": row["contributing_sensors"],
                "model_version": row["model_version"],
            },
        )
        for row in rows
    ]


def _verdicts(connection: Connection, _: str) -> list[Signal]:
    rows = _rows(
        connection,
        """
        select *, coalesce(equipment_id, model_name) as subject from ml.drift_verdicts verdict
        where verdict in ('SENSOR_FAULT', 'CONCEPT', 'OPERATING_MODE')
            and coalesce(equipment_id, model_name) is not null
            and not exists (
                select from ops.signals where tenant_id = verdict.tenant_id and kind = 'drift'
                    and subject = coalesce(verdict.equipment_id, verdict.model_name)
                    and observed_at = verdict.window_to
            ) limit %s
        """,
    )
    return [
        Signal(
            tenant_id=row["tenant_id"],
            kind=SignalKind.DRIFT,
            subject=row["subject"],
            observed_at=row["window_to"],
            known_at=max(row["decided_at"], row["window_to"]),
            score=_VERDICT_SCORES[row["verdict"]],
            summary=_VERDICT_WORDS[row["verdict"]]
            + (f", sensor {row['metric']}" if row["metric"] else "")
            + f": {row['action']}",
            # The reference spans weeks; the trouble is as old as the verdict, so no start stands here.
            evidence={"verdict": row["verdict"], "metric": row["metric"], "verdict_id": row["verdict_id"]},
        )
        for row in rows
    ]


def _findings(connection: Connection, tenant: str) -> list[Signal]:
    rows = _rows(
        connection,
        """
        select * from ops.landing_findings finding where not exists (
            select from ops.signals where kind = 'landing' and subject = 'topic:' || finding.topic
                and observed_at = finding.found_at
        ) limit %s
        """,
    )
    return [
        Signal(
            tenant_id=tenant,
            kind=SignalKind.LANDING,
            subject=f"topic:{row['topic']}",
            observed_at=row["found_at"],
            known_at=row["found_at"],
            score=CERTAIN,
            summary=row["message"],
            evidence={"kind": row["kind"], "batch_id": row["batch_id"], "partition": row["kafka_partition"]},
        )
        for row in rows
    ]


def _dead_letters(connection: Connection, tenant: str) -> list[Signal]:
    """Bursts of whole minutes that are over; a minute is compared with the day before it."""
    since = _position(connection, "dead_letters") - COMMIT_LAG
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            with minutes as (
                select topic, date_trunc('minute', landed_at) as minute, count(*) as letters,
                    mode() within group (order by error_class) as error_class,
                    (array_agg(error_message order by dead_letter_id))[1:3] as samples
                from ops.dead_letters
                where landed_at >= %(since)s and landed_at < date_trunc('minute', clock_timestamp())
                group by 1, 2
            )
            select *, (
                select count(*) from ops.dead_letters before
                where before.topic = minutes.topic and before.landed_at < minutes.minute
                    and before.landed_at >= minutes.minute - interval '1 day'
            ) as day_before
            from minutes order by minute
            """,
            {"since": since},
        ).fetchall()
    signals: list[Signal] = []
    for row in rows:
        score = burst_score(row["letters"], row["day_before"] / 1440)
        if row["letters"] < LEAST_BURST or score < LEAST_SCORE:
            continue
        end = row["minute"] + timedelta(minutes=1)
        signals.append(
            Signal(
                tenant_id=tenant,
                kind=SignalKind.DEAD_LETTERS,
                subject=f"topic:{row['topic']}",
                observed_at=end,
                known_at=end,
                score=score,
                summary=f"{row['letters']} messages in a minute were refused, mostly {row['error_class']}",
                evidence={"starts_at": row["minute"].isoformat(), "sample_lines": row["samples"]},
            )
        )
    if rows:
        _move(connection, "dead_letters", rows[-1]["minute"])
    return signals


def _rows(connection: Connection, query: LiteralString) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, (ROWS_READ,)).fetchall()


def _exists(connection: Connection, table: str) -> bool:
    row = connection.execute("select to_regclass(%s) is not null", (table,)).fetchone()
    return bool(row and row[0])


def _position(connection: Connection, source: str) -> datetime:
    row = connection.execute(
        "select position from ops.signal_sources where source = %s", (source,)
    ).fetchone()
    return datetime.fromisoformat(json.loads(row[0])) if row else _EPOCH


def _move(connection: Connection, source: str, position: datetime) -> None:
    connection.execute(
        """
        insert into ops.signal_sources (source, position) values (%s, %s)
        on conflict (source) do update set position = excluded.position
        """,
        (source, json.dumps(position.isoformat())),
    )
