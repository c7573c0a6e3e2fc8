"""What landing found lost, and transfers in the ledger (dead letters that were landed later)."""

from alembic import op

revision = "0002"
down_revision = "contract_0001_bb281c78d1"

UPGRADE = """
-- Ranges that can't be landed any more, for example because retention deleted them first.
create table ops.landing_findings (
    finding_id bigint generated always as identity primary key,
    batch_id bigint not null,
    topic text not null,
    topic_id uuid not null,
    kafka_partition integer not null,
    offset_lo bigint not null,
    offset_hi bigint not null,
    kind text not null check (kind in ('lost_to_retention')),
    message text not null,
    found_at timestamptz not null default now()
);

-- A ledger row of span 0 is a transfer: a replay lands n dead letters (landed n, dead_lettered -n).
-- Its offsets name the first of them, which may also be where a batch begins.
alter table ops.landing_ledger drop constraint landing_ledger_topic_id_kafka_partition_offset_lo_key;
create unique index landing_ledger_range on ops.landing_ledger (topic_id, kafka_partition, offset_lo)
where offset_hi > offset_lo;
create index landing_ledger_transfers on ops.landing_ledger (topic_id, batch_id)
where offset_hi = offset_lo;
create index dead_letters_open on ops.dead_letters (topic, dead_letter_id) where replayed_at is null;
"""

DOWNGRADE = """
drop index ops.dead_letters_open;
drop index ops.landing_ledger_transfers;
drop index ops.landing_ledger_range;
alter table ops.landing_ledger add unique (topic_id, kafka_partition, offset_lo);
drop table ops.landing_findings;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
