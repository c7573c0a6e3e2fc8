"""Erasures, legal holds and retention of what landing keeps."""

from alembic import op

revision = "0011"
down_revision = "0010"

UPGRADE = """
-- Who was erased, when, by whom, and what the search afterwards found. The subject is named by token only.
create table ops.erasures (
    erasure_id bigint generated always as identity primary key,
    tenant_id text not null,
    subject_token text not null,
    requested_by text not null,
    reason text not null,
    erased_at timestamptz not null default now(),
    proof jsonb not null
);

alter table ops.dead_letters
    add column erased_at timestamptz,
    add column expired_at timestamptz;

-- What must not be deleted, whatever its age.
create table ops.legal_holds (
    hold_id bigint generated always as identity primary key,
    tenant_id text,
    reason text not null,
    placed_by text not null,
    placed_at timestamptz not null default now(),
    released_at timestamptz
);
"""

DOWNGRADE = """
drop table ops.legal_holds;
alter table ops.dead_letters drop column expired_at, drop column erased_at;
drop table ops.erasures;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
