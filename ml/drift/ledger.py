"""The ledger of verdicts: `ml.drift_verdicts`, what follows from a row, and its grade once it can be known.

A verdict is written once: its evidence's digest is its identity, and the same verdict on the same
subject within the cool-down is the same event. Avoid judging here.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from ml.drift.verdict import Judgement, Verdict

COOL_DOWN = timedelta(days=7)
SAID_AGAIN = timedelta(days=21)
# Days that a reference needs; a machine in a new mode is compared with it from then on.
REFERENCE_NEEDS = timedelta(days=21)


@dataclass(frozen=True)
class Subject:
    """What was judged: a machine, or a model of a tenant.

    Attributes:
        tenant_id: Owner.
        equipment_id: Machine; None for a model's verdict.
        model_name: Model; None for a machine's verdict.
        window_from: First instant of the window.
        window_to: End of the window; the instant of the decision.
    """

    tenant_id: str
    equipment_id: str | None
    model_name: str | None
    window_from: datetime
    window_to: datetime


@dataclass(frozen=True)
class LedgerRow:
    """One row of `ml.drift_verdicts`."""

    verdict_id: int
    tenant_id: str
    equipment_id: str | None
    metric: str | None
    model_name: str | None
    verdict: str
    decided_at: datetime
    window_from: datetime
    window_to: datetime
    evidence: Mapping[str, Any]
    evidence_digest: str
    action: str
    graded_as: str | None
    graded_at: datetime | None


_COLUMNS = sql.SQL(", ").join(sql.Identifier(one.name) for one in fields(LedgerRow))
_INSERT = """
insert into ml.drift_verdicts (
    tenant_id, equipment_id, metric, model_name, verdict, decided_at, window_from, window_to, evidence,
    evidence_digest, action, run_id
) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (tenant_id, evidence_digest) do nothing returning {}
"""
_QUARANTINE = """
insert into ml.sensor_quarantines (
    tenant_id, equipment_id, metric, from_at, known_at, reason, verdict_id
) values (%s, %s, %s, %s, %s, %s, %s)
on conflict (tenant_id, equipment_id, metric, from_at) do nothing
"""


def evidence_digest(subject: Subject, judgement: Judgement) -> str:
    """Digest of what was judged and of what the verdict rests on; the same for the same data."""
    content = {
        "tenant": subject.tenant_id,
        "equipment": subject.equipment_id,
        "model": subject.model_name,
        "window": [subject.window_from.isoformat(), subject.window_to.isoformat()],
        "verdict": str(judgement.verdict),
        "evidence": judgement.evidence,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=float).encode()).hexdigest()[:24]


def record(
    connection: psycopg.Connection, subject: Subject, judgement: Judgement, run_id: str | None = None
) -> LedgerRow | None:
    """Write a verdict and what follows from it in the caller's transaction.

    Returns:
        The new row; None where nothing drifted, or where this event stands in the ledger already.
    """
    if judgement.verdict is Verdict.NO_DRIFT:
        return None
    metric = judgement.metrics[0] if judgement.metrics else None
    known = connection.execute(
        "select 1 from ml.drift_verdicts where tenant_id = %(tenant)s and verdict = %(verdict)s"
        " and equipment_id is not distinct from %(equipment)s and metric is not distinct from %(metric)s"
        " and model_name is not distinct from %(model)s and decided_at > %(since)s limit 1",
        {
            "tenant": subject.tenant_id,
            "verdict": str(judgement.verdict),
            "equipment": subject.equipment_id,
            "metric": metric,
            "model": subject.model_name,
            "since": subject.window_to - COOL_DOWN,
        },
    ).fetchone()
    if known or _is_settling(connection, subject, judgement):
        return None
    with connection.cursor(row_factory=class_row(LedgerRow)) as cursor:
        row = cursor.execute(
            sql.SQL(_INSERT).format(_COLUMNS),
            (
                subject.tenant_id,
                subject.equipment_id,
                metric,
                subject.model_name,
                str(judgement.verdict),
                subject.window_to,
                subject.window_from,
                subject.window_to,
                json.dumps(judgement.evidence, default=float),
                evidence_digest(subject, judgement),
                judgement.action,
                run_id,
            ),
        ).fetchone()
    if row is not None:
        _follow(connection, row, judgement.metrics)
    return row


def _is_settling(connection: psycopg.Connection, subject: Subject, judgement: Judgement) -> bool:
    """Whether the machine's new mode is known and its reference still too short to compare with."""
    if judgement.verdict is not Verdict.OPERATING_MODE or subject.equipment_id is None:
        return False
    started = reference_starts(connection, subject.tenant_id, subject.window_to).get(subject.equipment_id)
    return started is not None and subject.window_from < started + REFERENCE_NEEDS


