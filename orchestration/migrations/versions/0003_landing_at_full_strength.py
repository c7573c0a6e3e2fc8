"""Tables of landing at full strength."""

from alembic import op

revision = "0003"
down_revision = "0002"

UPGRADE = ""

DOWNGRADE = ""


def upgrade() -> None:
    if UPGRADE:
        op.execute(UPGRADE)


def downgrade() -> None:
    if DOWNGRADE:
        op.execute(DOWNGRADE)
