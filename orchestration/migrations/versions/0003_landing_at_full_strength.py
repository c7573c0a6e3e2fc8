"""Tables of landing at full strength."""

from alembic import op

revision = "0003"
down_revision = "0002"

UPGRADE = """
-- When a check found the rows of this range in raw and lake; null where none has yet.
alter table ops.landing_ledger add column verified_at timestamptz;
create index landing_ledger_uncounted on ops.landing_ledger (topic, batch_id) where verified_at is null;
"""

DOWNGRADE = """
drop index ops.landing_ledger_uncounted;
alter table ops.landing_ledger drop column verified_at;
"""


def upgrade() -> None:
    if UPGRADE:
        op.execute(UPGRADE)


def downgrade() -> None:
    if DOWNGRADE:
        op.execute(DOWNGRADE)
