"""Signals as detectors would write them, and runbooks as a search would find them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.delivery.alerting import AlertMaker
from orchestration.ingest.delivery.channels import Channel
from orchestration.ingest.incidents.remediation import Passage, SearchUnavailableError
from orchestration.ingest.signals import Signal, SignalKind, write_signals

TENANT = "demo-plant"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
RUNBOOK = """# Answers are slow

## Diagnosis

```sql
select 1
```

## Mitigation

1. Take load off first.
2. End the blocking query.

## Verification

p95 is back.
"""


def finding(
    subject: str,
    minute: float = 0.0,
    kind: SignalKind = SignalKind.LOG_LATENCY,
    score: float = 9.0,
    operations: Sequence[str] = (),
) -> Signal:
    """A finding of the window that ends at noon plus so many minutes."""
    end = NOON + timedelta(minutes=minute)
    return Signal(
        tenant_id=TENANT,
        kind=kind,
        subject=subject,
        observed_at=end,
        known_at=end,
        score=score,
        summary=f"{subject} answers slowly",
        operations=tuple(operations),
        evidence={
            "window_starts_at": (end - timedelta(minutes=1)).isoformat(),
            "sample_lines": ["GET /orders took 4,800 ms"],
        },
    )


def write(database_url: str, *signals: Signal) -> None:
    """Commit signals."""
    with psycopg.connect(database_url) as connection:
        write_signals(connection, signals)


def found_runbook(*_: object) -> list[Passage]:
    """A search that finds the one runbook."""
    return [Passage("latency", "1.0", "Answers are slow", "Mitigation", "Take load off", is_evidence=True)]


def found_nothing(*_: object) -> list[Passage]:
    """A search whose best document is about something else."""
    return [Passage("seal", "1.0", "Seal leakage", "Meaning", "A seal leaks", is_evidence=False)]


def search_is_down(*_: object) -> list[Passage]:
    """A search that does not answer."""
    raise SearchUnavailableError("the API does not answer")


def maker(search=found_runbook, channels: Sequence[Channel] = ()) -> AlertMaker:
    """Makes alerts with a given search."""
    contract = load_contracts()["processed_alerts"]
    return AlertMaker(search, lambda *_: RUNBOOK, contract, channels)
