"""Grade verdicts once the outcomes that they were given without have matured.

A CONCEPT verdict was right when outcomes after it still contradict the version that it accused; BENIGN
when they do not. Sensor verdicts are graded by the sensor's later readings: a fault that was repaired,
or replaced by a person's word in the incident calendar, is another row. Avoid new verdicts here.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import psycopg

from ml.drift.ledger import Subject

GRADED_AFTER = timedelta(days=14)
# Outcomes needed to say anything about a verdict, and how far they must lie from what was said.
FEWEST_OUTCOMES = 30
CONTRADICTS_Z = 2.0


@dataclass(frozen=True)
class TriggerSummary:
    """How good the triggers were so far.

    Attributes:
        asked: CONCEPT verdicts.
        right: Of those graded.
        wrong: Of those graded.
        missed: BENIGN or waiting verdicts that outcomes contradicted later.
        precision: right / (right + wrong); None before anything was graded.
        recall: right / (right + missed); None before anything was graded.
        retrains_per_useful_one: asked / right; None without a right one.
    """

    asked: int
    right: int
    wrong: int
    missed: int
    precision: float | None
    recall: float | None
    retrains_per_useful_one: float | None


def grade_matured(connection: psycopg.Connection, tenant_id: str, as_of: datetime) -> int:
    """Grade a tenant's model verdicts that are old enough; returns how many were graded.

    Args:
        connection: The caller's transaction.
        tenant_id: Owner.
        as_of: Outcomes known by then count.
    """
    rows = connection.execute(
        "select verdict_id, model_name, verdict, window_from, window_to from ml.drift_verdicts"
        " where tenant_id = %s and graded_at is null and model_name is not null and window_to <= %s",
        (tenant_id, as_of - GRADED_AFTER),
    ).fetchall()
    for verdict_id, model_name, verdict, window_from, window_to in rows:
        subject = Subject(tenant_id, None, model_name, window_from, window_to)
        said, happened = _outcomes(connection, subject, as_of)
        connection.execute(
            "update ml.drift_verdicts set graded_as = %s, graded_at = %s where verdict_id = %s",
            (grade(verdict, said, happened), as_of, verdict_id),
        )
    return len(rows)


def grade(verdict: str, said: np.ndarray, happened: np.ndarray) -> str:
    """Whether later outcomes bear a verdict out: `RIGHT`, `WRONG`, or `UNDECIDED` with too few.

    Args:
        verdict: As in the ledger.
        said: Probabilities of the accused version after the window began, shape (rows,).
        happened: Outcomes, shape (rows,), bool.
    """
    if len(said) < FEWEST_OUTCOMES or verdict == "NOT_ENOUGH_LABELS":
        return "UNDECIDED"
    deviation = np.sqrt(max(float((said * (1.0 - said)).sum()), 1e-9))
    is_contradicted = abs(float((happened - said).sum())) / deviation > CONTRADICTS_Z
    return "RIGHT" if is_contradicted == (verdict == "CONCEPT") else "WRONG"


def summarise(connection: psycopg.Connection, tenant_id: str | None = None) -> TriggerSummary:
    """Precision, recall and cost of the triggers in the ledger."""
    counts = {
        (str(verdict), grade_): int(count)
        for verdict, grade_, count in connection.execute(
            "select verdict, graded_as, count(*) from ml.drift_verdicts"
            " where model_name is not null and (%(tenant)s::text is null or tenant_id = %(tenant)s)"
            " group by verdict, graded_as",
            {"tenant": tenant_id},
        ).fetchall()
    }
    right, wrong = counts.get(("CONCEPT", "RIGHT"), 0), counts.get(("CONCEPT", "WRONG"), 0)
    missed = counts.get(("BENIGN", "WRONG"), 0)
    asked = sum(count for (verdict, _), count in counts.items() if verdict == "CONCEPT")
    return TriggerSummary(
        asked=asked,
        right=right,
        wrong=wrong,
        missed=missed,
        precision=right / (right + wrong) if right + wrong else None,
        recall=right / (right + missed) if right + missed else None,
        retrains_per_useful_one=asked / right if right else None,
    )


def _outcomes(
    connection: psycopg.Connection, subject: Subject, as_of: datetime
) -> tuple[np.ndarray, np.ndarray]:
    rows = connection.execute(
        "select prediction.failure_probability, exists (select 1 from marts.fact_equipment_events as event"
        "  where event.tenant_id = prediction.tenant_id and event.equipment_id = prediction.equipment_id"
        "  and event.event_type = 'failure' and event.known_at <= %(as_of)s"
        "  and event.event_at > prediction.as_of"
        "  and event.event_at <= prediction.as_of + make_interval(hours => prediction.horizon_hours))"
        " from ml.failure_predictions as prediction"
        " where prediction.tenant_id = %(tenant)s and prediction.model_name = %(model)s"
        " and prediction.as_of > %(since)s"
        " and prediction.as_of + make_interval(hours => prediction.horizon_hours) <= %(as_of)s"
        " and prediction.model_version = (select model_version from ml.failure_predictions as accused"
        "  where accused.tenant_id = %(tenant)s and accused.model_name = %(model)s"
        "  and accused.as_of <= %(until)s order by accused.as_of desc limit 1)",
        {
            "tenant": subject.tenant_id,
            "model": subject.model_name,
            "since": subject.window_from,
            "until": subject.window_to,
            "as_of": as_of,
        },
    ).fetchall()
    return np.array([row[0] for row in rows], dtype=float), np.array([row[1] for row in rows], dtype=bool)
