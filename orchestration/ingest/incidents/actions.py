"""Actions that may be taken after a person's approval: a short list, each proposed, tried dry, and audited.

Add an action to `ALLOWED` with the findings that call for it, and give it an executor where the process has
the means (`orchestration.incident_actions`). Avoid doing anything here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from orchestration.ingest.incidents import store
from orchestration.ingest.incidents.causes import Cause
from orchestration.ingest.incidents.model import Incident
from orchestration.ingest.signals import SignalKind

APPROVAL_REQUIRED = "approval_required"

ALLOWED: dict[str, str] = {
    "restart_service": "Let the supervisor restart one process of the stack.",
    "start_sensor": "Switch a sensor of Dagster on.",
    "start_schedule": "Switch a schedule of Dagster on.",
    "replay_dead_letters": "Land the dead letters of a topic that its contract takes now.",
    "roll_back_model": "Let the previous model version serve again.",
    "roll_back_index": "Let the previous knowledge index answer again.",
}
"""Everything that opsgraph may do about an incident. Whatever is not here can't be approved."""


class NotAllowedError(ValueError):
    """The action is not on the list, was not approved, or was done already."""


class Executor(Protocol):
    """Does one kind of action."""

    def dry_run(self, parameters: Mapping[str, str]) -> str:
        """What it would do, in a sentence; changes nothing."""
        ...

    def run(self, parameters: Mapping[str, str]) -> str:
        """Do it; returns what was done."""
        ...


@dataclass(frozen=True)
class Proposal:
    """An action that waits for a person.

    Attributes:
        action: Key of `ALLOWED`.
        reason: Why it is proposed.
        parameters: What it acts on.
        proposal_id: Its row; 0 before it is kept.
        status: `approval_required`, `approved`, `rejected`, `executed` or `failed`.
    """

    action: str
    reason: str
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    proposal_id: int = 0
    status: str = APPROVAL_REQUIRED


def proposals_for(incident: Incident, causes: Sequence[Cause]) -> tuple[Proposal, ...]:
    """The actions that the findings and the likeliest causes call for; mostly none.

    Args:
        incident: What was found.
        causes: Ranked changes before it.
    """
    found: list[Proposal] = []
    for subject, item in sorted(incident.affected.items()):
        kind, _, name = subject.partition(":")
        if SignalKind.LIVENESS in item.kinds and kind in {"service", "sensor", "schedule"}:
            action = "restart_service" if kind == "service" else f"start_{kind}"
            found.append(Proposal(action, item.summary, {kind: name}))
        if SignalKind.DEAD_LETTERS in item.kinds and kind == "topic":
            reason = f"{item.summary}; replay after the contract or the source was repaired"
            found.append(Proposal("replay_dead_letters", reason, {"topic": name}))
    for cause in causes:
        change = cause.change
        if change.kind == "promotion":
            model = {"model": change.subject, "tenant": incident.tenant_id}
            found.append(Proposal("roll_back_model", change.summary, model))
        if change.kind == "index_build":
            found.append(Proposal("roll_back_index", change.summary))
    return tuple({(item.action, tuple(item.parameters.items())): item for item in found}.values())


def keep_proposals(connection: store.Connection, item: Incident, proposals: Sequence[Proposal]) -> None:
    """Write proposals; one that was made before is left as it is, decision included."""
    for proposal in proposals:
        _check_allowed(proposal.action)
        connection.execute(
            """
            insert into ops.action_proposals (tenant_id, fingerprint, action, parameters, reason)
            values (%s, %s, %s, %s, %s) on conflict do nothing
            """,
            (
                item.tenant_id,
                item.fingerprint,
                proposal.action,
                json.dumps(dict(proposal.parameters), sort_keys=True),
                proposal.reason,
            ),
        )


def proposals_of(connection: store.Connection, item: Incident) -> list[Proposal]:
    """Proposals of an incident with their state."""
    rows = connection.execute(
        """
        select action, reason, parameters, proposal_id, status from ops.action_proposals
        where tenant_id = %s and fingerprint = %s order by proposal_id
        """,
        (item.tenant_id, item.fingerprint),
    ).fetchall()
    return [Proposal(*row) for row in rows]


