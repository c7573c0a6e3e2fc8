"""`POST /v1/analytics`: the request and response that the mission fixes, and the fields added to them.

Only the shape of HTTP belongs here; `analysis.py` analyses.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from rag_assets.copilot.analysis import (
    Analysis,
    AnalysisRequest,
    AnalysisType,
    CompareBy,
    UnknownNameError,
)
from rag_assets.copilot.copilot import Copilot
from rag_assets.copilot.periods import UNDERSTOOD, UnreadablePeriodError
from rag_assets.copilot.results import TableSource, ToolResult

Tenant = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class AnalyticsBody(BaseModel):
    """What to analyse."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "tenant_id": "demo-plant",
                    "equipment_id": "CNC-A-102",
                    "analysis_type": "performance_trend",
                    "time_range": "last_30_days",
                },
                {
                    "tenant_id": "demo-plant",
                    "analysis_type": "comparison",
                    "metric": "oee",
                    "compare_by": "plant",
                    "time_range": "last_7_days",
                },
                {"tenant_id": "demo-plant", "analysis_type": "root_cause", "metric": "downtime_h"},
            ]
        }
    )
    tenant_id: Tenant = Field(description="Whose machines. There is no default.")
    analysis_type: AnalysisType = AnalysisType.PERFORMANCE_TREND
    time_range: str = Field(
        "last_30_days", max_length=100, description=f"For example: {UNDERSTOOD}. Another text is an error."
    )
    equipment_id: str | None = Field(None, description="One machine; without it all machines.")
    equipment_ids: list[str] = Field(default_factory=list, max_length=200, description="Several machines.")
    metric: str | None = Field(None, description="Of a comparison or of root-cause candidates.")
    compare_by: CompareBy = CompareBy.EQUIPMENT


class QueryModel(BaseModel):
    """One query that ran, and its rows."""

    tool: str
    status: str
    table: str | None
    query: str
    parameters: dict[str, Any]
    rows: list[dict[str, Any]]
    missing: str


class AnalyticsResponse(BaseModel):
    """Figures of the period, their change against the period before, and sentences about both."""

    metrics: dict[str, float | None] = Field(description="Ratios are 0 to 1; null: not measured.")
    trends: dict[str, float | None] = Field(description="Change against the equally long period before.")
    insights: list[str] = Field(description="Every number in them stands in the rows of `evidence`.")
    status: str
    window: tuple[datetime, datetime] | None
    ranking: list[dict[str, Any]] = Field(description="Of a comparison.")
    candidates: list[dict[str, Any]] = Field(
        description="Of a root-cause analysis: parts by their share of the change; arithmetic, not proof."
    )
    evidence: list[QueryModel]
    missing: list[str]


def analytics_router(copilot: Callable[[], Copilot]) -> APIRouter:
    """The analytics route over the copilot that the application holds."""
    router = APIRouter(tags=["copilot"])

    @router.post("/v1/analytics", summary="Analyse a period", operation_id="analytics")
    def analytics(body: AnalyticsBody, served: Annotated[Copilot, Depends(copilot)]) -> AnalyticsResponse:
        """Trend, comparison, root-cause candidates or key figures, with the queries behind them."""
        machines = tuple(
            dict.fromkeys(([body.equipment_id] if body.equipment_id else []) + body.equipment_ids)
        )
        request = AnalysisRequest(
            body.tenant_id, body.analysis_type, body.time_range, machines, body.metric, body.compare_by
        )
        try:
            return _response(served.analyse(request))
        except UnknownNameError as error:
            raise HTTPException(404, str(error)) from error
        except UnreadablePeriodError as error:
            raise HTTPException(422, str(error)) from error

    return router


def _response(analysis: Analysis) -> AnalyticsResponse:
    period = analysis.period
    return AnalyticsResponse(
        metrics=analysis.metrics,
        trends=analysis.trends,
        insights=analysis.insights,
        status=analysis.status.value,
        window=(period.starts_at, period.ends_at) if period else None,
        ranking=[dict(row) for row in analysis.ranking],
        candidates=[dict(row) for row in analysis.candidates],
        evidence=[_query(result) for result in analysis.evidence],
        missing=list(analysis.missing),
    )


def _query(result: ToolResult) -> QueryModel:
    table = next((source.table for source in result.sources if isinstance(source, TableSource)), None)
    return QueryModel(
        tool=result.tool,
        status=result.status.value,
        table=table,
        query=" ".join(result.query.split()),
        parameters=dict(result.parameters),
        rows=[dict(row) for row in result.rows],
        missing=result.missing,
    )
