"""The copilot's word on each open incident, kept in its timeline with the answer's number.

It stands above the domain packages: incidents know no copilot. Add what a briefing asks here.
"""

import re
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg

from orchestration.environment import Environment
from orchestration.ingest.incidents import store
from orchestration.ingest.incidents.model import Family, Incident, IncidentState
from orchestration.ingest.signals import SignalKind

if TYPE_CHECKING:
    from rag_assets.copilot.questions import Question

BRIEFED = "briefed"
_NAME = re.compile(r"[\w.:/@-]{1,100}")
_CODE = re.compile(r"\b(?:[A-Z]\d{3,4}|error\d{1,2})\b")
_SIGNS = {
    SignalKind.LOG_RULE: "a rule found what it looks for",
    SignalKind.LOG_ERRORS: "more faults than usual",
    SignalKind.LOG_LATENCY: "slower than usual",
    SignalKind.LOG_STATEMENTS: "messages that it seldom writes",
    SignalKind.LOG_TEMPLATES: "messages that it seldom writes",
    SignalKind.LOG_SECURITY: "signs of an attack",
    SignalKind.LOG_SILENCE: "silence",
    SignalKind.RESOURCE: "resources run short",
    SignalKind.TELEMETRY: "readings out of the ordinary",
    SignalKind.DRIFT: "drift",
    SignalKind.LANDING: "data that does not land",
    SignalKind.DEAD_LETTERS: "refused messages",
    SignalKind.LIVENESS: "no sign of life",
}
"""How a question names what a detector found."""


def without_briefing(connection: psycopg.Connection[Any]) -> list[Incident]:
    """Open incidents that page somebody and have no briefing yet."""
    states = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)
    briefed = {
        (tenant_id, fingerprint)
        for tenant_id, fingerprint in connection.execute(
            "select distinct tenant_id, fingerprint from ops.incident_events where step = %s", (BRIEFED,)
        ).fetchall()
    }
    return [
        item
        for item in store.list_incidents(connection, None, states, 50)
        if (item.tenant_id, item.fingerprint) not in briefed and not item.silenced_by
    ]


def can_brief(connection: psycopg.Connection[Any]) -> bool:
    """Whether any index build is published: without one the copilot answers nothing."""
    return connection.execute("select 1 from rag.index_aliases limit 1").fetchone() is not None


def brief_incidents(database_url: str, environment: Environment) -> Sequence[str]:
    """Ask the copilot about every open incident that has no briefing.

    Returns:
        Fingerprints of the incidents that were briefed now.

    Raises:
        ApiError: The copilot failed; what was briefed before stays.
    """
    from orchestration.resources import build_resources

    with psycopg.connect(database_url) as connection:
        waiting = without_briefing(connection)
    if not waiting:
        return ()
    done: list[str] = []
    with closing(build_resources(environment)["vector_store"].copilot(database_url)) as copilot:
        for item in waiting:
            diagnosis = copilot.diagnose(question_about(item))
            detail = {
                "answer_id": diagnosis.answer_id,
                "status": diagnosis.status,
                "note": diagnosis.answer[:2000],
            }
            with psycopg.connect(database_url) as connection:
                store.record_event(connection, item, BRIEFED, datetime.now(UTC), "copilot", detail)
            done.append(item.fingerprint)
    return done


def question_about(item: Incident) -> "Question":
    """What the copilot is asked: only kinds, codes and a subject that is a name.

    The summary may quote log lines, which anybody can write who can make a service log: it is searched
    with, and never becomes part of what a model with tools is asked.
    """
    from rag_assets.copilot.questions import Question

    affected = item.affected[item.subject]
    subject = item.subject if _NAME.fullmatch(item.subject) else f"a {item.family.value}"
    signs = dict.fromkeys(
        [*_CODE.findall(affected.summary), *(_SIGNS[kind] for kind in sorted(affected.kinds))]
    )
    text = f"{subject}: {', '.join(signs)}. What is the cause, and what do I do?"
    machine = item.subject if item.family in {Family.MACHINE, Family.MODEL} else None
    return Question(text, item.tenant_id, machine, reported=affected.summary)
