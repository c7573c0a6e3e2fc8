"""From an incident's new revision to its alert: suspects, causes, plan and proposals, written once.

Add what an alert must say here. Avoid how it is sent (`queue`) and who joins whom (`incidents.grouping`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import psycopg

from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.delivery.alert import alert_of
from orchestration.ingest.delivery.channels import Channel
from orchestration.ingest.delivery.queue import enqueue
from orchestration.ingest.incidents import store
from orchestration.ingest.incidents.actions import keep_proposals, proposals_for, proposals_of
from orchestration.ingest.incidents.causes import Cause, rank_causes
from orchestration.ingest.incidents.change_log import changes_before
from orchestration.ingest.incidents.impact import Suspect, rank_suspects
from orchestration.ingest.incidents.model import Incident, evidence_start
from orchestration.ingest.incidents.remediation import Plan, RunbookSearch, RunbookText, plan_for
from orchestration.ingest.incidents.signal_store import signals_of
from orchestration.ingest.signals import Signal

LIVE = timedelta(hours=1)
"""Older than this, a window was replayed, and the time since it closed says nothing about this system."""
_MEASURED_BEFORE = ("generation_to_kafka_ms", "kafka_to_consumer_ms", "window_ms")


@dataclass(frozen=True)
class AlertMaker:
    """What is needed to make alerts.

    Attributes:
        search: Finds runbooks.
        text_of: Reads one.
        contract: Contract of `processed_alerts`.
        channels: Receivers.
    """

    search: RunbookSearch
    text_of: RunbookText
    contract: TopicContract
    channels: Sequence[Channel]

    def alert_due(self, database_url: str, grouping_ms: float = 0.0) -> int:
        """Make an alert of every revision that nobody was told of.

        The search runs outside of any transaction; the alert, its message and its deliveries are one. A
        revision stays due until they are written, so a crash loses none.

        Args:
            database_url: `postgresql://…`.
            grouping_ms: What the round's grouping took, for the record of stages.

        Returns:
            Alerts written.
        """
        with psycopg.connect(database_url) as connection:
            due = store.due_for_alert(connection)
            for item in due:
                self._alert(connection, item, grouping_ms)
        return len(due)

    def plan_waiting(self, database_url: str) -> int:
        """Look again for runbooks of incidents whose search did not answer; found ones are told.

        Returns:
            Incidents whose plan came.
        """
        found = 0
        with psycopg.connect(database_url) as connection:
            for item in store.without_plan(connection):
                plan = self._plan(item, signals_of(connection, item.tenant_id, item.fingerprint))
                if plan.status == "waiting":
                    return found
                store.lock(connection)
                current = store.find_incident(connection, item.tenant_id, item.fingerprint)
                told = replace(current, revision=current.revision + 1)
                store.save_incident(connection, told)
                findings = store.findings_of(connection, told)
                kept = store.Findings(findings.suspects, findings.causes, plan.as_json())
                store.save_findings(connection, replace(told, revision=current.revision), kept)
                store.record_event(connection, told, "planned", told.last_at, detail={"status": plan.status})
                connection.commit()
                found += 1
        return found

    def _alert(self, connection: store.Connection, item: Incident, grouping_ms: float) -> None:
        signals = signals_of(connection, item.tenant_id, item.fingerprint)
        known = store.findings_of(connection, item)
        suspects, causes = conclusions(connection, item)
        begun = time.perf_counter()
        plan: Plan | dict[str, Any] | None = known.plan
        if item.is_active and (known.plan is None or known.plan.get("status") == "waiting"):
            connection.commit()  # the search must not hold a transaction open
            plan = self._plan(item, signals)
        stages = {
            "grouping_ms": grouping_ms,
            "retrieval_ms": (time.perf_counter() - begun) * 1000,
            **_stages_before(connection, item, signals),
        }
        store.lock(connection)
        current = store.find_incident(connection, item.tenant_id, item.fingerprint)
        keep_proposals(connection, current, proposals_for(current, causes) if current.is_active else ())
        alert = alert_of(current, suspects, causes, plan, proposals_of(connection, current))
        step = store.last_step(connection, current)
        enqueue(connection, alert, step, stages, self.contract, self.channels)
        findings = store.Findings(
            cast(list[dict[str, Any]], alert.body["suspects"]),
            cast(list[dict[str, Any]], alert.body["causes"]),
            cast("dict[str, Any] | None", alert.body["plan"]),
        )
        store.save_findings(connection, current, findings)
        detail = {"revision": current.revision, "status": alert.status, "step": step}
        store.record_event(connection, current, "alerted", current.last_at, detail=detail)
        connection.commit()

    def _plan(self, item: Incident, signals: Sequence[Signal]) -> Plan:
        return plan_for(item, signals, self.search, self.text_of)


def conclusions(
    connection: store.Connection, item: Incident
) -> tuple[tuple[Suspect, ...], tuple[Cause, ...]]:
    """Ranked suspects and causes of an incident as it stands."""
    topology = store.known_topology(connection, item.tenant_id)
    changes = changes_before(connection, item.tenant_id, item.started_at)
    return rank_suspects(item.affected, topology), rank_causes(item, changes, topology)


def _stages_before(
    connection: store.Connection, item: Incident, signals: Sequence[Signal]
) -> dict[str, float]:
    """Stages before the incident, as the detectors and the database measured them."""
    found: dict[str, float] = {}
    for signal in signals[-1:]:
        measured = signal.evidence.get("stage_latencies_ms")
        if isinstance(measured, dict):
            values = cast(dict[str, float], measured)
            found |= {name: float(values[name]) for name in _MEASURED_BEFORE if name in values}
        window = signal.observed_at - evidence_start(signal)
        found.setdefault("window_ms", window.total_seconds() * 1000)
    row = connection.execute(
        """
        select extract(epoch from max(written_at) - max(known_at))::float8 * 1000,
            extract(epoch from clock_timestamp() - max(written_at))::float8 * 1000
        from ops.signals where tenant_id = %s and fingerprint = %s
        """,
        (item.tenant_id, item.fingerprint),
    ).fetchone()
    if row and row[0] is not None:
        if 0 <= row[0] < LIVE.total_seconds() * 1000:
            found["window_close_to_signal_ms"] = row[0]
        found["signal_to_alert_ms"] = row[1]
    return found
