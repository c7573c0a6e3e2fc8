"""Tables of signals, incidents, alerts and what people decide about them."""

from alembic import op

revision = "0009"
down_revision = "0008"

UPGRADE = """
-- Findings of every detector; incidents group them.
create table ops.signals (
    signal_id bigint generated always as identity primary key,
    tenant_id text not null,
    kind text not null,
    subject text not null,
    observed_at timestamptz not null,
    known_at timestamptz not null,
    score double precision not null,
    summary text not null,
    operations text[] not null default '{}',
    evidence jsonb not null default '{}',
    written_at timestamptz not null default clock_timestamp(),
    fingerprint text, -- of the incident that it belongs to; null until it was grouped
    unique (tenant_id, kind, subject, observed_at)
);
create index signals_by_time on ops.signals (tenant_id, observed_at);
create index signals_by_incident on ops.signals (tenant_id, fingerprint);
create index signals_to_group on ops.signals (known_at, signal_id) where fingerprint is null;

-- The incident service waits for this instead of asking again and again.
create function ops.announce_signals() returns trigger language plpgsql as $$
begin
    perform pg_notify('opsgraph_signals', '');
    return null;
end $$;
create trigger announce_signals after insert on ops.signals
for each statement execute function ops.announce_signals();

create table ops.incidents (
    tenant_id text not null,
    fingerprint text not null,
    cause_key text not null,
    family text not null,
    state text not null check (state in ('open', 'acknowledged', 'resolved', 'merged')),
    severity text not null check (severity in ('info', 'warning', 'critical')),
    subject text not null,
    started_at timestamptz not null,
    detected_at timestamptz not null,
    last_at timestamptz not null,
    acknowledged_at timestamptz,
    acknowledged_by text,
    resolved_at timestamptz,
    merged_into text,
    silenced_by text,
    reopened integer not null default 0,
    revision integer not null default 0,
    alerted_revision integer not null default -1, -- lower than revision: an alert is due
    affected jsonb not null,
    operations text[] not null default '{}',
    suspects jsonb not null default '[]',
    causes jsonb not null default '[]',
    plan jsonb,
    primary key (tenant_id, fingerprint)
);
create index incidents_by_time on ops.incidents (tenant_id, started_at);
create index incidents_active on ops.incidents (tenant_id) where state in ('open', 'acknowledged');

-- The timeline of each incident: what opsgraph did and what people decided. Rows are never changed.
create table ops.incident_events (
    event_id bigint generated always as identity primary key,
    tenant_id text not null,
    fingerprint text not null,
    step text not null,
    at timestamptz not null,
    actor text not null default 'opsgraph',
    detail jsonb not null default '{}',
    recorded_at timestamptz not null default clock_timestamp(),
    foreign key (tenant_id, fingerprint) references ops.incidents (tenant_id, fingerprint)
);
create index incident_events_by_incident on ops.incident_events (tenant_id, fingerprint, event_id);

-- Maintenance windows of services; those of machines stand in ops.incident_calendar.
create table ops.silences (
    silence_id bigint generated always as identity primary key,
    tenant_id text not null,
    subject_pattern text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null check (ends_at > starts_at),
    reason text not null,
    created_by text not null,
    created_at timestamptz not null default now()
);

create table ops.incident_feedback (
    feedback_id bigint generated always as identity primary key,
    tenant_id text not null,
    fingerprint text not null,
    is_real boolean not null,
    was_fix_right boolean,
    note text,
    given_by text not null,
    given_at timestamptz not null default now(),
    foreign key (tenant_id, fingerprint) references ops.incidents (tenant_id, fingerprint)
);

-- Actions are proposals until a person approves them; the outcome of dry run and run is kept.
create table ops.action_proposals (
    proposal_id bigint generated always as identity primary key,
    tenant_id text not null,
    fingerprint text not null,
    action text not null,
    parameters jsonb not null default '{}',
    reason text not null,
    status text not null default 'approval_required' check (
        status in ('approval_required', 'approved', 'rejected', 'executed', 'failed')
    ),
    proposed_at timestamptz not null default now(),
    decided_at timestamptz,
    decided_by text,
    dry_run text,
    executed_at timestamptz,
    outcome text,
    unique (tenant_id, fingerprint, action, parameters),
    foreign key (tenant_id, fingerprint) references ops.incidents (tenant_id, fingerprint)
);

-- One alert per revision of an incident that is worth a page, with how long each stage took.
create table ops.alerts (
    tenant_id text not null,
    fingerprint text not null,
    revision integer not null,
    step text not null,
    payload jsonb not null,
    stage_latencies_ms jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, fingerprint, revision),
    foreign key (tenant_id, fingerprint) references ops.incidents (tenant_id, fingerprint)
);

-- What each channel still has to be told; a row leaves 'pending' only when the receiver took it.
create table ops.deliveries (
    delivery_id bigint generated always as identity primary key,
    channel text not null,
    tenant_id text not null,
    fingerprint text not null,
    revision integer not null,
    state text not null default 'pending' check (state in ('pending', 'sent', 'refused', 'superseded')),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default clock_timestamp(),
    last_error text,
    sent_at timestamptz,
    unique (channel, tenant_id, fingerprint, revision),
    foreign key (tenant_id, fingerprint, revision) references ops.alerts (tenant_id, fingerprint, revision)
);
create index deliveries_pending on ops.deliveries (channel, next_attempt_at) where state = 'pending';

-- Signs of life of services, sensors and schedules.
create table ops.heartbeats (
    component text primary key,
    beat_at timestamptz not null,
    interval_s double precision not null check (interval_s > 0),
    detail jsonb not null default '{}'
);

-- What changed, told by people, deployments and opsgraph itself: candidates for causes.
create table ops.changes (
    change_id bigint generated always as identity primary key,
    tenant_id text not null,
    kind text not null,
    subject text not null,
    happened_at timestamptz not null,
    summary text not null,
    source text not null,
    unique (tenant_id, kind, subject, happened_at)
);

-- Who calls whom, from traces; grouping follows these edges.
create table ops.service_calls (
    tenant_id text not null,
    caller text not null,
    callee text not null,
    last_seen_at timestamptz not null,
    primary key (tenant_id, caller, callee)
);

-- How far findings of other tables have become signals.
create table ops.signal_sources (
    source text primary key,
    position text not null
);
"""

DOWNGRADE = """
drop table ops.signal_sources, ops.service_calls, ops.changes, ops.heartbeats, ops.deliveries, ops.alerts,
    ops.action_proposals, ops.incident_feedback, ops.silences, ops.incident_events,
    ops.incidents, ops.signals;
drop function ops.announce_signals;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
