"""Positions of the batch, push and pull sources, and the secrets that sign web requests."""

from alembic import op

revision = "0010"
down_revision = "0009"

UPGRADE = """
-- Files that were sent whole, by content: the same bytes under another name are not sent again.
create table ops.intake_files (
    source text not null,
    content_digest text not null,
    path text not null,
    topic text not null,
    sent bigint not null,
    refused bigint not null,
    reasons jsonb not null default '[]',
    taken_at timestamptz not null default now(),
    primary key (source, content_digest)
);

-- How far each pull source has come.
create table ops.intake_cursors (
    source text primary key,
    position jsonb not null,
    sent bigint not null default 0,
    refused bigint not null default 0,
    moved_at timestamptz not null default now()
);

-- Web requests by idempotency key: the second one gets the first one's answer.
create table ops.intake_requests (
    tenant_id text not null,
    idempotency_key text not null,
    body_digest text not null,
    response jsonb,
    begun_at timestamptz not null default now(),
    primary key (tenant_id, idempotency_key)
);

create table ops.webhook_secrets (
    tenant_id text primary key,
    secret bytea not null,
    created_at timestamptz not null default now()
);
"""

DOWNGRADE = """
drop table ops.webhook_secrets;
drop table ops.intake_requests;
drop table ops.intake_cursors;
drop table ops.intake_files;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
