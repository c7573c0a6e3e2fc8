"""Rows that were landed again, days that left the hot store, outages of sinks, and quotas of tenants."""

from alembic import op

revision = "0014"
down_revision = "0012"

UPGRADE = """
-- A row that was landed again with other values stands beside its older version: the transfer that
-- brings it counts landed n and superseded -n, so that sums of landed are still rows of the raw table.
alter table ops.landing_ledger
    add column superseded bigint not null default 0 check (superseded <= 0),
    add column retired_at timestamptz,
    add column archived_at timestamptz,
    drop constraint offset_span_is_accounted_for,
    add constraint offset_span_is_accounted_for check (
        offset_hi - offset_lo = landed + dead_lettered + discarded + tombstones + absent + superseded
    );
create index landing_ledger_superseding on ops.landing_ledger (topic, batch_id) where superseded < 0;

create index dead_letters_batch on ops.dead_letters (batch_id);
create index dead_letters_replay_batch on ops.dead_letters (replay_batch_id)
    where replay_batch_id is not null;

alter table ops.landing_findings
    drop constraint landing_findings_kind_check,
    add constraint landing_findings_kind_check check (
        kind in ('lost_to_retention', 'restored_without_ledger')
    );

-- What each lander says of itself every few seconds.
create table ops.lander_states (
    lander text primary key,
    seen_at timestamptz not null default now(),
    state jsonb not null
);

-- When a lander could not write to a sink, and why. Nothing is lost meanwhile: positions do not move.
create table ops.sink_outages (
    outage_id bigint generated always as identity primary key,
    lander text not null,
    sink text not null check (sink in ('postgres', 'kafka', 'lake', 'disk')),
    reason text not null,
    opened_at timestamptz not null,
    closed_at timestamptz
);

-- Messages per second over which a tenant's messages wait in Kafka.
create table ops.tenant_quotas (
    tenant_id text primary key,
    messages_per_s double precision not null check (messages_per_s > 0),
    set_by text not null,
    set_at timestamptz not null default now()
);
"""

DOWNGRADE = """
drop table ops.tenant_quotas;
drop table ops.sink_outages;
drop table ops.lander_states;
delete from ops.landing_findings where kind = 'restored_without_ledger';
alter table ops.landing_findings
    drop constraint landing_findings_kind_check,
    add constraint landing_findings_kind_check check (kind in ('lost_to_retention'));
drop index ops.dead_letters_replay_batch;
drop index ops.dead_letters_batch;
drop index ops.landing_ledger_superseding;
alter table ops.landing_ledger
    drop constraint offset_span_is_accounted_for,
    drop column superseded,
    drop column retired_at,
    drop column archived_at,
    add constraint offset_span_is_accounted_for check (
        offset_hi - offset_lo = landed + dead_lettered + discarded + tombstones + absent
    ) not valid;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
