"""Tables of log windows."""

from alembic import op

revision = "0008"
down_revision = "0007"

UPGRADE = """
-- One row per source and minute; source '' is all sources together. Aggregates add up, so a late line is
-- folded in by adding it, which raises the revision of a closed window.
create table logs.windows (
    tenant_id text not null,
    source text not null,
    starts_at timestamptz not null,
    lines bigint not null,
    errors bigint not null,
    anomalies bigint not null,
    responses bigint not null,
    response_sum_ms double precision not null,
    response_bins bigint[],
    late_lines bigint not null default 0,
    revision integer not null default 0,
    closed_at timestamptz,
    mean_response_ms double precision generated always as (
        case when responses > 0 then response_sum_ms / responses end
    ) stored,
    p95_response_ms double precision,
    is_spike boolean not null default false,
    primary key (tenant_id, starts_at, source)
);
create index windows_open on logs.windows (tenant_id, starts_at) where closed_at is null;

create table logs.templates (
    tenant_id text not null,
    template_id text not null,
    template text not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    lines bigint not null default 0,
    sample_parameters jsonb not null default '[]',
    primary key (tenant_id, template_id)
);

create table logs.window_templates (
    tenant_id text not null,
    starts_at timestamptz not null,
    source text not null,
    statement text not null,
    lines bigint not null,
    primary key (tenant_id, starts_at, source, statement)
);

-- Lines of windows that are still open, for detection at their close (Arrow IPC).
create table logs.open_lines (
    tenant_id text not null,
    starts_at timestamptz not null,
    chunk_id bigint generated always as identity,
    lines bytea not null,
    primary key (tenant_id, starts_at, chunk_id)
);

create table logs.refused_lines (
    topic_id uuid not null,
    kafka_partition integer not null,
    kafka_offset bigint not null,
    reason text not null,
    payload bytea not null,
    refused_at timestamptz not null default now(),
    primary key (topic_id, kafka_partition, kafka_offset)
);

-- Memory of the detector, replaced whenever a window closes; form_version says which code can read it.
create table logs.detector_state (
    tenant_id text primary key,
    form_version integer not null,
    templates_version text not null,
    judged_until timestamptz not null,
    state bytea not null,
    saved_at timestamptz not null default now()
);

-- What each closed window looked like: for people, and for the checks in Dagster.
create table logs.verdicts (
    tenant_id text not null,
    starts_at timestamptz not null,
    is_alert boolean not null,
    is_warm boolean not null,
    top_source text,
    top_score double precision,
    is_spike boolean not null,
    judged_at timestamptz not null default now(),
    primary key (tenant_id, starts_at)
);

create table logs.service_state (
    topic_id uuid not null,
    kafka_partition integer not null,
    newest_event_at timestamptz not null,
    primary key (topic_id, kafka_partition)
);

create function logs.add_bins(a bigint[], b bigint[]) returns bigint[] language sql immutable as $$
    select case when a is null then b when b is null then a else (
        select array_agg(coalesce(x, 0) + coalesce(y, 0) order by i)
        from unnest(a, b) with ordinality as both_bins (x, y, i)
    ) end
$$;
"""

DOWNGRADE = """
drop function logs.add_bins(bigint[], bigint[]);
drop table logs.service_state, logs.verdicts, logs.detector_state, logs.refused_lines, logs.open_lines,
    logs.window_templates, logs.templates, logs.windows;
"""


def upgrade() -> None:
    if UPGRADE:
        op.execute(UPGRADE)


def downgrade() -> None:
    if DOWNGRADE:
        op.execute(DOWNGRADE)
