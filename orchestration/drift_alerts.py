"""One monitoring run over all tenants, with what must leave it: signals for incidents, the drift webhook.

Used by the Dagster asset and by `opsgraph drift check`. Avoid judging: `ml.drift.monitor` does that.
"""

from datetime import datetime
from typing import TYPE_CHECKING

import psycopg

from orchestration.environment import Environment
from orchestration.ingest.signals import Signal, SignalKind, write_signals

if TYPE_CHECKING:
    from ml.drift.ledger import LedgerRow
    from ml.drift.monitor import MonitorReport

# A verdict has no tail probability of its own; its rules hold false verdicts under 3 %.
_SCORE = 3.0


def monitor_and_alert(
    database_url: str, tenant: str | None = None, as_of: datetime | None = None, run_id: str | None = None
) -> "list[MonitorReport]":
    """Monitor one tenant or all, write a signal per new verdict that needs somebody, post the webhook.

    Raises:
        WebhookRequiredError: REQUIRE_WEBHOOK is true and DRIFT_WEBHOOK empty; nothing was judged.
    """
    from ml.datasets.warehouse import tenants
    from ml.drift.monitor import monitor_tenant
    from ml.drift.webhook import DriftWebhook

    settings = Environment()
    webhook = DriftWebhook.from_settings(settings.drift_webhook, settings.require_webhook)
    chosen = [tenant] if tenant else tenants(database_url)
    reports = [monitor_tenant(database_url, name, as_of, run_id) for name in chosen]
    rows = [row for report in reports for row in report.recorded]
    with psycopg.connect(database_url) as connection:
        write_signals(
            connection, [_signal(row) for row in rows if row.verdict in ("SENSOR_FAULT", "CONCEPT")]
        )
    for row in rows:
        webhook.send({"event": "drift", "tenant_id": row.tenant_id, **event_of(row)})
    return reports


def event_of(row: "LedgerRow") -> dict[str, object]:
    """A ledger row as plain values, for the webhook and `--json`."""
    return {
        "verdict_id": row.verdict_id,
        "verdict": row.verdict,
        "equipment_id": row.equipment_id,
        "metric": row.metric,
        "model_name": row.model_name,
        "decided_at": row.decided_at.isoformat(),
        "window_from": row.window_from.isoformat(),
        "window_to": row.window_to.isoformat(),
        "reason": row.evidence.get("reason", ""),
        "action": row.action,
        "evidence_digest": row.evidence_digest,
        "graded_as": row.graded_as,
    }


def _signal(row: "LedgerRow") -> Signal:
    subject = row.equipment_id or row.model_name or row.tenant_id
    return Signal(
        tenant_id=row.tenant_id,
        kind=SignalKind.DRIFT,
        subject=subject,
        observed_at=row.window_to,
        known_at=row.decided_at,
        score=_SCORE,
        summary=f"{row.verdict}: {row.evidence.get('reason', '')}",
        evidence={"verdict_id": row.verdict_id, "metric": row.metric, "action": row.action},
    )
