"""The dbt models as assets, in two groups that run apart.

Features lead to training, training to predictions, and predictions to the health marts. One group
for all models would make that a cycle: what reads predictions is therefore built on its own.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from orchestration.dbt_invocation import build_arguments, generate_docs
from orchestration.dbt_library import dagster_dbt
from orchestration.defs.warehouse.project import warehouse_project
from orchestration.defs.warehouse.row_counts import with_row_counts
from orchestration.defs.warehouse.translator import PREDICTIONS_TAG, WarehouseTranslator
from orchestration.environment import Environment
from orchestration.resources.dbt import WarehouseDbt
from orchestration.resources.postgres import PostgresResource

PROJECT = warehouse_project()

# Unit tests check the SQL and not the data, and landing has already held every row to its contract:
# `opsgraph warehouse build` and CI run those tests, the hourly build does not (a third of its time).
HOURLY = ["--exclude-resource-type", "unit_test", "--exclude", "path:models/staging/_*__sources.yml"]


class WarehouseBuild(dg.Config):
    """Settings of one build."""

    full_refresh: bool = False
    """Build incremental models from nothing."""


@dagster_dbt.dbt_assets(
    name="warehouse_models",
    manifest=PROJECT.manifest_path,
    project=PROJECT,
    exclude=f"tag:{PREDICTIONS_TAG}",
    dagster_dbt_translator=WarehouseTranslator(),
)
def warehouse_models(
    context: dg.AssetExecutionContext,
    dbt: WarehouseDbt,
    postgres: PostgresResource,
    config: WarehouseBuild,
) -> Iterator[Any]:
    """Staging, deduplication, hours, labels, dimensions and facts: all that needs no prediction."""
    arguments = [*build_arguments(full_refresh=config.full_refresh), *HOURLY]
    yield from with_row_counts(dbt.cli(arguments, context=context).stream(), context, postgres)


@dagster_dbt.dbt_assets(
    name="prediction_marts",
    manifest=PROJECT.manifest_path,
    project=PROJECT,
    select=f"tag:{PREDICTIONS_TAG}",
    dagster_dbt_translator=WarehouseTranslator(),
)
def prediction_marts(
    context: dg.AssetExecutionContext, dbt: WarehouseDbt, postgres: PostgresResource
) -> Iterator[Any]:
    """Predictions and the two marts that join them to the machines."""
    arguments = [*build_arguments(), *HOURLY]
    yield from with_row_counts(dbt.cli(arguments, context=context).stream(), context, postgres)


@dg.asset(
    key=["warehouse", "docs"],
    deps=[*warehouse_models.keys, *prediction_marts.keys],
    group_name="warehouse_docs",
    owners=["team:analytics-engineering"],
    kinds={"dbt"},
)
def warehouse_docs() -> dg.MaterializeResult[Any]:
    """The dbt docs site: every model with its grain, columns, tests, lineage and consumers."""
    environment = Environment()
    page = generate_docs(environment.database_url, environment.state_dir)
    return dg.MaterializeResult(
        metadata={"path": dg.MetadataValue.path(str(page)), "size_kb": page.stat().st_size / 1024}
    )
