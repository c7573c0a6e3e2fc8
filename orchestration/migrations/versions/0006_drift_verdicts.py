"""Drift verdicts with their evidence and grades, sensor grades, and sensors in quarantine."""

from alembic import op

revision = "0006"
down_revision = "0005"

UPGRADE = """
-- One row per decision; decided_at is plant time, recorded_at the database's own clock.
create table ml.drift_verdicts (
    verdict_id bigint generated always as identity primary key,
    tenant_id text not null,
    equipment_id text,
    metric text,
    model_name text,
    verdict text not null check (
        verdict in ('SENSOR_FAULT', 'OPERATING_MODE', 'BENIGN', 'CONCEPT', 'NOT_ENOUGH_LABELS')
    ),
    decided_at timestamptz not null,
    window_from timestamptz not null,
    window_to timestamptz not null check (window_to > window_from),
    evidence jsonb not null,
    evidence_digest text not null,
    action text not null,
    graded_as text check (graded_as in ('RIGHT', 'WRONG', 'UNDECIDED')),
    graded_at timestamptz,
    recorded_at timestamptz not null default now(),
    run_id text,
    unique (tenant_id, evidence_digest)
);
create index drift_verdicts_by_time on ml.drift_verdicts (tenant_id, decided_at);
create index drift_verdicts_ungraded on ml.drift_verdicts (tenant_id, window_to) where graded_at is null;

create table ml.sensor_grades (
    tenant_id text not null,
    equipment_id text not null,
    metric text not null,
    as_of timestamptz not null,
    grade text not null check (grade in ('GOOD', 'DEGRADED', 'BAD', 'ABSENT')),
    usable boolean not null,
    problems jsonb not null,
    primary key (tenant_id, equipment_id, metric, as_of)
);

-- Readings of [from_at, to_at) of one sensor that neither training nor scoring reads; open-ended until
-- the sensor is seen to be sound again.
create table ml.sensor_quarantines (
    quarantine_id bigint generated always as identity primary key,
    tenant_id text not null,
    equipment_id text not null,
    metric text not null,
    from_at timestamptz not null,
    to_at timestamptz check (to_at > from_at),
    known_at timestamptz not null,
    reason text not null,
    verdict_id bigint references ml.drift_verdicts (verdict_id),
    unique (tenant_id, equipment_id, metric, from_at)
);

-- The reference period that a machine's readings are compared with starts here after a mode change.
create table ml.drift_references (
    tenant_id text not null,
    equipment_id text not null,
    from_at timestamptz not null,
    known_at timestamptz not null,
    verdict_id bigint references ml.drift_verdicts (verdict_id),
    primary key (tenant_id, equipment_id, from_at)
);
"""

DOWNGRADE = """
drop table ml.drift_references;
drop table ml.sensor_quarantines;
drop table ml.sensor_grades;
drop table ml.drift_verdicts;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
