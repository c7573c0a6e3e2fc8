"""Tables of log windows."""

from alembic import op

revision = "0008"
down_revision = "0007"

UPGRADE = ""

DOWNGRADE = ""


def upgrade() -> None:
    if UPGRADE:
        op.execute(UPGRADE)


def downgrade() -> None:
    if DOWNGRADE:
        op.execute(DOWNGRADE)
