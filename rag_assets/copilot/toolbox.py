"""The copilot's seven tools by name: typed requests in the mission's JSON, prerequisites, one way to run.

A language model and people with an API key ask through here; the extractive router calls the same
functions. Every tool only reads. Avoid SQL here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from pydantic import BaseModel, Field

from rag_assets.copilot.applicability import applicability
from rag_assets.copilot.periods import DEFAULT_DAYS, Period, UnreadablePeriodError, read_time_range
from rag_assets.copilot.results import ToolResult, ToolStatus
from rag_assets.copilot.tools import analytics, predictions
from rag_assets.copilot.tools.changes import changes
from rag_assets.copilot.tools.contributions import contributions, dimensions_of
from rag_assets.copilot.tools.database import NotBuiltError, TenantDatabase
from rag_assets.copilot.tools.forecast import forecast_values, forecast_violations
from rag_assets.copilot.tools.logs import incidents, log_signals, log_windows
from rag_assets.copilot.tools.measures import Measure, MeasureCatalogue
from rag_assets.copilot.tools.report import report_figures
from rag_assets.copilot.tools.runbooks import RunbookRequest, find_runbooks
from rag_assets.copilot.tools.trends import GroupBy, TrendRequest, trend
from rag_assets.retrieval import Retriever

APPROVAL_DAYS = 366
"""A longer period reads most of the tables: somebody has to want it."""


class RunbooksRequest(BaseModel):
    """Search the current runbooks and manuals."""

    query: str = Field(max_length=2000, description="Symptom, error code or task.")


class MlRequest(BaseModel):
    """What the models wrote."""

    equipment_id: str | None = Field(None, description="One machine; without it the whole fleet.")
    prediction_type: Literal["failure_risk", "anomalies", "quality", "maintenance_schedule"] = "failure_risk"
    time_horizon: Literal["24_hours", "7_days"] = "24_hours"


class AnalyticsToolRequest(BaseModel):
    """Figures of a period against the period before."""

    equipment_id: str | None = None
    analysis_type: Literal["performance_trend", "comparison", "root_cause", "kpis", "events"] = (
        "performance_trend"
    )
    metric: str | None = Field(None, description="For example temperature, oee, downtime_h, defect_rate.")
    time_range: str = Field("last_30_days", max_length=100)


class ForecastRequest(BaseModel):
    """Forecast values and threshold crossings."""

    equipment_id: str
    metric: str
    forecast_horizon: Literal["24_hours", "48_hours", "7_days"] = "24_hours"


class PeriodRequest(BaseModel):
    """A period, of one machine or service or of all."""

    equipment_id: str | None = None
    time_range: str = Field("last_7_days", max_length=100)


@dataclass(frozen=True)
class ToolContext:
    """What every tool call is bound to: no request can name another tenant."""

    tenant_id: str
    asked_on: date
    database: TenantDatabase
    measures: MeasureCatalogue
    retriever: Retriever


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes:
        needs: Tables that must be there; without them a call gives NO_DATA.
        run: Results by purpose.
    """

    name: str
    description: str
    request: type[BaseModel]
    needs: tuple[str, ...]
    run: Callable[[ToolContext, BaseModel], dict[str, ToolResult]]


def call_tool(name: str, context: ToolContext, arguments: Mapping[str, object]) -> dict[str, ToolResult]:
    """Run a tool.

    Raises:
        KeyError: There is no such tool.
        pydantic.ValidationError: The arguments are not of its request.
    """
    tool = TOOLS[name]
    request = tool.request.model_validate(dict(arguments))
    try:
        period = _period(context, getattr(request, "time_range", f"last_{DEFAULT_DAYS}_days"))
    except UnreadablePeriodError as error:
        return {name: ToolResult(name, ToolStatus.ERROR, "", request.model_dump(), missing=str(error))}
    if (period.ends_at - period.starts_at).days > APPROVAL_DAYS:
        missing = (
            f"a period of more than {APPROVAL_DAYS} days reads most of the tables: somebody has to approve it"
        )
        return {
            name: ToolResult(name, ToolStatus.APPROVAL_REQUIRED, "", request.model_dump(), missing=missing)
        }
    return tool.run(context, request)


def _period(context: ToolContext, time_range: str) -> Period:
    fleet = analytics.fleet(context.database, context.tenant_id)
    on = context.asked_on
    now_at = fleet.rows[0]["window_end_at"] if fleet.rows else None
    return read_time_range(time_range, now_at or datetime(on.year, on.month, on.day, tzinfo=UTC))


def _runbooks(context: ToolContext, request: BaseModel) -> dict[str, ToolResult]:
    assert isinstance(request, RunbooksRequest)
    fleet = analytics.fleet(context.database, context.tenant_id)
    fits = applicability({str(row["equipment_id"]): row for row in fleet.rows}, None)
    wanted = RunbookRequest(
        request.query, context.tenant_id, context.asked_on, firmware_in_use=fits.firmware_in_use
    )
    result, _ = find_runbooks(context.retriever, wanted)
    return {"more runbooks": result}


