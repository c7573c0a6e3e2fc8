"""`POST /v1/forecast`: one machine's metric ahead, with limits that it is expected to cross.

The series is read from the warehouse and forecast on the way, by the candidate that the serving version chose
for it. Avoid choosing candidates here: that is `ml.forecast.selection`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg
from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from ml.datasets.warehouse import WarehouseNotBuiltError, read_machine
from ml.features.metrics import contract_metrics
from ml.forecast.forecast import forecast
from ml.forecast.model_version import MODEL_NAME
from ml.forecast.plant_series import MEMORY, SubjectSeries, machine_series
from ml.forecast.selection import SeriesTooShortError
from ml.registry.promotions import serving
from ml.serving.machine_routes import one_tenant, parse_horizon_hours, plant_clock

# Beyond a week the intervals of hourly metrics are as wide as the metric's whole range.
MOST_HOURS = 168


class ForecastRequest(BaseModel):
    """Which metric of which machine, and how far ahead."""

    equipment_id: str = Field(examples=["CNC-A-102"])
    metric: str = Field(examples=["temperature"], description="Contract name, with or without its unit.")
    forecast_horizon: str = Field(default="24_hours", examples=["24_hours", "3_days"])
    tenant_id: str | None = Field(default=None, description="Needed where two plants use the same id.")


class ForecastedValue(BaseModel):
    """One instant ahead."""

    timestamp: datetime
    value: float
    confidence_interval: tuple[float, float]


class ThresholdViolation(BaseModel):
    """A forecast value beyond a limit."""

    timestamp: datetime
    predicted_value: float
    threshold: float
    severity: str


class ForecastResponse(BaseModel):
    """The mission's answer, with method, version and instant behind it."""

    model_config = ConfigDict(protected_namespaces=())

    forecasted_values: list[ForecastedValue]
    threshold_violations: list[ThresholdViolation]
    recommendation: str
    equipment_id: str
    tenant_id: str
    metric: str
    as_of: datetime
    method: str
    interval_percent: float
    model: str
    model_version: str


def forecast_router(database_url: str) -> APIRouter:
    """The route over the warehouse and the promotion ledger."""
    router = APIRouter(tags=["inference"])

    @router.post("/v1/forecast", summary="A metric of a machine ahead", operation_id="forecast_metric")
    def forecast_metric(request: ForecastRequest) -> ForecastResponse:
        """Forecast a metric with intervals, limits that it is expected to cross, and what to do."""
        hours, names = _hours(request.forecast_horizon), metrics_called(request.metric)
        try:
            tenant_id = request.tenant_id or one_tenant(database_url, request.equipment_id)
            found = _series(database_url, tenant_id, request.equipment_id, names)
            version, choice = _served(database_url, tenant_id, request.equipment_id, found.metric)
            # A candidate that won for a day ahead need not win for a week.
            only = choice if hours <= 24 else None
            made = forecast(
                found.series, hours, request.equipment_id, found.metric, found.equipment_model, only=only
            )
        except (WarehouseNotBuiltError, SeriesTooShortError) as error:
            raise HTTPException(503, str(error)) from error
        return ForecastResponse(
            **made.to_json(),
            equipment_id=request.equipment_id,
            tenant_id=tenant_id,
            metric=found.metric,
            as_of=made.as_of,
            method=made.method,
            interval_percent=90.0,
            model=MODEL_NAME,
            model_version=version,
        )

    assert forecast_metric  # registered by its decorator
    return router


def _series(database_url: str, tenant_id: str, equipment_id: str, names: Sequence[str]) -> SubjectSeries:
    """The first of the metrics that the machine measures."""
    clock = plant_clock(database_url, tenant_id)
    history = read_machine(database_url, tenant_id, equipment_id, clock - MEMORY)
    measured = {found.metric: found for found in machine_series(history, clock)}
    for name in names:
        if name in measured:
            return measured[name]
    raise HTTPException(
        404,
        f"{equipment_id} of tenant {tenant_id} has no two weeks of {' or '.join(names)} in the 13 weeks "
        f"before {clock:%Y-%m-%d %H:%M} UTC, so nothing can be said about it.",
    )


def _served(database_url: str, tenant_id: str, equipment_id: str, metric: str) -> tuple[str, str | None]:
    """Version that serves the tenant and its candidate for the series, as its last forecasts name it."""
    with psycopg.connect(database_url) as connection:
        version = next(
            (
                row.model_version
                for row in serving(connection)
                if (row.tenant_id, row.model_name) == (tenant_id, MODEL_NAME)
            ),
            "unregistered",
        )
        row = connection.execute(
            "select method from ml.forecasts where tenant_id = %s and subject_kind = 'equipment'"
            " and subject_id = %s and metric = %s and model_version = %s order by as_of desc limit 1",
            (tenant_id, equipment_id, metric, version),
        ).fetchone()
    return version, row[0] if row else None


def metrics_called(text: str) -> tuple[str, ...]:
    """The contracts' names of a metric that is given with or without its unit; the exact one comes first.

    Two plants may call a metric alike with and without a unit: which one is meant, the machine tells.

    >>> metrics_called("temperature"), metrics_called("vibration")
    (('temperature_c',), ('vibration', 'vibration_mm_s'))
    """
    names = [metric.name for metric in contract_metrics()]
    called = [name for name in names if name.startswith(f"{text}_")]
    if text in names:
        return (text, *called)
    if not called:
        raise HTTPException(422, f"metric {text!r} is unknown; there are {', '.join(names)}.")
    return tuple(called)


def _hours(text: str) -> int:
    hours = parse_horizon_hours(text)
    if hours is None or not 1 <= hours <= MOST_HOURS:
        most = timedelta(hours=MOST_HOURS).days
        raise HTTPException(
            422, f"forecast_horizon {text!r} is not from 1_hours to {most}_days: write 24_hours or 3_days."
        )
    return hours
