"""What each topic usually looks like: rows per hour, lateness, and when each key was last heard."""

from alembic import op

revision = "0012"
down_revision = "0011"

UPGRADE = """
-- Batches that the three tables below have counted.
create table ops.observed_batches (
    batch_id bigint primary key,
    topic text not null
);

create table ops.topic_hours (
    tenant_id text not null,
    topic text not null,
    hour_at timestamptz not null,
    row_count bigint not null,
    primary key (tenant_id, topic, hour_at)
);

-- Lateness (known minus event) in quarter octaves: bucket = floor(4 * log2(1 + seconds)).
create table ops.topic_lateness (
    tenant_id text not null,
    topic text not null,
    bucket smallint not null,
    row_count bigint not null,
    max_lateness_s double precision not null,
    primary key (tenant_id, topic, bucket)
);

create table ops.topic_keys (
    tenant_id text not null,
    topic text not null,
    message_key text not null,
    first_event_at timestamptz not null,
    last_event_at timestamptz not null,
    row_count bigint not null,
    primary key (tenant_id, topic, message_key)
);
"""

DOWNGRADE = """
drop table ops.topic_keys;
drop table ops.topic_lateness;
drop table ops.topic_hours;
drop table ops.observed_batches;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
