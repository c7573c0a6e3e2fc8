"""From the warehouse to stored forecasts of every series of a tenant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg

from ml.forecast.model_version import (
    MODEL_NAME,
    SeriesForecast,
    forecast_all,
    load_choices,
    tenant_series,
)
from ml.registry.client import ModelRegistry

_FORECASTS = (
    "copy ml.forecasts (tenant_id, subject_kind, subject_id, metric, as_of, forecast_at, value, lower, upper,"
    " method, model_version, known_at) from stdin"
)
_VIOLATIONS = (
    "copy ml.forecast_violations (tenant_id, subject_kind, subject_id, metric, as_of, forecast_at,"
    " predicted_value, threshold, severity, model_version, known_at) from stdin"
)


@dataclass(frozen=True)
class ForecastOutcome:
    """What a forecasting run did for one tenant.

    Attributes:
        tenant_id: Owner.
        as_of: Plant clock; None where nothing landed.
        model_version: What forecasts; empty without a champion.
        forecasts: Of every series.
        note: Why there are none.
    """

    tenant_id: str
    as_of: datetime | None
    model_version: str
    forecasts: tuple[SeriesForecast, ...]
    note: str

    @property
    def violations(self) -> int:
        """Forecast values beyond a limit."""
        return sum(len(found.forecast.violations) for found in self.forecasts)


def forecast_tenant(
    database_url: str, registry: ModelRegistry, tenant_id: str, as_of: datetime | None = None
) -> ForecastOutcome:
    """Forecast every series of a tenant and store values and crossings."""
    champion = registry.by_alias(MODEL_NAME, "champion", tenant_id)
    if champion is None:
        note = f"no champion of {MODEL_NAME} yet: materialize model/forecast, then model/signal_promotions"
        return ForecastOutcome(tenant_id, None, "", (), note)
    series, clock = tenant_series(database_url, tenant_id, as_of)
    if clock is None or not series:
        return ForecastOutcome(tenant_id, clock, champion.version, (), "no series is two weeks long yet")
    found = tuple(forecast_all(series, choices=load_choices(registry, champion)))
    with psycopg.connect(database_url) as connection:
        store(connection, tenant_id, clock, champion.version, found)
    return ForecastOutcome(tenant_id, clock, champion.version, found, "")


def store(
    connection: psycopg.Connection,
    tenant_id: str,
    clock: datetime,
    version: str,
    forecasts: Sequence[SeriesForecast],
) -> None:
    """Write forecasts made at one instant; the same instant again replaces them."""
    with connection.cursor() as cursor:
        for table in ("ml.forecasts", "ml.forecast_violations"):
            cursor.execute(
                f"delete from {table} where tenant_id = %s and as_of = %s".encode(),  # noqa: S608
                (tenant_id, clock),
            )
        with cursor.copy(_FORECASTS) as copy:
            for found in forecasts:
                of, made = found.subject, found.forecast
                rows = zip(made.instants, made.values, made.lower, made.upper, strict=True)
                for instant, value, lower, upper in rows:
                    key = (tenant_id, of.subject_kind, of.subject_id, of.metric, clock, instant)
                    copy.write_row(
                        (*key, float(value), float(lower), float(upper), made.method, version, clock)
                    )
        with cursor.copy(_VIOLATIONS) as copy:
            for found in forecasts:
                of = found.subject
                for each in found.forecast.violations:
                    key = (tenant_id, of.subject_kind, of.subject_id, of.metric, clock, each.at)
                    copy.write_row(
                        (*key, each.predicted_value, each.threshold, each.severity, version, clock)
                    )
