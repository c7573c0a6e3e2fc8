"""Tables of knowledge and receipts."""

from alembic import op

revision = "0007"
down_revision = "0006"

UPGRADE = """
-- What a build was made from, and which documents it holds as which chunks: the next build writes only
-- what differs.
alter table rag.index_builds
    add column point_format text not null default '',
    add column base_build_id text,
    add column written_count integer;

create table rag.build_documents (
    build_id text not null references rag.index_builds (build_id) on delete cascade,
    tenant_id text not null,
    document_id text not null,
    version text not null,
    fingerprint text not null,
    chunk_ids text[] not null,
    content_hashes text[] not null,
    primary key (build_id, tenant_id, document_id, version)
);

-- The champion among a tenant's rankers, copied from the registry: answering needs no MLflow.
create table rag.served_rankers (
    tenant_id text primary key,
    model_version text not null,
    ranker jsonb not null,
    served_from timestamptz not null default now()
);

-- Measures of a build's answers to golden questions, one row per build and measure.
create table rag.retrieval_measures (
    build_id text not null references rag.index_builds (build_id) on delete cascade,
    measure text not null,
    family text not null default '',
    value double precision not null,
    low double precision,
    high double precision,
    question_count integer not null,
    measured_at timestamptz not null default now(),
    primary key (build_id, measure, family)
);
"""

DOWNGRADE = """
drop table rag.retrieval_measures;
drop table rag.served_rankers;
drop table rag.build_documents;
alter table rag.index_builds drop column point_format, drop column base_build_id, drop column written_count;
"""


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
