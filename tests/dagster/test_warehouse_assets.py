"""The dbt models in the Dagster graph: keys, groups without a cycle, checks that block."""

from typing import Any

import dagster as dg
import pytest

from orchestration.defs.warehouse.assets import prediction_marts, warehouse_models
from orchestration.defs.warehouse.translator import PREDICTIONS_TAG, WarehouseTranslator, layer_of
from orchestration.environment import Environment
from orchestration.resources.dbt import dbt_resource
from orchestration.resources.postgres import PostgresResource

MODELS = {
    "staging": "stg_sensor_readings stg_equipment_events stg_quality_inspections stg_failure_predictions",
    "intermediate": "int_equipment_metrics_hourly int_failure_labels int_quality_aggregates",
    "marts": "dim_equipment dim_plant dim_date dim_defect_types "
    "fact_sensor_readings fact_equipment_events fact_quality_inspections fact_production_metrics "
    "mart_equipment_health mart_predictive_maintenance mart_quality_dashboard mart_production_kpis",
}
PREDICTION = dg.AssetKey(["prediction", "failure"])


@pytest.fixture(scope="module")
def graph() -> Any:
    """The warehouse alone."""
    resources = {"dbt": dbt_resource(Environment()), "postgres": PostgresResource(url="postgresql://h/d")}
    return dg.Definitions([warehouse_models, prediction_marts], resources=resources).resolve_asset_graph()


@pytest.mark.parametrize(
    ("layer", "name"), [(layer, name) for layer, names in MODELS.items() for name in names.split()]
)
def test_models_have_the_keys_that_others_write_against(graph: Any, layer: str, name: str) -> None:
    """Forbids a renamed or lost model."""
    assert dg.AssetKey([layer, name]) in graph.materializable_asset_keys


def test_features_come_before_predictions_without_a_cycle(graph: Any) -> None:
    """Forbids a feature that reads predictions: training would wait for its own output."""
    early, late = set(warehouse_models.keys), set(prediction_marts.keys)
    assert not early & late
    assert dg.AssetKey(["marts", "mart_equipment_health"]) in late
    for key in early:
        seen, queue = set(), [key]
        while queue:
            parents = graph.get(queue.pop()).parent_keys - seen
            seen |= parents
            queue.extend(parents)
        assert PREDICTION not in seen
        assert not late & seen


def test_sources_are_the_landed_tables_and_the_predictions(graph: Any) -> None:
    """Forbids a dbt source key of its own, which would cut the graph at the border."""
    assert (
        dg.AssetKey(["raw", "equipment_sensors"])
        in graph.get(dg.AssetKey(["staging", "stg_sensor_readings"])).parent_keys
    )
    assert PREDICTION in graph.get(dg.AssetKey(["staging", "stg_failure_predictions"])).parent_keys


def test_reconciliation_blocks_what_follows(graph: Any) -> None:
    """Forbids that counts across a border are only reported: a difference has to stop the marts."""
    checks = {key: graph.get(key) for key in graph.asset_check_keys}
    for asset, name in (
        (
            "int_sensor_readings_deduplicated",
            "landed_rows_are_kept_or_counted_int_sensor_readings_deduplicated_ref_stg_sensor_readings_",
        ),
        ("int_equipment_metrics_hourly", "hours_hold_every_kept_reading"),
    ):
        key = dg.AssetCheckKey(dg.AssetKey(["intermediate", asset]), name)
        assert checks[key].blocking


def test_marts_have_owner_group_freshness_and_automation(graph: Any) -> None:
    """Forbids a mart that nobody owns or that goes stale in silence."""
    for name in MODELS["marts"].split():
        node = graph.get(dg.AssetKey(["marts", name]))
        assert node.group_name == "warehouse"
        assert node.owners == ["team:analytics-engineering"]
        assert node.freshness_policy is not None
        assert node.automation_condition is not None


def test_what_follows_predictions_runs_by_itself() -> None:
    """Forbids that new predictions wait up to an hour for the health mart."""
    staged = {"resource_type": "model", "fqn": ["opsgraph", "staging", "x"], "tags": [PREDICTIONS_TAG]}
    plain = {**staged, "tags": []}
    assert WarehouseTranslator().get_automation_condition(staged) is not None
    assert WarehouseTranslator().get_automation_condition(plain) is None
    assert layer_of({"resource_type": "seed", "fqn": ["opsgraph", "seed_defect_types"]}) == "staging"
