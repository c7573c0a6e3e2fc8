"""One alert: an incident at one revision, as every channel gets it.

Add a field here when receivers of all kinds should see it. Avoid the forms of channels: `formats` has them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestration.ingest.incidents.actions import Proposal
from orchestration.ingest.incidents.causes import Cause
from orchestration.ingest.incidents.impact import Suspect
from orchestration.ingest.incidents.model import Incident, IncidentState, Severity
from orchestration.ingest.incidents.remediation import Plan

TITLE_CHARACTERS = 200
STATUS = {IncidentState.MERGED: "resolved"}
"""Receivers know three states; an incident that was merged is over for them."""


@dataclass(frozen=True)
class Alert:
    """What is sent.

    Attributes:
        tenant_id: Owner.
        fingerprint: Identity of the incident; receivers de-duplicate by it.
        revision: Counts the alerts of the incident.
        status: `open`, `acknowledged` or `resolved`.
        severity: From impact.
        title: One line for a pager.
        subject: First suspect.
        started_at: Start of the evidence.
        detected_at: When it was known.
        ended_at: When it ended; None while it is open.
        body: Suspects, causes, steps, commands, proposals: JSON values.
    """

    tenant_id: str
    fingerprint: str
    revision: int
    status: str
    severity: Severity
    title: str
    subject: str
    started_at: datetime
    detected_at: datetime
    ended_at: datetime | None
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def as_json(self) -> dict[str, Any]:
        """The alert as it is stored and sent to webhooks."""
        return {
            "tenant_id": self.tenant_id,
            "fingerprint": self.fingerprint,
            "revision": self.revision,
            "status": self.status,
            "severity": self.severity.value,
            "title": self.title,
            "subject": self.subject,
            "started_at": self.started_at.isoformat(),
            "detected_at": self.detected_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "body": self.body,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Alert":
        """The alert out of its stored form."""
        ended = value["ended_at"]
        return cls(
            tenant_id=value["tenant_id"],
            fingerprint=value["fingerprint"],
            revision=value["revision"],
            status=value["status"],
            severity=Severity(value["severity"]),
            title=value["title"],
            subject=value["subject"],
            started_at=datetime.fromisoformat(value["started_at"]),
            detected_at=datetime.fromisoformat(value["detected_at"]),
            ended_at=datetime.fromisoformat(ended) if ended else None,
            body=value["body"],
        )

    def record(self) -> dict[str, Any]:
        """The alert as a record of the contract `processed_alerts`."""
        return {
            "tenant_id": self.tenant_id,
            "fingerprint": self.fingerprint,
            "revision": self.revision,
            "event_at": self.started_at,
            "status": self.status,
            "severity": self.severity.value,
            "title": self.title,
            "source": self.subject,
            "body": json.dumps(self.body, ensure_ascii=False, default=str),
        }


def alert_of(
    item: Incident,
    suspects: Sequence[Suspect],
    causes: Sequence[Cause],
    plan: Plan | Mapping[str, Any] | None,
    proposals: Sequence[Proposal],
) -> Alert:
    """Put an incident and what is known about it into one alert."""
    body: dict[str, Any] = {
        "incident": item.fingerprint[:8],
        "family": item.family.value,
        "subjects": sorted(item.affected),
        "signals": item.signals,
        "reopened": item.reopened,
        "acknowledged_by": item.acknowledged_by,
        "merged_into": item.merged_into,
        "suspects": [{"subject": one.subject, "reasons": list(one.reasons)} for one in suspects[:5]],
        "causes": [
            {
                "kind": one.change.kind,
                "summary": one.change.summary,
                "happened_at": one.change.happened_at.isoformat(),
                "likelihood": one.likelihood,
                "reasons": list(one.reasons),
                "reference": one.change.reference,
            }
            for one in causes
        ],
        "plan": plan.as_json() if isinstance(plan, Plan) else plan,
        "proposals": [
            {
                "proposal_id": one.proposal_id,
                "action": one.action,
                "parameters": dict(one.parameters),
                "reason": one.reason,
                "status": one.status.upper(),
            }
            for one in proposals
        ],
    }
    return Alert(
        tenant_id=item.tenant_id,
        fingerprint=item.fingerprint,
        revision=item.revision,
        status=STATUS.get(item.state, item.state.value),
        severity=item.severity,
        title=title_of(item),
        subject=item.subject,
        started_at=item.started_at,
        detected_at=item.detected_at,
        ended_at=item.resolved_at,
        body=body,
    )


def title_of(item: Incident) -> str:
    """One line: the first suspect, what was found there, and how many others are affected."""
    others = len(item.affected) - 1
    wide = f" (and {others} more)" if others else ""
    found = " ".join(item.affected[item.subject].summary.split())
    start = "" if found.startswith(item.subject) else f"{item.subject}: "
    room = TITLE_CHARACTERS - len(start) - len(wide)
    return f"{start}{found if len(found) <= room else found[: room - 1] + '…'}{wide}"
