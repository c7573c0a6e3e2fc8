"""The post-mortem of an incident as Markdown: what happened, what it cost, why, what was done.

Add a section when reviews ask for it. Avoid reading tables: `gather` collects, `write` words.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestration.ingest.incidents import store
from orchestration.ingest.incidents.model import Incident
from orchestration.ingest.incidents.signal_store import signals_of
from orchestration.ingest.signals import Signal

EVIDENCE_SHOWN = 10
EVENTS_SHOWN = 60


@dataclass(frozen=True)
class Gathered:
    """Everything that is known about an incident.

    Attributes:
        incident: The incident.
        timeline: Its steps.
        signals: Its findings.
        findings: Suspects, causes and plan.
        proposals: Actions with what became of them.
        deliveries: Channel, state, when it was sent, last error.
        feedback: What people said of it.
        earlier: Incidents of the same cause key before it.
    """

    incident: Incident
    timeline: list[store.TimelineEvent]
    signals: list[Signal]
    findings: store.Findings
    proposals: list[tuple[Any, ...]]
    deliveries: list[tuple[Any, ...]]
    feedback: list[tuple[Any, ...]]
    earlier: list[tuple[str, datetime]]


def gather(connection: store.Connection, item: Incident) -> Gathered:
    """Read everything about one incident."""
    key = (item.tenant_id, item.fingerprint)
    return Gathered(
        incident=item,
        timeline=store.timeline(connection, item),
        signals=signals_of(connection, *key),
        findings=store.findings_of(connection, item),
        proposals=connection.execute(
            """
            select action, parameters, status, decided_by, decided_at, dry_run, outcome
            from ops.action_proposals where tenant_id = %s and fingerprint = %s order by proposal_id
            """,
            key,
        ).fetchall(),
        deliveries=connection.execute(
            """
            select channel, revision, state, attempts, sent_at, last_error from ops.deliveries
            where tenant_id = %s and fingerprint = %s order by delivery_id
            """,
            key,
        ).fetchall(),
        feedback=connection.execute(
            """
            select given_by, is_real, was_fix_right, note from ops.incident_feedback
            where tenant_id = %s and fingerprint = %s order by feedback_id
            """,
            key,
        ).fetchall(),
        earlier=connection.execute(
            """
            select fingerprint, started_at from ops.incidents
            where tenant_id = %s and cause_key = %s and fingerprint <> %s and started_at < %s
                and state <> 'merged'
            order by started_at desc limit 10
            """,
            (item.tenant_id, item.cause_key, item.fingerprint, item.started_at),
        ).fetchall(),
    )


def write(known: Gathered) -> str:
    """Word the post-mortem; sections without content say so, since a gap is a finding too."""
    item = known.incident
    sections = [
        f"# Post-mortem: {item.affected[item.subject].summary}\n",
        _summary(item),
        _section("Timeline", _timeline(known)),
        _section("Impact", _impact(item)),
        _section("Evidence", _evidence(known.signals)),
        _section("Cause candidates", _causes(known.findings)),
        _section("What was done", _actions(known)),
        _section("What the runbook says", _plan(known.findings.plan)),
        _section("Who was told", _told(known.deliveries)),
        _section("Earlier incidents of this kind", _earlier(known.earlier)),
        _section("Feedback", [_feedback(*row) for row in known.feedback] or ["Nobody gave any yet."]),
        _section("To decide", ["- Was the first suspect right?", "- What would have shown it sooner?",
                               "- Which step of the runbook was missing or wrong?"]),
    ]  # fmt: skip
    return "\n".join(sections)


def _summary(item: Incident) -> str:
    ended = f"{item.resolved_at:%Y-%m-%d %H:%M:%S} UTC" if item.resolved_at else "not over"
    rows = {
        "Incident": f"`{item.fingerprint}`",
        "Tenant": item.tenant_id,
        "Severity": item.severity.value,
        "State": item.state.value,
        "First suspect": item.subject,
        "Began": f"{item.started_at:%Y-%m-%d %H:%M:%S} UTC",
        "Known": f"{item.detected_at:%Y-%m-%d %H:%M:%S} UTC",
        "Ended": ended,
        "Time to detect": _span(item.time_to_detect),
        "Time to resolve": _span(item.time_to_resolve) if item.time_to_resolve is not None else "not over",
        "Reopened": str(item.reopened),
    }
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows.items()), ""]
    )


def _timeline(known: Gathered) -> list[str]:
    shown = [event for event in known.timeline if event.step != "updated"][:EVENTS_SHOWN]
    updates = sum(event.step == "updated" for event in known.timeline)
    rows = [
        f"| {event.at:%Y-%m-%d %H:%M:%S} | {event.step.replace('_', ' ')} | {_cell(event.actor)} "
        f"| {_cell(_detail(event.detail))} |"
        for event in shown
    ]
    return [
        "| when (UTC) | what | who | detail |",
        "|---|---|---|---|",
        *rows,
        "",
        f"{updates} further findings joined without changing its severity.",
    ]


def _impact(item: Incident) -> list[str]:
    return [
        "| affected | from | to | findings | strongest |",
        "|---|---|---|---|---|",
        *(
            f"| {_cell(name)} | {one.first_at:%H:%M:%S} | {one.last_at:%H:%M:%S} | {one.signals} "
            f"| {_cell(one.summary)} |"
            for name, one in sorted(item.affected.items(), key=lambda pair: pair[1].first_at)
        ),
    ]


def _evidence(signals: list[Signal]) -> list[str]:
    strongest = sorted(signals, key=lambda signal: -signal.score)[:EVIDENCE_SHOWN]
    return [
        f"- {signal.observed_at:%H:%M:%S} {signal.subject}, {signal.kind.value}, score {signal.score:.1f}: "
        f"{' '.join(signal.summary.split())}"
        for signal in strongest
    ] or ["None is stored any more."]


def _causes(findings: store.Findings) -> list[str]:
    suspects = [f"- {one['subject']}: {'; '.join(one['reasons'])}" for one in findings.suspects]
    changes = [
        f"- {one['happened_at']}: {one['summary']} (likelihood {one['likelihood']}; "
        f"{'; '.join(one['reasons'])}; {one['reference']})"
        for one in findings.causes
    ]
    return [
        "Suspects, first the likeliest:",
        "",
        *(suspects or ["- none"]),
        "",
        "Changes before it:",
        "",
        *(changes or ["- none is recorded"]),
    ]


def _actions(known: Gathered) -> list[str]:
    return [
        f"- {action} {parameters}: {status}"
        + (f", decided by {decided_by} at {decided_at:%Y-%m-%d %H:%M:%S} UTC" if decided_by else "")
        + (f". Dry run: {dry_run}" if dry_run else "")
        + (f". Outcome: {outcome}" if outcome else "")
        for action, parameters, status, decided_by, decided_at, dry_run, outcome in known.proposals
    ] or ["Nothing was proposed; see the timeline for what people did."]


def _plan(plan: dict[str, Any] | None) -> list[str]:
    if not plan or plan["status"] != "planned":
        return [plan["reason"] if plan else "No runbook was looked for."]
    cited = [
        f"- [{number}] {one['title']} ({one['document_id']}@{one['version']}, section {one['section']})"
        for number, one in enumerate(plan["passages"], start=1)
    ]
    steps = [f"{number}. {step['text']} {step['citation']}" for number, step in enumerate(plan["steps"], 1)]
    return [*steps, "", "Sources:", "", *cited]


def _told(deliveries: list[tuple[Any, ...]]) -> list[str]:
    return [
        f"- {channel}, revision {revision}: {state}"
        + (f" at {sent_at:%Y-%m-%d %H:%M:%S} UTC" if sent_at else "")
        + f", {attempts} tries"
        + (f"; {error}" if error else "")
        for channel, revision, state, attempts, sent_at, error in deliveries
    ] or ["No channel wanted it; the topic `processed_alerts` has it."]


def _earlier(earlier: list[tuple[str, datetime]]) -> list[str]:
    return [f"- {at:%Y-%m-%d %H:%M} UTC, `{name[:8]}`" for name, at in earlier] or ["This is the first."]


def _feedback(by: str, is_real: bool, was_fix_right: bool | None, note: str | None) -> str:
    fix = {True: "the fix was right", False: "the fix was wrong", None: "nothing about the fix"}[
        was_fix_right
    ]
    return f"- {by}: {'real' if is_real else 'false alarm'}, {fix}{f': {note}' if note else ''}"


def _detail(detail: dict[str, Any]) -> str:
    words = ("severity", "subject", "note", "action", "outcome", "was", "status", "merged_into")
    return ", ".join(f"{name} {detail[name]}" for name in words if detail.get(name))


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([f"## {title}", "", *lines, ""])


def _span(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min {seconds % 60} s" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _cell(text: str) -> str:
    """A log line may hold what Markdown reads as a table or a heading."""
    return " ".join(text.replace("|", "\\|").split())