def rehearse(
    connection: store.Connection,
    item: Incident,
    proposal_id: int,
    executors: Mapping[str, Executor],
    by: str,
    at: datetime,
) -> str:
    """Say what an action would do, and keep that beside the proposal.

    Raises:
        NotAllowedError: There is no such proposal, or this process can't do it.
    """
    proposal = _proposal(connection, item, proposal_id)
    said = _executor(proposal.action, executors).dry_run(proposal.parameters)
    connection.execute(
        "update ops.action_proposals set dry_run = %s where proposal_id = %s", (said, proposal_id)
    )
    _audit(connection, item, proposal, "dry_run", by, at, said)
    return said


def reject(connection: store.Connection, item: Incident, proposal_id: int, by: str, at: datetime) -> None:
    """Decide against an action.

    Raises:
        NotAllowedError: It was decided before.
    """
    proposal = _proposal(connection, item, proposal_id)
    _decide(connection, proposal, "rejected", by, at)
    _audit(connection, item, proposal, "rejected", by, at, "")


def approve_and_run(
    connection: store.Connection,
    item: Incident,
    proposal_id: int,
    executors: Mapping[str, Executor],
    by: str,
    at: datetime,
) -> str:
    """Approve an action and do it, once.

    The approval is committed before the action begins, so that a crash leaves an approved action behind that
    is never done twice.

    Args:
        connection: A connection without an open transaction.
        item: The incident.
        proposal_id: The proposal.
        executors: What this process can do, by action.
        by: Who approves; kept.
        at: When.

    Returns:
        What was done.

    Raises:
        NotAllowedError: It is not on the list, was decided before, or this process can't do it.
        RuntimeError: The action failed; the proposal says so.
    """
    proposal = _proposal(connection, item, proposal_id)
    executor = _executor(proposal.action, executors)
    _decide(connection, proposal, "approved", by, at)
    _audit(connection, item, proposal, "approved", by, at, "")
    connection.commit()
    try:
        outcome = executor.run(proposal.parameters)
    except Exception as error:
        _finish(connection, item, proposal, "failed", by, at, f"{type(error).__name__}: {error}")
        connection.commit()
        raise RuntimeError(
            f"{proposal.action} failed: {error}. Nothing was repeated; the incident's timeline has it"
        ) from error
    _finish(connection, item, proposal, "executed", by, at, outcome)
    connection.commit()
    return outcome


def _proposal(connection: store.Connection, item: Incident, proposal_id: int) -> Proposal:
    for proposal in proposals_of(connection, item):
        if proposal.proposal_id == proposal_id:
            _check_allowed(proposal.action)
            return proposal
    raise NotAllowedError(f"incident {item.fingerprint[:8]} has no proposal {proposal_id}")


def _decide(connection: store.Connection, proposal: Proposal, status: str, by: str, at: datetime) -> None:
    done = connection.execute(
        """
        update ops.action_proposals set status = %s, decided_by = %s, decided_at = %s
        where proposal_id = %s and status = 'approval_required'
        """,
        (status, by, at, proposal.proposal_id),
    )
    if done.rowcount != 1:
        raise NotAllowedError(f"proposal {proposal.proposal_id} was decided before: {proposal.status}")


def _finish(
    connection: store.Connection,
    item: Incident,
    proposal: Proposal,
    status: str,
    by: str,
    at: datetime,
    outcome: str,
) -> None:
    connection.execute(
        "update ops.action_proposals set status = %s, executed_at = %s, outcome = %s where proposal_id = %s",
        (status, at, outcome, proposal.proposal_id),
    )
    _audit(connection, item, proposal, status, by, at, outcome)


def _audit(
    connection: store.Connection,
    item: Incident,
    proposal: Proposal,
    step: str,
    by: str,
    at: datetime,
    outcome: str,
) -> None:
    detail: dict[str, Any] = {
        "action": proposal.action,
        "parameters": dict(proposal.parameters),
        "proposal_id": proposal.proposal_id,
        "outcome": outcome,
    }
    store.record_event(connection, item, f"action_{step}", at, actor=by, detail=detail)


def _check_allowed(action: str) -> None:
    if action not in ALLOWED:
        raise NotAllowedError(f"{action!r} is not an allowed action; allowed are {', '.join(ALLOWED)}")


def _executor(action: str, executors: Mapping[str, Executor]) -> Executor:
    if action not in executors:
        raise NotAllowedError(
            f"this process has no means for {action}; run it by hand and resolve the incident"
        )
    return executors[action]
