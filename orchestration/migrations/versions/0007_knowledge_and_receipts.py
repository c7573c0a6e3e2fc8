"""Tables of knowledge and receipts."""

from alembic import op

revision = "0007"
down_revision = "0006"

UPGRADE = ""

DOWNGRADE = ""


# Copilot: evidence, keys, quotas, feedback, reports.
COPILOT = """
-- What an answer was written from, in a form that does not depend on builds or marts.
create table rag.answer_evidence (
    answer_id text primary key references rag.answers (answer_id) on delete cascade,
    tenant_id text not null,
    composer text not null,
    evidence_digest text not null,
    answer_digest text not null,
    evidence bytea not null,
    stored_at timestamptz not null default now()
);

-- Only the digest of a key is kept: the key itself is shown once.
create table rag.api_keys (
    key_id text primary key,
    tenant_id text not null,
    name text not null,
    key_digest bytea not null unique,
    requests_per_minute integer check (requests_per_minute > 0),
    requests_per_day integer check (requests_per_day > 0),
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

create table rag.api_usage (
    tenant_id text not null,
    key_id text not null,
    used_on date not null,
    request_count bigint not null,
    primary key (tenant_id, key_id, used_on)
);

create table rag.answer_feedback (
    feedback_id bigint generated always as identity primary key,
    answer_id text not null references rag.answers (answer_id) on delete cascade,
    tenant_id text not null,
    is_useful boolean not null,
    why text,
    relevant_documents text[] not null default '{}',
    given_at timestamptz not null default now()
);
create index answer_feedback_by_answer on rag.answer_feedback (tenant_id, answer_id);
create index answers_by_tenant on rag.answers (tenant_id, answered_at);
"""

COPILOT_DOWN = """
drop index rag.answers_by_tenant;
drop table rag.answer_feedback;
drop table rag.api_usage;
drop table rag.api_keys;
drop table rag.answer_evidence;
"""


def upgrade() -> None:
    if UPGRADE:
        op.execute(UPGRADE)
    op.execute(COPILOT)


def downgrade() -> None:
    op.execute(COPILOT_DOWN)
    if DOWNGRADE:
        op.execute(DOWNGRADE)
