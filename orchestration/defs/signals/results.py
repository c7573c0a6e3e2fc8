"""How signal models and what they say look in Dagster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from ml.anomaly.scoring import AnomalyOutcome
    from ml.forecast.run import ForecastOutcome
    from ml.quality.run import QualityOutcome
    from ml.registry.promotions import Decision
    from ml.registry.signal_versions import SignalOutcome

MOST_SHOWN = 10
BARS: Mapping[str, Mapping[str, str]] = {
    "anomaly": {
        "false_positives_below_5_percent": "Less than 5 % of judged normal time was alarmed.",
        "sees_failures": "Sees a larger share of failures than of normal time.",
    },
    "forecast": {"better_than_seasonal_naive": "Mean MASE over the machine series is below 1."},
    "quality": {"beats_the_majority_class": "More lots right than by always saying the usual class."},
}


def check_specs(model: str) -> list[dg.AssetCheckSpec]:
    """The bars of a model as checks. They warn: a tenant's version that misses one is not promoted."""
    key = dg.AssetKey(["model", model])
    return [
        dg.AssetCheckSpec(name, asset=key, description=description)
        for name, description in BARS[model].items()
    ]


def training_result(model: str, outcomes: Sequence["SignalOutcome"]) -> dg.MaterializeResult:
    """Figures per tenant that plot over time, and one check result per bar."""
    metadata: dict[str, Any] = {}
    for outcome in outcomes:
        tenant = outcome.tenant_id
        metadata |= {f"{tenant}: {name}": float(value) for name, value in outcome.metrics.items()}
        if outcome.version:
            metadata[f"{tenant}: version"] = outcome.version.version
        if outcome.note:
            metadata[f"{tenant}: note"] = outcome.note
    failed = {
        outcome.tenant_id: outcome.version.tags.get("failed_bars", "")
        for outcome in outcomes
        if outcome.version
    }
    words = {(bar.name, outcome.tenant_id): bar for outcome in outcomes for bar in outcome.bars}
    checks = [
        dg.AssetCheckResult(
            check_name=name,
            asset_key=dg.AssetKey(["model", model]),
            passed=all(
                words[name, tenant].is_held if (name, tenant) in words else not missed
                for tenant, missed in failed.items()
            ),
            severity=dg.AssetCheckSeverity.WARN,
            metadata={tenant: bar.words for (bar_name, tenant), bar in words.items() if bar_name == name},
        )
        for name in BARS[model]
    ]
    return dg.MaterializeResult(metadata=metadata, check_results=checks)


def promotion_result(decisions: Sequence["Decision"]) -> dg.MaterializeResult:
    """Decisions of this run."""
    lines = [
        f"- {found.model_name} {found.model_version} ({found.tenant_id}): "
        f"**{found.decision}**, {found.reason}"
        for found in decisions
    ]
    return dg.MaterializeResult(
        metadata={
            "decisions": dg.MetadataValue.md("\n".join(lines) or "no challenger was waiting"),
            "promoted": sum(found.decision == "promoted" for found in decisions),
        }
    )


def anomaly_results(outcomes: Sequence["AnomalyOutcome"]) -> Iterator[dg.MaterializeResult]:
    """Scored hours, and the latest events in words."""
    events = [event for outcome in outcomes for event in outcome.events]
    lines = [f"- {event.summary}" for event in events[:MOST_SHOWN]]
    hours = sum(machine.scores.height for outcome in outcomes for machine in outcome.machines)
    notes = _notes(outcomes, lambda found: f"{len(found.machines)} machines")
    yield dg.MaterializeResult(
        asset_key=["prediction", "anomaly_scores"], metadata={"dagster/row_count": hours, **notes}
    )
    yield dg.MaterializeResult(
        asset_key=["prediction", "anomalies"],
        metadata={
            "dagster/row_count": len(events),
            "latest events": dg.MetadataValue.md("\n".join(lines) or "none in the last two weeks"),
            **notes,
        },
    )


def forecast_result(outcomes: Sequence["ForecastOutcome"]) -> dg.MaterializeResult:
    """Forecast series, methods, and what is expected to cross a limit."""
    made = [found.forecast for outcome in outcomes for found in outcome.forecasts]
    methods: dict[str, int] = {}
    for each in made:
        methods[each.method] = methods.get(each.method, 0) + 1
    warned = [f"- {each.recommendation}" for each in made if each.violations][:MOST_SHOWN]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(len(each.values) for each in made),
            "series": len(made),
            "violations": sum(outcome.violations for outcome in outcomes),
            "methods": methods,
            "expected beyond limits": dg.MetadataValue.md("\n".join(warned) or "nothing"),
            **_notes(outcomes, lambda found: f"{len(found.forecasts)} series"),
        }
    )


def quality_result(outcomes: Sequence["QualityOutcome"]) -> dg.MaterializeResult:
    """Predicted lots; of those that training had not seen, how many got the inspection's class."""
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(outcome.lots for outcome in outcomes),
            "unseen lots": sum(outcome.unseen for outcome in outcomes),
            "agreed of unseen": sum(outcome.agreed for outcome in outcomes),
            **_notes(outcomes, lambda found: f"{found.lots} lots"),
        }
    )


def _notes(outcomes: Sequence[Any], words: Callable[[Any], str]) -> dict[str, Any]:
    return {
        outcome.tenant_id: outcome.note or f"{words(outcome)}, version {outcome.model_version}"
        for outcome in outcomes
    }
