"""Tables of anomalies, forecasts and quality predictions."""

from alembic import op

revision = "0005"
down_revision = "0004"

UPGRADE = """
-- Score of each machine-hour, 0 to 1, and whether it is beyond the machine's threshold (0.5).
create table ml.anomaly_scores (
    tenant_id text not null,
    equipment_id text not null,
    hour_at timestamptz not null,
    score double precision not null check (score between 0 and 1),
    is_anomalous boolean not null,
    model_version text not null,
    known_at timestamptz not null,
    primary key (tenant_id, equipment_id, hour_at)
);

create table ml.anomaly_events (
    tenant_id text not null,
    equipment_id text not null,
    metric_set text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    peak_at timestamptz not null,
    peak_score double precision not null check (peak_score between 0 and 1),
    contributing_sensors jsonb not null,
    summary text not null,
    model_version text not null,
    known_at timestamptz not null,
    primary key (tenant_id, equipment_id, metric_set, starts_at),
    check (starts_at <= peak_at and peak_at <= ends_at)
);

-- The forecast of each instant at which one was made; a later one does not replace it.
create table ml.forecasts (
    tenant_id text not null,
    subject_kind text not null check (subject_kind in ('equipment', 'plant')),
    subject_id text not null,
    metric text not null,
    as_of timestamptz not null,
    forecast_at timestamptz not null,
    value double precision not null,
    lower double precision not null,
    upper double precision not null,
    method text not null,
    model_version text not null,
    known_at timestamptz not null,
    primary key (tenant_id, subject_kind, subject_id, metric, as_of, forecast_at),
    check (lower <= value and value <= upper)
);

create table ml.forecast_violations (
    tenant_id text not null,
    subject_kind text not null check (subject_kind in ('equipment', 'plant')),
    subject_id text not null,
    metric text not null,
    as_of timestamptz not null,
    forecast_at timestamptz not null,
    predicted_value double precision not null,
    threshold double precision not null,
    severity text not null check (severity in ('Warning', 'Critical')),
    model_version text not null,
    known_at timestamptz not null,
    primary key (tenant_id, subject_kind, subject_id, metric, as_of, forecast_at)
);

create table ml.quality_predictions (
    tenant_id text not null,
    inspection_id text not null,
    equipment_id text not null,
    inspected_at timestamptz not null,
    quality_class text not null,
    predicted_class text not null,
    probabilities jsonb not null,
    model_version text not null,
    known_at timestamptz not null,
    primary key (tenant_id, inspection_id)
);
"""

DOWNGRADE = """
drop table ml.quality_predictions;
drop table ml.forecast_violations;
drop table ml.forecasts;
drop table ml.anomaly_events;
drop table ml.anomaly_scores;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
