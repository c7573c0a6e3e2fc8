"""How quickly incidents are seen and ended: MTTD, MTTR, and how far the stages of alerts take.

Add a measure of operation here. Avoid measures of grouping on drawn faults: `evaluation` has them.
"""

from dataclasses import dataclass

from orchestration.ingest.incidents.store import Connection

STAGES = (
    ("generation_to_kafka_ms", 10.0),
    ("kafka_to_consumer_ms", 50.0),
    ("window_ms", 60_000.0),
    ("window_close_to_signal_ms", None),
    ("grouping_ms", None),
    ("retrieval_ms", 500.0),
    ("signal_to_alert_ms", None),
)
"""Stages of an alert in order, with the mission's budget where it names one."""


@dataclass(frozen=True)
class OperationMeasures:
    """Figures of a tenant's incidents.

    Attributes:
        incidents: Incidents that were not merged.
        open_now: Of these, open or acknowledged.
        mttd_s: Mean seconds from first evidence to knowing; None without incidents.
        mttr_s: Mean seconds from knowing to the end; None while none has ended.
        reopened: Share that came back.
        confirmed: Share that people called real, of those they judged; None while nobody did.
        fixes_right: Share of fixes that people called right; None while nobody did.
    """

    incidents: int
    open_now: int
    mttd_s: float | None
    mttr_s: float | None
    reopened: float
    confirmed: float | None
    fixes_right: float | None


@dataclass(frozen=True)
class StageLatency:
    """One stage of alerts: milliseconds at the median and the 95th percentile."""

    stage: str
    p50_ms: float
    p95_ms: float
    budget_ms: float | None


def operation_measures(connection: Connection, tenant_id: str | None) -> OperationMeasures:
    """Measure a tenant's incidents; None measures all tenants'."""
    row = connection.execute(
        """
        select count(*), count(*) filter (where state in ('open', 'acknowledged')),
            avg(extract(epoch from detected_at - started_at))::float8,
            (avg(extract(epoch from resolved_at - detected_at)) filter (where state = 'resolved'))::float8,
            coalesce(avg((reopened > 0)::int), 0)::float8,
            (select avg(is_real::int)::float8 from ops.incident_feedback f
                where %(tenant)s::text is null or f.tenant_id = %(tenant)s),
            (select avg(was_fix_right::int)::float8 from ops.incident_feedback f
                where %(tenant)s::text is null or f.tenant_id = %(tenant)s)
        from ops.incidents
        where state <> 'merged' and (%(tenant)s::text is null or tenant_id = %(tenant)s)
        """,
        {"tenant": tenant_id},
    ).fetchone()
    assert row is not None
    return OperationMeasures(*row)


def stage_latencies(connection: Connection, tenant_id: str | None) -> list[StageLatency]:
    """What each stage of the alerts took, those that were measured at all."""
    found: list[StageLatency] = []
    for stage, budget in STAGES:
        row = connection.execute(
            """
            select percentile_cont(0.5) within group (order by (stage_latencies_ms ->> %(stage)s)::float8),
                percentile_cont(0.95) within group (order by (stage_latencies_ms ->> %(stage)s)::float8)
            from ops.alerts
            where stage_latencies_ms ? %(stage)s and (%(tenant)s::text is null or tenant_id = %(tenant)s)
            """,
            {"stage": stage, "tenant": tenant_id},
        ).fetchone()
        if row and row[0] is not None:
            found.append(StageLatency(stage, row[0], row[1], budget))
    return found
