"""What people decide about incidents: acknowledge, resolve, silence, and whether it was right.

Add a decision here with its line in the timeline. Avoid what happens by itself (`lifecycle`).
"""

from dataclasses import dataclass, replace
from datetime import datetime

from orchestration.ingest.incidents import store
from orchestration.ingest.incidents.model import Incident, IncidentState


class NotPossibleError(ValueError):
    """The incident's state does not allow the decision; the message says what to do instead."""


@dataclass(frozen=True)
class Feedback:
    """A person's word on an incident.

    Attributes:
        is_real: Whether something was wrong at all.
        was_fix_right: Whether the proposed fix was the right one; None where nobody knows.
        note: In their words.
        given_by: Who.
    """

    is_real: bool
    was_fix_right: bool | None
    note: str | None
    given_by: str


def acknowledge(
    connection: store.Connection, tenant_id: str, fingerprint: str, by: str, at: datetime
) -> Incident:
    """Take an incident; taking it twice changes nothing.

    Raises:
        UnknownIncidentError: There is no such incident.
        NotPossibleError: It has ended.
    """
    store.lock(connection)
    item = store.find_incident(connection, tenant_id, fingerprint)
    if item.state is IncidentState.ACKNOWLEDGED:
        return item
    if not item.is_active:
        raise NotPossibleError(_ended(item, "acknowledged"))
    taken = replace(
        item,
        state=IncidentState.ACKNOWLEDGED,
        acknowledged_at=at,
        acknowledged_by=by,
        revision=item.revision + 1,
    )
    store.save_incident(connection, taken)
    store.record_event(connection, taken, "acknowledged", at, actor=by)
    return taken


def resolve(
    connection: store.Connection, tenant_id: str, fingerprint: str, by: str, at: datetime, note: str = ""
) -> Incident:
    """End an incident by hand. New findings of the same kind reopen it for a while.

    Raises:
        UnknownIncidentError: There is no such incident.
        NotPossibleError: It has ended already.
    """
    store.lock(connection)
    item = store.find_incident(connection, tenant_id, fingerprint)
    if not item.is_active:
        raise NotPossibleError(_ended(item, "resolved"))
    ended = replace(
        item,
        state=IncidentState.RESOLVED,
        resolved_at=max(at, item.detected_at),
        revision=item.revision + 1,
    )
    store.save_incident(connection, ended)
    store.record_event(connection, ended, "resolved", at, actor=by, detail={"note": note})
    return ended


def silence(
    connection: store.Connection,
    tenant_id: str,
    subject_pattern: str,
    starts_at: datetime,
    ends_at: datetime,
    reason: str,
    by: str,
) -> int:
    """Keep alerts about some subjects back for a while; attacks still page.

    Returns:
        Number of the silence.

    Raises:
        NotPossibleError: The period ends before it begins, or no reason is given.
    """
    if ends_at <= starts_at:
        raise NotPossibleError(f"a silence from {starts_at} to {ends_at} never begins; give a later end")
    if not reason.strip():
        raise NotPossibleError("a silence needs a reason: whoever finds it later must know why")
    row = connection.execute(
        """
        insert into ops.silences (tenant_id, subject_pattern, starts_at, ends_at, reason, created_by)
        values (%s, %s, %s, %s, %s, %s) returning silence_id
        """,
        (tenant_id, subject_pattern, starts_at, ends_at, reason.strip(), by),
    ).fetchone()
    assert row is not None
    return int(row[0])


def give_feedback(
    connection: store.Connection, tenant_id: str, fingerprint: str, feedback: Feedback, at: datetime
) -> Incident:
    """Keep what a person says about an incident and its fix.

    Raises:
        UnknownIncidentError: There is no such incident.
    """
    item = store.find_incident(connection, tenant_id, fingerprint)
    connection.execute(
        """
        insert into ops.incident_feedback (tenant_id, fingerprint, is_real, was_fix_right, note, given_by)
        values (%s, %s, %s, %s, %s, %s)
        """,
        (
            tenant_id,
            item.fingerprint,
            feedback.is_real,
            feedback.was_fix_right,
            feedback.note,
            feedback.given_by,
        ),
    )
    detail = {"is_real": feedback.is_real, "was_fix_right": feedback.was_fix_right, "note": feedback.note}
    store.record_event(connection, item, "feedback", at, actor=feedback.given_by, detail=detail)
    return item


def _ended(item: Incident, wanted: str) -> str:
    if item.merged_into:
        return (
            f"incident {item.fingerprint[:8]} was merged into {item.merged_into[:8]} and can't be {wanted}: "
            "decide about that one"
        )
    return f"incident {item.fingerprint[:8]} was resolved at {item.resolved_at} and can't be {wanted}"
