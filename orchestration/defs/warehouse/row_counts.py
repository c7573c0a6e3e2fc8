"""Row counts of the models that a build made, as metadata that plots over time.

dagster-dbt can fetch them too, but loads dbt's adapter into the run's own process for it: 2 s of each
run. Staging is left out: its views are counted as raw tables by landing.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from psycopg import sql

from orchestration.resources.postgres import PostgresResource


def with_row_counts(
    events: Iterator[Any], context: dg.AssetExecutionContext, postgres: PostgresResource
) -> Iterator[Any]:
    """Pass the events of a dbt build on, with `dagster/row_count` on each model above staging.

    Args:
        events: What `DbtCliInvocation.stream()` yields.
        context: Context of the dbt assets.
        postgres: Database that dbt builds in.
    """
    with postgres.connect() as connection:
        connection.autocommit = True
        for event in events:
            if isinstance(event, dg.Output):
                layer, model = context.asset_key_for_output(event.output_name).path
                if layer != "staging":
                    query = sql.SQL("select count(*) from {}").format(sql.Identifier(layer, model))
                    row = connection.execute(query).fetchone()
                    count = row[0] if row else 0
                    event = event.with_metadata({**event.metadata, "dagster/row_count": count})
            yield event
