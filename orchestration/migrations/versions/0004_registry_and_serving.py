"""Tables of registry and serving."""

from alembic import op

revision = "0004"
down_revision = "0003"

UPGRADE = """
-- A challenger may wait for a person, and a person may say no.
alter table ml.promotions drop constraint promotions_decision_check;
alter table ml.promotions add constraint promotions_decision_check
    check (decision in ('promoted', 'kept_champion', 'waiting', 'rejected', 'rolled_back'));
alter table ml.promotions
    add column mode text not null default 'MANAGED' check (mode in ('MANAGED', 'MANUAL')),
    add column evidence jsonb not null default '{}';
-- One version serves a tenant at a time; two writers can't both open a row.
create unique index promotions_one_serves on ml.promotions (tenant_id, model_name)
    where served_from is not null and served_to is null;
"""

DOWNGRADE = """
drop index ml.promotions_one_serves;
delete from ml.promotions where decision in ('waiting', 'rejected');
alter table ml.promotions drop column mode, drop column evidence;
alter table ml.promotions drop constraint promotions_decision_check;
alter table ml.promotions add constraint promotions_decision_check
    check (decision in ('promoted', 'kept_champion', 'rolled_back'));
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
