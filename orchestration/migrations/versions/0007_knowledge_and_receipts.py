"""Tables of knowledge and receipts."""

from alembic import op

revision = "0007"
down_revision = "0006"

UPGRADE = ""

DOWNGRADE = ""


def upgrade() -> None:
    if UPGRADE:
        op.execute(UPGRADE)


def downgrade() -> None:
    if DOWNGRADE:
        op.execute(DOWNGRADE)
