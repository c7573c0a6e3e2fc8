"""Schemas, and the tables of landing, models, knowledge and the copilot."""

from alembic import op

revision = "0001"
down_revision = None

LANDING = """
create sequence ops.batch_id;

-- One row per committed offset range [offset_lo, offset_hi); written in the transaction of its rows.
create table ops.landing_ledger (
    batch_id bigint primary key,
    topic text not null,
    topic_id uuid not null,
    kafka_partition integer not null,
    offset_lo bigint not null,
    offset_hi bigint not null,
    landed bigint not null,
    dead_lettered bigint not null default 0,
    discarded bigint not null default 0,
    tombstones bigint not null default 0,
    absent bigint not null default 0,
    discarded_values bigint not null default 0,
    landed_at timestamptz not null,
    run_id text,
    constraint offset_span_is_accounted_for check (
        offset_hi - offset_lo = landed + dead_lettered + discarded + tombstones + absent
    ),
    unique (topic_id, kafka_partition, offset_lo)
);

-- Positions of the lander (consumer 'landing') and of every other consumer, moved with their output.
create table ops.consumer_offsets (
    consumer text not null,
    topic text not null,
    topic_id uuid not null,
    kafka_partition integer not null,
    next_offset bigint not null,
    updated_at timestamptz not null default now(),
    primary key (consumer, topic_id, kafka_partition)
);

create table ops.dead_letters (
    dead_letter_id bigint generated always as identity primary key,
    batch_id bigint not null,
    topic text not null,
    topic_id uuid not null,
    kafka_partition integer not null,
    kafka_offset bigint not null,
    message_key bytea,
    payload bytea,
    headers jsonb not null default '[]',
    error_class text not null,
    error_message text not null,
    schema_id integer,
    landed_at timestamptz not null,
    replayed_at timestamptz,
    replay_batch_id bigint,
    unique (topic_id, kafka_partition, kafka_offset)
);

-- What must reach Kafka together with a database change leaves from here.
create table ops.outbox (
    outbox_id bigint generated always as identity primary key,
    topic text not null,
    message_key bytea,
    payload bytea,
    headers jsonb not null default '[]',
    created_at timestamptz not null default now(),
    sent_at timestamptz
);
create index outbox_unsent on ops.outbox (outbox_id) where sent_at is null;

-- Who may land: the holder until expires_at.
create table ops.leases (
    lease text primary key,
    holder text not null,
    acquired_at timestamptz not null default now(),
    expires_at timestamptz not null
);

-- Highest plausible event time per source partition; the plant clock reads it.
create table ops.event_watermarks (
    tenant_id text not null,
    topic text not null,
    topic_id uuid not null,
    kafka_partition integer not null,
    max_event_at timestamptz not null,
    primary key (tenant_id, topic_id, kafka_partition)
);
create view ops.plant_clock as
    select tenant_id, max(max_event_at) as plant_now_at from ops.event_watermarks group by tenant_id;

-- Periods that baselines, drift references, labels and forecasts leave out.
create table ops.incident_calendar (
    incident_id text primary key,
    tenant_id text not null,
    equipment_id text,
    kind text not null check (
        kind in ('maintenance', 'outage', 'anomaly', 'recall', 'sensor_fault', 'holiday')
    ),
    starts_at timestamptz not null,
    ends_at timestamptz not null check (ends_at > starts_at),
    known_at timestamptz not null,
    reason text not null,
    source text not null
);

-- How far a simulator or replay has produced.
create table ops.source_positions (
    source text primary key,
    produced_through_at timestamptz not null,
    detail jsonb not null default '{}',
    updated_at timestamptz not null default now()
);

-- Keyed tokens' originals, encrypted under one key per subject; erasure deletes the key.
create table ops.pii_keys (
    tenant_id text not null,
    subject_token text not null,
    encryption_key bytea not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, subject_token)
);
create table ops.pii_vault (
    tenant_id text not null,
    subject_token text not null,
    field text not null,
    ciphertext bytea not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, subject_token, field)
);
"""

MODELS = """
create table ml.failure_predictions (
    tenant_id text not null,
    equipment_id text not null,
    horizon_hours integer not null,
    as_of timestamptz not null,
    model_name text not null,
    model_version text not null,
    failure_probability double precision not null check (failure_probability between 0 and 1),
    is_alert boolean not null,
    risk_level text not null check (risk_level in ('Low', 'Medium', 'High', 'Critical')),
    recommended_action text not null,
    contributing_factors jsonb not null,
    source_vector jsonb not null,
    predicted_at timestamptz not null default now(),
    run_id text,
    primary key (tenant_id, equipment_id, horizon_hours, as_of, model_name, model_version)
);

-- Which version served when, who decided it and why.
create table ml.promotions (
    promotion_id bigint generated always as identity primary key,
    tenant_id text not null,
    model_name text not null,
    model_version text not null,
    decision text not null check (decision in ('promoted', 'kept_champion', 'rolled_back')),
    previous_version text,
    decided_by text not null,
    reason text not null,
    data_digest text not null,
    metrics jsonb not null,
    decided_at timestamptz not null default now(),
    served_from timestamptz,
    served_to timestamptz
);
"""

KNOWLEDGE = """
create table rag.documents (
    tenant_id text not null,
    document_id text not null,
    version text not null,
    title text not null,
    path text not null,
    md5 text not null,
    effective_on date,
    supersedes text,
    metadata jsonb not null default '{}',
    content text not null,
    indexed_at timestamptz not null default now(),
    primary key (tenant_id, document_id, version)
);

-- Embeddings by content hash and embedder: text that did not change is never embedded again.
create table rag.embeddings (
    content_hash text not null,
    embedder text not null,
    dimension integer not null,
    vector bytea not null,
    primary key (content_hash, embedder)
);

create table rag.index_builds (
    build_id text primary key,
    collection text not null,
    location text not null,
    embedder text not null,
    dimension integer not null,
    chunker text not null,
    corpus_digest text not null,
    document_count integer not null,
    chunk_count integer not null,
    embedded_count integer not null,
    status text not null check (status in ('building', 'verified', 'rejected', 'retired')),
    verification jsonb not null default '{}',
    started_at timestamptz not null default now(),
    finished_at timestamptz
);

-- The alias: one row per name, moved only to a verified build.
create table rag.index_aliases (
    alias text primary key,
    build_id text not null references rag.index_builds (build_id),
    previous_build_id text references rag.index_builds (build_id),
    moved_at timestamptz not null default now()
);

create table rag.questions (
    question_id text primary key,
    tenant_id text not null,
    question text not null,
    equipment_id text,
    asked_by text not null default 'demo',
    is_active boolean not null default true
);

-- Each answer with the versions of everything that it used.
create table rag.answers (
    answer_id text primary key,
    question_id text,
    tenant_id text not null,
    question text not null,
    status text not null check (status in ('answered', 'refused')),
    answer text not null,
    citations jsonb not null,
    evidence jsonb not null,
    receipt jsonb not null,
    latency_ms double precision not null,
    answered_at timestamptz not null default now()
);
"""


def upgrade() -> None:
    for schema in ("raw", "ops", "ml", "rag", "logs"):
        op.execute(f"create schema if not exists {schema}")
    for script in (LANDING, MODELS, KNOWLEDGE):
        op.execute(script)


def downgrade() -> None:
    for schema in ("logs", "rag", "ml", "ops", "raw"):
        op.execute(f"drop schema if exists {schema} cascade")