def _ml(context: ToolContext, request: BaseModel) -> dict[str, ToolResult]:
    assert isinstance(request, MlRequest)
    database, tenant, machine = context.database, context.tenant_id, request.equipment_id
    if request.prediction_type == "anomalies":
        found = predictions.anomalies(database, tenant, _period(context, "last_30_days"), machine)
        return {"anomalies": found}
    if request.prediction_type == "quality":
        return {"quality": predictions.quality_predictions(database, tenant, machine)}
    if request.prediction_type == "maintenance_schedule":
        return {"schedule": predictions.maintenance_schedule(database, tenant, machine)}
    hours = 168 if request.time_horizon == "7_days" else 24
    wanted = predictions.PredictionRequest(tenant, hours, machine)
    return {"predictions": predictions.latest_predictions(database, wanted)}


def _analytics(context: ToolContext, request: BaseModel) -> dict[str, ToolResult]:
    assert isinstance(request, AnalyticsToolRequest)
    period = _period(context, request.time_range)
    machines = (request.equipment_id,) if request.equipment_id else ()
    database, tenant = context.database, context.tenant_id
    if request.analysis_type == "events":
        return {"events": analytics.events(database, tenant, period, request.equipment_id)}
    if request.analysis_type == "kpis":
        return dict(report_figures(database, tenant, period))
    measure = _measure(context, request.metric or "oee")
    if measure is None:
        missing = f"no metric {request.metric!r} is measured"
        return {
            "measure": ToolResult("analytics", ToolStatus.NO_DATA, "", request.model_dump(), missing=missing)
        }
    if request.analysis_type == "root_cause":
        return {
            f"contribution {dimension.name}": contributions(database, tenant, dimension, period, machines)
            for dimension in dimensions_of(measure.name)[:2]
        }
    by = GroupBy.EQUIPMENT if request.analysis_type == "comparison" else GroupBy.ALL
    purpose = "comparison" if by is GroupBy.EQUIPMENT else "measure"
    results = {
        f"{purpose} {named.name}": trend(database, TrendRequest(tenant, named, period, machines, None, by))
        for named in context.measures.named(tenant, request.metric or "oee")
    }
    found = {name: result for name, result in results.items() if result.status is ToolStatus.SUCCESS}
    return found or results


def _measure(context: ToolContext, name: str) -> Measure | None:
    try:
        return next(iter(context.measures.named(context.tenant_id, name)), None)
    except NotBuiltError:
        return None


def _forecast(context: ToolContext, request: BaseModel) -> dict[str, ToolResult]:
    assert isinstance(request, ForecastRequest)
    hours = {"24_hours": 24, "48_hours": 48, "7_days": 168}[request.forecast_horizon]
    measure = _measure(context, request.metric)
    names = tuple(dict.fromkeys((request.metric, *((measure.name,) if measure else ()))))
    database, tenant = context.database, context.tenant_id
    return {
        "forecast": forecast_values(database, tenant, request.equipment_id, names, hours),
        "violations": forecast_violations(database, tenant, request.equipment_id, names),
    }


def _logs(context: ToolContext, request: BaseModel) -> dict[str, ToolResult]:
    assert isinstance(request, PeriodRequest)
    period = _period(context, request.time_range)
    database, tenant = context.database, context.tenant_id
    return {
        "log signals": log_signals(database, tenant, period, request.equipment_id),
        "incidents": incidents(database, tenant, period, request.equipment_id),
        "log windows": log_windows(database, tenant, period, request.equipment_id),
    }


def _report(context: ToolContext, request: BaseModel) -> dict[str, ToolResult]:
    assert isinstance(request, PeriodRequest)
    return report_figures(context.database, context.tenant_id, _period(context, request.time_range))


def _changes(context: ToolContext, request: BaseModel) -> dict[str, ToolResult]:
    assert isinstance(request, PeriodRequest)
    period = _period(context, request.time_range)
    return {"changes": changes(context.database, context.tenant_id, period, request.equipment_id)}


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "runbooks",
            "Search current runbooks and manuals.",
            RunbooksRequest,
            ("an index build",),
            _runbooks,
        ),
        Tool(
            "ml",
            "Failure risk, anomalies, quality classes, maintenance order.",
            MlRequest,
            (predictions.FAILURES, predictions.ANOMALIES),
            _ml,
        ),
        Tool(
            "analytics",
            "Figures and events of a period, against the period before.",
            AnalyticsToolRequest,
            ("marts.fact_production_metrics", "intermediate.int_equipment_metrics_hourly"),
            _analytics,
        ),
        Tool(
            "forecast",
            "Forecast of a sensor or production figure.",
            ForecastRequest,
            ("ml.forecasts",),
            _forecast,
        ),
        Tool(
            "logs",
            "Findings of the log detectors, incidents, lines and errors per service.",
            PeriodRequest,
            ("ops.signals", "logs.windows", "ops.incidents"),
            _logs,
        ),
        Tool(
            "report",
            "Key figures of the whole plant.",
            PeriodRequest,
            ("marts.fact_production_metrics",),
            _report,
        ),
        Tool(
            "changes",
            "What was changed before this.",
            PeriodRequest,
            ("marts.fact_equipment_events",),
            _changes,
        ),
    )
}
