"""Analyses of a period: performance trend, comparison, root-cause candidates and key figures.

Every insight is a sentence about rows, and comes with them. Avoid SQL (`tools`) and HTTP
(`analytics_http.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from rag_assets.copilot import phrases
from rag_assets.copilot.periods import Period, read_time_range
from rag_assets.copilot.results import Row, ToolResult, ToolStatus
from rag_assets.copilot.tools import analytics
from rag_assets.copilot.tools.contributions import contributions, dimensions_of
from rag_assets.copilot.tools.database import TenantDatabase
from rag_assets.copilot.tools.measures import Measure, MeasureCatalogue
from rag_assets.copilot.tools.trends import GroupBy, TrendRequest, trend


class AnalysisType(Enum):
    """What is analysed."""

    PERFORMANCE_TREND = "performance_trend"
    COMPARISON = "comparison"
    ROOT_CAUSE = "root_cause"
    KPIS = "kpis"


class CompareBy(Enum):
    """What is compared."""

    EQUIPMENT = "equipment"
    PLANT = "plant"
    PERIOD = "period"


class UnknownNameError(ValueError):
    """The request names a machine or a metric that the tenant does not have."""


@dataclass(frozen=True)
class AnalysisRequest:
    """What to analyse.

    Attributes:
        equipment_ids: Which machines; empty means all.
        time_range: For example `last_30_days`; it ends at the plant's clock.
        metric: Of a comparison or of root-cause candidates.
    """

    tenant_id: str
    analysis_type: AnalysisType
    time_range: str = "last_30_days"
    equipment_ids: tuple[str, ...] = ()
    metric: str | None = None
    compare_by: CompareBy = CompareBy.EQUIPMENT


@dataclass(frozen=True)
class Analysis:
    """What came out.

    Attributes:
        metrics: Values of the period, by name.
        trends: Change of each against the equally long period before, in the metric's own unit.
        insights: Sentences; every number in them stands in `evidence`.
        missing: What was looked for and not found.
    """

    status: ToolStatus
    period: Period | None
    metrics: dict[str, float | None] = field(default_factory=dict[str, float | None])
    trends: dict[str, float | None] = field(default_factory=dict[str, float | None])
    insights: list[str] = field(default_factory=list[str])
    ranking: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    candidates: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    evidence: tuple[ToolResult, ...] = ()
    missing: tuple[str, ...] = ()


_KPIS = ("oee", "uptime", "performance", "defect_rate", "throughput_per_h", "downtime_h", "failure_count",
         "error_count", "maintenance_count")  # fmt: skip


@dataclass(frozen=True)
class _Inquiry:
    request: AnalysisRequest
    period: Period
    database: TenantDatabase
    measures: MeasureCatalogue

    def trend(self, measure: Measure, group_by: GroupBy = GroupBy.ALL) -> ToolResult:
        request = self.request
        is_ascending = measure.more_is_worse is False
        return trend(
            self.database,
            TrendRequest(
                request.tenant_id, measure, self.period, request.equipment_ids, None, group_by, is_ascending
            ),
        )

    def first_found(self, name: str, group_by: GroupBy = GroupBy.ALL) -> tuple[Measure, ToolResult]:
        """The first measure of a name that the machines have: "vibration" may name two."""
        named = self.measures.named(self.request.tenant_id, name)
        if not named:
            known = ", ".join(measure.name for measure in self.measures.all(self.request.tenant_id))
            raise UnknownNameError(f"there is no metric {name!r}; there are: {known}")
        results = [(measure, self.trend(measure, group_by)) for measure in named]
        return next((pair for pair in results if pair[1].status is ToolStatus.SUCCESS), results[0])


def analyse(database: TenantDatabase, measures: MeasureCatalogue, request: AnalysisRequest) -> Analysis:
    """Analyse.

    Raises:
        MissingTenantError: The request names no tenant.
        UnknownNameError: The tenant has no such machine or metric.
        UnreadablePeriodError: The time range is not understood.
    """
    fleet = analytics.fleet(database, request.tenant_id)
    now_at = fleet.rows[0]["window_end_at"] if fleet.rows else None
    if now_at is None:
        missing = fleet.missing or f"nothing has been measured for tenant {request.tenant_id} yet"
        return Analysis(ToolStatus.NO_DATA, None, evidence=(fleet,), missing=(missing,))
    unknown = set(request.equipment_ids) - {str(row["equipment_id"]) for row in fleet.rows}
    if unknown:
        raise UnknownNameError(
            f"{', '.join(sorted(unknown))} is none of the {len(fleet.rows)} machines of {request.tenant_id}"
        )
    period = read_time_range(request.time_range, now_at)
    inquiry = _Inquiry(request, period, database, measures)
    return _ANALYSES[request.analysis_type](inquiry)


def _performance_trend(inquiry: _Inquiry) -> Analysis:
    """The mission's three figures: uptime, temperature and defect rate."""
    names = {"uptime": "avg_uptime", "temperature": "avg_temperature", "defect_rate": "defect_rate"}
    found = {name: _or_nothing(inquiry, name) for name in names}
    return _from_figures(inquiry, found, names)


