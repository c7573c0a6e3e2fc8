"""How decisions and predictions look in Dagster."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from ml.predictions.run import PredictionOutcome
    from ml.registry.promotions import Decision, LedgerRow, Serving

MOST_SHOWN = 10


def promotion_result(
    decisions: Sequence["Decision"], serving: Sequence["Serving"], ledger: Sequence["LedgerRow"]
) -> dg.MaterializeResult:
    """Decisions of this run, what serves after it, and the last rows of the ledger."""
    decided = "\n".join(
        f"- {found.model_name} {found.model_version} ({found.tenant_id}): "
        f"**{found.decision}**, {found.reason}"
        for found in decisions
    )
    rows = "\n".join(
        f"| {found.model_name} | {found.tenant_id} | {found.model_version} "
        f"| {found.served_from:%Y-%m-%d %H:%M} |"
        for found in serving
    )
    table = f"| model | tenant | version | since |\n|---|---|---|---|\n{rows}"
    past = "\n".join(
        f"| {row.decided_at:%Y-%m-%d %H:%M} | {row.model_name} | {row.tenant_id} | {row.model_version} "
        f"| {row.decision} | {row.decided_by} | {row.reason} |"
        for row in ledger
    )
    columns = "| decided | model | tenant | version | decision | by | why |\n|---|---|---|---|---|---|---|"
    return dg.MaterializeResult(
        metadata={
            "ledger": dg.MetadataValue.md(f"{columns}\n{past}"),
            "waiting for a person": sum(found.decision == "waiting" for found in decisions),
            "decisions": dg.MetadataValue.md(decided or "no challenger was waiting"),
            "serving": dg.MetadataValue.md(table),
            "promoted": sum(found.decision == "promoted" for found in decisions),
            "dagster/row_count": len(serving),
        }
    )


def prediction_result(outcomes: Sequence["PredictionOutcome"]) -> dg.MaterializeResult:
    """Counts that plot, notes, and the machines most at risk."""
    metadata: dict[str, Any] = {
        "dagster/row_count": sum(len(outcome.predictions) for outcome in outcomes),
        "alerts": sum(outcome.alerts for outcome in outcomes),
    }
    ranked = sorted(
        ((found, outcome) for outcome in outcomes for found in outcome.predictions),
        key=lambda pair: -pair[0].failure_probability,
    )
    rows = "\n".join(
        f"| {outcome.tenant_id} | {found.equipment_id} | {found.horizon_hours} h "
        f"| {found.failure_probability:.3f} | {found.risk_level.value} "
        f"| {'; '.join(found.contributing_factors)} |"
        for found, outcome in ranked[:MOST_SHOWN]
    )
    header = "| tenant | machine | horizon | probability | risk | why |\n|---|---|---|---|---|---|"
    metadata["most at risk"] = dg.MetadataValue.md(f"{header}\n{rows}")
    for outcome in outcomes:
        name = f"{outcome.tenant_id} {outcome.horizon_hours} h"
        metadata[name] = (
            outcome.note or f"{len(outcome.predictions)} machines, version {outcome.model_version}"
        )
        if outcome.as_of:
            metadata[f"{outcome.tenant_id} as of"] = outcome.as_of.isoformat()
    return dg.MaterializeResult(metadata=metadata)
