"""A signal: one detector's word that something is wrong with one subject at one time.

Detectors of logs, telemetry, drift and landing write signals; incidents group them. Add a kind here when a
new detector joins. Avoid grouping and severity: they belong to the incidents.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg


class SignalKind(StrEnum):
    """What a detector looks at."""

    LOG_RULE = "log_rule"
    LOG_ERRORS = "log_errors"
    LOG_LATENCY = "log_latency"
    LOG_STATEMENTS = "log_statements"
    LOG_TEMPLATES = "log_templates"
    LOG_SECURITY = "log_security"
    LOG_SILENCE = "log_silence"
    RESOURCE = "resource"
    TELEMETRY = "telemetry"
    DRIFT = "drift"
    LANDING = "landing"
    DEAD_LETTERS = "dead_letters"
    LIVENESS = "liveness"


@dataclass(frozen=True)
class Signal:
    """One finding of one detector.

    Attributes:
        tenant_id: Owner of the subject.
        kind: Which detector spoke.
        subject: Service, machine, topic or job that it speaks of.
        observed_at: Event time of the finding: the end of the window that shows it.
        known_at: When it could first be known: the close of the window.
        score: -log10 of the tail probability under quiet operation, so that one threshold means one
            false-alarm rate whatever the kind.
        summary: One sentence for a person.
        operations: Operations or traces' entry points that the finding touches, for grouping by topology.
        evidence: Numbers and sample lines behind it (JSON).
    """

    tenant_id: str
    kind: SignalKind
    subject: str
    observed_at: datetime
    known_at: datetime
    score: float
    summary: str
    operations: tuple[str, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])


def write_signals(connection: psycopg.Connection[Any], signals: Iterable[Signal]) -> None:
    """Write signals; the same finding written again changes nothing.

    Args:
        connection: The caller's transaction, so that signals and the position they stem from move together.
        signals: Findings; (tenant, kind, subject, observed_at) is their identity.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into ops.signals (
                tenant_id, kind, subject, observed_at, known_at, score, summary, operations, evidence
            ) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            on conflict (tenant_id, kind, subject, observed_at) do nothing
            """,
            [
                (
                    s.tenant_id, s.kind.value, s.subject, s.observed_at, s.known_at, s.score, s.summary,
                    list(s.operations), json.dumps(s.evidence, default=str),
                )
                for s in signals
            ],
        )  # fmt: skip