def _or_nothing(inquiry: _Inquiry, name: str) -> tuple[Measure | None, ToolResult]:
    try:
        return inquiry.first_found(name)
    except UnknownNameError as error:
        return None, ToolResult(analytics.TOOL, ToolStatus.NO_DATA, "", {}, missing=str(error))


def _kpis(inquiry: _Inquiry) -> Analysis:
    found = {name: _or_nothing(inquiry, name) for name in _KPIS}
    return _from_figures(inquiry, found, {name: name for name in _KPIS})


def _from_figures(
    inquiry: _Inquiry, found: Mapping[str, tuple[Measure | None, ToolResult]], names: Mapping[str, str]
) -> Analysis:
    rows = {name: (result.rows[0] if result.rows else None) for name, (_, result) in found.items()}
    whose = phrases.whose(inquiry.request.equipment_ids, ())
    insights = [
        phrases.measure(row, measure.unit, whose)
        for (measure, _), row in zip(found.values(), rows.values(), strict=True)
        if measure and row
    ]
    results = tuple(result for _, result in found.values())
    return Analysis(
        status=_status(results),
        period=inquiry.period,
        metrics={names[name]: row["value"] if row else None for name, row in rows.items()},
        trends={name: row["change"] if row else None for name, row in rows.items()},
        insights=insights,
        evidence=results,
        missing=tuple(result.missing for result in results if result.missing),
    )


def _comparison(inquiry: _Inquiry) -> Analysis:
    request = inquiry.request
    name = request.metric or "oee"
    group_by = {CompareBy.EQUIPMENT: GroupBy.EQUIPMENT, CompareBy.PLANT: GroupBy.PLANT}.get(
        request.compare_by, GroupBy.ALL
    )
    measure, result = inquiry.first_found(name, group_by)
    if request.compare_by is CompareBy.PERIOD:
        return _from_figures(inquiry, {measure.name: (measure, result)}, {measure.name: measure.name})
    is_ascending = measure.more_is_worse is False
    return Analysis(
        status=result.status,
        period=inquiry.period,
        metrics={str(row["subject"]): row["value"] for row in result.rows},
        trends={str(row["subject"]): row["change"] for row in result.rows},
        insights=[phrases.comparison(result.rows, measure.unit, is_ascending)] if result.rows else [],
        ranking=list(result.rows),
        evidence=(result,),
        missing=(result.missing,) if result.missing else (),
    )


def _root_cause(inquiry: _Inquiry) -> Analysis:
    request = inquiry.request
    measure, result = inquiry.first_found(request.metric or "downtime_h")
    dimensions = dimensions_of(measure.name)
    if not dimensions:
        raise UnknownNameError(
            f"{measure.name} can't be split into parts; what can: downtime_h, failure_count, error_count, "
            "defect_rate, uptime, oee, produced_units"
        )
    parts = [
        contributions(inquiry.database, request.tenant_id, dimension, inquiry.period, request.equipment_ids)
        for dimension in dimensions
    ]
    base = _from_figures(inquiry, {measure.name: (measure, result)}, {measure.name: measure.name})
    return Analysis(
        status=_status([result, *parts]),
        period=inquiry.period,
        metrics=base.metrics,
        trends=base.trends,
        insights=[*base.insights, *(phrases.contribution(part.rows) for part in parts if part.rows)],
        candidates=[row for part in parts for row in _by_change(part.rows)],
        evidence=(result, *parts),
        missing=tuple(item.missing for item in (result, *parts) if item.missing),
    )


def _by_change(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -(row["change"] or 0.0))


def _status(results: Sequence[ToolResult]) -> ToolStatus:
    statuses = {result.status for result in results}
    order = (ToolStatus.SUCCESS, ToolStatus.ERROR, ToolStatus.NO_DATA)
    return next(status for status in order if status in statuses)


_ANALYSES: Mapping[AnalysisType, Callable[[_Inquiry], Analysis]] = {
    AnalysisType.PERFORMANCE_TREND: _performance_trend,
    AnalysisType.COMPARISON: _comparison,
    AnalysisType.ROOT_CAUSE: _root_cause,
    AnalysisType.KPIS: _kpis,
}
