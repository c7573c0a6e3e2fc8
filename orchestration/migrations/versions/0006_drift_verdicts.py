"""Tables of drift verdicts."""

from alembic import op

revision = "0006"
down_revision = "0005"

UPGRADE = ""

DOWNGRADE = ""


def upgrade() -> None:
    if UPGRADE:
        op.execute(UPGRADE)


def downgrade() -> None:
    if DOWNGRADE:
        op.execute(DOWNGRADE)
