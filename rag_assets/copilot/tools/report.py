"""The `report` tool: the key figures of a period for the whole plant, each against the period before.

Avoid layout here: `rag_assets.copilot.reporting` writes the report.
"""

from dataclasses import replace

from rag_assets.copilot.periods import Period
from rag_assets.copilot.results import ToolResult
from rag_assets.copilot.tools.analytics import scored_machines
from rag_assets.copilot.tools.database import TenantDatabase
from rag_assets.copilot.tools.measures import BUSINESS
from rag_assets.copilot.tools.predictions import PredictionRequest, latest_predictions
from rag_assets.copilot.tools.trends import TrendRequest, trend

TOOL = "report"
KEY_FIGURES = ("oee", "uptime", "defect_rate", "throughput_per_h", "downtime_h", "failure_count")


def report_figures(database: TenantDatabase, tenant_id: str, period: Period) -> dict[str, ToolResult]:
    """Key figures, machines at risk and machines without a prediction, by purpose."""
    results = {
        f"measure {measure.name}": trend(database, TrendRequest(tenant_id, measure, period))
        for measure in BUSINESS
        if measure.name in KEY_FIGURES
    }
    results["predictions"] = latest_predictions(database, PredictionRequest(tenant_id))
    results["scored"] = scored_machines(database, tenant_id)
    return {purpose: replace(result, tool=TOOL) for purpose, result in results.items()}
