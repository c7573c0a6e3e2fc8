"""How a training outcome looks in Dagster: metadata that plots over time, and the gate's checks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml.models.horizons import Horizon
from orchestration.environment import Environment

if TYPE_CHECKING:
    from ml.registry.gate import Criterion
    from ml.training.pipeline import TrainingOutcome

PLOTTED = (
    "event_recall",
    "event_precision",
    "average_precision",
    "brier_skill",
    "ece",
    "false_alarms_per_machine_month",
    "error_24h_event_precision",
)
CHECKS = {
    "enough_failures": "Enough failures were judged to say anything.",
    "ranks_better_than_error_rule": "Ranks machine-hours better than 'an error in the last 24 h'.",
    "beats_the_base_rate": "Brier skill against always saying the base rate is positive.",
    "is_calibrated": "Said and observed rates agree.",
    "rebuilds_as_known": "A training set as known in the past does not change by what became known since.",
    "alerts_better_than_error_rule": "Event F1 is above that of the rule 'an error in the last 24 h'.",
}


def check_specs(key: dg.AssetKey, horizon: Horizon) -> list[dg.AssetCheckSpec]:
    """The gate's absolute bars as blocking checks of one model asset."""
    names = [name for name in CHECKS if horizon.must_beat_rule_on_events or not name.startswith("alerts_")]
    return [dg.AssetCheckSpec(name, asset=key, blocking=True, description=CHECKS[name]) for name in names]


def run_url(run_id: str) -> str:
    """Page of a Dagster run, for the tags of the MLflow run that it makes."""
    return f"{Environment().dagster_url}/runs/{run_id}"


def training_result(outcomes: Sequence["TrainingOutcome"], horizon: Horizon) -> dg.MaterializeResult:
    """Metadata per tenant, and one check result per bar.

    A bar blocks when no tenant that was trained holds it. While at least one does, the others warn: the
    promotion gate keeps each tenant's own challenger back, and nobody waits for somebody else's data.
    """
    metadata: dict[str, Any] = {"dagster/row_count": sum(outcome.rows for outcome in outcomes)}
    for outcome in outcomes:
        metadata |= _tenant_metadata(outcome)
    by_tenant = {outcome.tenant_id: outcome.criteria(horizon) for outcome in outcomes if outcome.version}
    key = dg.AssetKey(["model", horizon.model_name.replace("-", "_")])
    checks = [_check(spec.name, key, by_tenant) for spec in check_specs(key, horizon)]
    return dg.MaterializeResult(metadata=metadata, check_results=checks)


def _tenant_metadata(outcome: "TrainingOutcome") -> dict[str, Any]:
    tenant = outcome.tenant_id
    found: dict[str, Any] = {
        f"{tenant}: {name}": outcome.metrics[name] for name in PLOTTED if name in outcome.metrics
    }
    found[f"{tenant}: rows"] = outcome.rows
    if outcome.run_url:
        found[f"{tenant}: mlflow run"] = dg.MetadataValue.url(outcome.run_url)
    if outcome.version:
        found[f"{tenant}: version"] = outcome.version.version
        found[f"{tenant}: data digest"] = outcome.version.data_digest
    if outcome.note:
        found[f"{tenant}: note"] = outcome.note
    return found


def _check(name: str, key: dg.AssetKey, by_tenant: dict[str, list["Criterion"]]) -> dg.AssetCheckResult:
    found = {
        tenant: next(bar for bar in criteria if bar.name == name) for tenant, criteria in by_tenant.items()
    }
    held = [bar.is_held for bar in found.values()]
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=all(held),
        severity=dg.AssetCheckSeverity.WARN if any(held) else dg.AssetCheckSeverity.ERROR,
        metadata={tenant: bar.words for tenant, bar in found.items()},
    )
