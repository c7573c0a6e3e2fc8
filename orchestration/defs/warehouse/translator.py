"""How dbt nodes become Dagster assets: keys, group, owners, automation, freshness.

Add a rule here when it follows from a node's layer or tag. Avoid rules for one model: they stand in
its yml under `meta.dagster`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from orchestration.automation import WHEN_UPSTREAM_IS_SOUND
from orchestration.dbt_library import dagster_dbt

PREDICTIONS_TAG = "predictions"

# The hourly build, its two retries of five minutes, and one hour that may fail altogether.
MARTS_ARE_FRESH = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=3), warn_window=timedelta(hours=2)
)


class WarehouseTranslator(dagster_dbt.DagsterDbtTranslator):
    """Keys are [layer, name]; marts and what follows predictions materialize themselves."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """`raw/<table>` and the like for sources (from their meta), `<layer>/<name>` for all else."""
        if dbt_resource_props["resource_type"] == "source":
            return super().get_asset_key(dbt_resource_props)
        return dg.AssetKey([layer_of(dbt_resource_props), dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """One group for the whole warehouse."""
        return "warehouse"

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str] | None:
        """The team that answers for the warehouse."""
        return ["team:analytics-engineering"]

    def get_automation_condition(
        self, dbt_resource_props: Mapping[str, Any]
    ) -> dg.AutomationCondition[Any] | None:
        """Marts, and all that follows predictions, when their upstream is new and sound."""
        follows = layer_of(dbt_resource_props) == "marts" or PREDICTIONS_TAG in dbt_resource_props["tags"]
        return WHEN_UPSTREAM_IS_SOUND if follows else None

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: Any) -> dg.AssetSpec:
        """The default spec, and for marts a freshness policy."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        props = self.get_resource_props(manifest, unique_id)
        if props["resource_type"] == "model" and layer_of(props) == "marts":
            return spec.replace_attributes(freshness_policy=MARTS_ARE_FRESH)
        return spec


def layer_of(dbt_resource_props: Mapping[str, Any]) -> str:
    """Layer of a dbt node: the folder below `models/`; seeds belong to staging.

    >>> layer_of({"resource_type": "model", "fqn": ["opsgraph", "marts", "facts", "fact_x"]})
    'marts'
    """
    return "staging" if dbt_resource_props["resource_type"] == "seed" else dbt_resource_props["fqn"][1]