def reference_starts(connection: psycopg.Connection, tenant_id: str, as_of: datetime) -> dict[str, datetime]:
    """Equipment id → instant from which its reference holds, as known at an instant; the latest change."""
    rows = connection.execute(
        "select equipment_id, max(from_at) from ml.drift_references"
        " where tenant_id = %s and known_at <= %s group by equipment_id",
        (tenant_id, as_of),
    ).fetchall()
    return dict(rows)


def _follow(connection: psycopg.Connection, row: LedgerRow, metrics: Sequence[str]) -> None:
    """Quarantine sensors, or start the machine's new reference."""
    if row.verdict == Verdict.SENSOR_FAULT and row.equipment_id:
        for metric in metrics:
            connection.execute(
                _QUARANTINE,
                (
                    row.tenant_id,
                    row.equipment_id,
                    metric,
                    row.window_from,
                    row.decided_at,
                    str(row.evidence.get("reason", "")),
                    row.verdict_id,
                ),
            )
    if row.verdict == Verdict.OPERATING_MODE and row.equipment_id:
        connection.execute(
            "insert into ml.drift_references (tenant_id, equipment_id, from_at, known_at, verdict_id)"
            " values (%s, %s, %s, %s, %s) on conflict do nothing",
            (row.tenant_id, row.equipment_id, row.window_from, row.decided_at, row.verdict_id),
        )


def release(connection: psycopg.Connection, subject: Subject, sound: Sequence[str]) -> int:
    """End the quarantine of sensors whose window is sound again; what was read until now stays out.

    Returns how many ended.
    """
    ended = connection.execute(
        "update ml.sensor_quarantines set to_at = greatest(%s, from_at + interval '1 hour')"
        " where tenant_id = %s and equipment_id = %s and metric = any(%s) and to_at is null"
        " and from_at < %s",
        (subject.window_to, subject.tenant_id, subject.equipment_id, list(sound), subject.window_from),
    )
    return ended.rowcount


def verdicts(
    connection: psycopg.Connection, tenant_id: str | None = None, limit: int = 50
) -> list[LedgerRow]:
    """The newest rows of the ledger, of one tenant or of all."""
    with connection.cursor(row_factory=class_row(LedgerRow)) as cursor:
        return cursor.execute(
            sql.SQL(
                "select {} from ml.drift_verdicts"
                " where %(tenant)s::text is null or tenant_id = %(tenant)s"
                " order by decided_at desc, verdict_id desc limit %(limit)s"
            ).format(_COLUMNS),
            {"tenant": tenant_id, "limit": limit},
        ).fetchall()


def drifted_slices(connection: psycopg.Connection, verdict_id: int) -> dict[tuple[str, str], datetime]:
    """Tenant and model → first instant of the drift that a CONCEPT verdict was about; empty for others."""
    rows = connection.execute(
        "select tenant_id, model_name, window_from from ml.drift_verdicts"
        " where verdict_id = %s and verdict = 'CONCEPT' and model_name is not null",
        (verdict_id,),
    ).fetchall()
    return {(tenant_id, model_name): window_from for tenant_id, model_name, window_from in rows}


def retraining_requests(connection: psycopg.Connection, after: int = 0) -> list[LedgerRow]:
    """CONCEPT verdicts after a row that ask for a challenger, each once, under its digest; oldest first.

    A verdict that is not clear asks only when the model was accused before, within `SAID_AGAIN`.
    """
    with connection.cursor(row_factory=class_row(LedgerRow)) as cursor:
        return cursor.execute(
            sql.SQL(
                "select {} from ml.drift_verdicts as verdict"
                " where verdict = 'CONCEPT' and verdict_id > %(after)s and ("
                "  coalesce((evidence ->> 'is_clear')::boolean, true) or exists ("
                "   select 1 from ml.drift_verdicts as before where before.verdict = 'CONCEPT'"
                "   and before.tenant_id = verdict.tenant_id"
                "   and before.model_name is not distinct from verdict.model_name"
                "   and before.verdict_id < verdict.verdict_id"
                "   and before.decided_at > verdict.decided_at - %(said_again)s))"
                " order by verdict_id"
            ).format(_COLUMNS),
            {"after": after, "said_again": SAID_AGAIN},
        ).fetchall()
