"""Tables of anomalies and forecasts."""

from alembic import op

revision = "0005"
down_revision = "0004"

UPGRADE = ""

DOWNGRADE = ""


def upgrade() -> None:
    if UPGRADE:
        op.execute(UPGRADE)


def downgrade() -> None:
    if DOWNGRADE:
        op.execute(DOWNGRADE)
