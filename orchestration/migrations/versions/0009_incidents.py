"""Tables of incidents."""

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
    unique (tenant_id, kind, subject, observed_at)
);
create index signals_by_time on ops.signals (tenant_id, observed_at);
"""

DOWNGRADE = """
drop table ops.signals;
"""


def upgrade() -> None:
    if UPGRADE:
        op.execute(UPGRADE)


def downgrade() -> None:
    if DOWNGRADE:
        op.execute(DOWNGRADE)
