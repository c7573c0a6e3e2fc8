"""Tables of registry and serving."""

from alembic import op

revision = "0004"
down_revision = "0003"

UPGRADE = ""

DOWNGRADE = ""


def upgrade() -> None:
    if UPGRADE:
        op.execute(UPGRADE)


def downgrade() -> None:
    if DOWNGRADE:
        op.execute(DOWNGRADE)
