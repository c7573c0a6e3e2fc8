"""The copilot's word on each open incident, kept in its timeline with the answer's number.

It stands above the domain packages: incidents know no copilot. Add what a briefing asks here.
"""

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg

from orchestration.environment import Environment
from orchestration.ingest.incidents import store
from orchestration.ingest.incidents.model import Family, Incident, IncidentState

BRIEFED = "briefed"


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
    from rag_assets.copilot.questions import Question

    with psycopg.connect(database_url) as connection:
        waiting = without_briefing(connection)
    if not waiting:
        return ()
    done: list[str] = []
    with closing(build_resources(environment)["vector_store"].copilot(database_url)) as copilot:
        for item in waiting:
            machine = item.subject if item.family in {Family.MACHINE, Family.MODEL} else None
            diagnosis = copilot.diagnose(Question(_question(item), item.tenant_id, machine))
            detail = {
                "answer_id": diagnosis.answer_id,
                "status": diagnosis.status,
                "note": diagnosis.answer[:2000],
            }
            with psycopg.connect(database_url) as connection:
                store.record_event(connection, item, BRIEFED, datetime.now(UTC), "copilot", detail)
            done.append(item.fingerprint)
    return done


def _question(item: Incident) -> str:
    return f"{item.subject}: {item.affected[item.subject].summary}. What is the cause, and what do I do?"
