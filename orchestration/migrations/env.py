"""Alembic's entry point: runs the chain over one connection, in one transaction."""

from alembic import context
from sqlalchemy import create_engine, pool

url = context.config.attributes["database_url"]
engine = create_engine(url, poolclass=pool.NullPool)
with engine.connect() as connection:
    # Two processes of the stack may start at once; the second waits here and finds nothing to do.
    connection.exec_driver_sql("select pg_advisory_lock(73350001)")
    context.configure(connection=connection, version_table_schema="public")
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
