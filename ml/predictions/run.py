"""One tenant and horizon, from the warehouse to stored predictions; and the same for past instants."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from ml.datasets.warehouse import plant_now, read_history, tenants
from ml.models.horizons import Horizon
from ml.predictions.batch import FailurePrediction, earliest_hour, predict_at, predict_latest
from ml.predictions.store import store_predictions
from ml.registry.client import ModelRegistry, NoChampionError

NO_DELAY = timedelta(0)


@dataclass(frozen=True)
class PredictionOutcome:
    """What a prediction run did for one tenant and horizon.

    Attributes:
        tenant_id: Owner.
        horizon_hours: Horizon.
        as_of: Instant scored; None where nothing landed yet.
        model_version: What predicted; empty without a champion.
        predictions: One per machine.
        note: Why there are none.
    """

    tenant_id: str
    horizon_hours: int
    as_of: datetime | None
    model_version: str
    predictions: tuple[FailurePrediction, ...]
    note: str

    @property
    def alerts(self) -> int:
        """Machines whose probability reaches the alert threshold."""
        return sum(found.is_alert for found in self.predictions)


def predict_tenant(
    database_url: str,
    registry: ModelRegistry,
    tenant_id: str,
    horizon: Horizon,
    as_of: datetime | None = None,
    run_id: str | None = None,
    data_delay: timedelta = NO_DELAY,
) -> PredictionOutcome:
    """Predict every machine with the champion and store the result.

    Args:
        database_url: The opsgraph database.
        registry: Where the champion is.
        tenant_id: Whose machines.
        horizon: Which model.
        as_of: Score as known at this instant; at the plant clock, with all that is known, by default.
        run_id: Orchestrator's run, kept with the rows.
        data_delay: How long before that instant is scored, so that readings which came late are there.
    """
    known = as_of or plant_now(database_url, tenant_id)
    if known is None:
        return PredictionOutcome(tenant_id, horizon.hours, None, "", (), "nothing landed yet")
    instant = known - data_delay
    try:
        served = registry.load_champion(horizon.model_name, tenant_id)
    except NoChampionError as error:
        return PredictionOutcome(tenant_id, horizon.hours, instant, "", (), str(error))
    found = read_history(database_url, tenant_id, as_of, since=earliest_hour([instant]))
    predictions = predict_latest(found.history, served.model, instant)
    with psycopg.connect(database_url) as connection:
        store_predictions(connection, predictions, served.version, found.provenance.source_vector, run_id)
    return PredictionOutcome(
        tenant_id, horizon.hours, instant, served.version.version, tuple(predictions), ""
    )


def predict_tenants(
    database_url: str,
    registry: ModelRegistry,
    horizons: Sequence[Horizon],
    as_of: datetime | None = None,
    run_id: str | None = None,
    data_delay: timedelta = NO_DELAY,
) -> list[PredictionOutcome]:
    """Predict for every tenant of the warehouse and every horizon."""
    return [
        predict_tenant(database_url, registry, tenant_id, horizon, as_of, run_id, data_delay)
        for tenant_id in tenants(database_url)
        for horizon in horizons
    ]


def backfill_tenant(
    database_url: str,
    registry: ModelRegistry,
    tenant_id: str,
    horizon: Horizon,
    instants: Sequence[datetime],
    run_id: str | None = None,
) -> int:
    """Predict at past instants with today's champion, one computation of features for all of them.

    The champion may have been trained on rows after these instants: such a history shows what the model
    says about the past, never how well it foresaw it. Returns how many rows were written.

    Raises:
        NoChampionError: Nothing serves this tenant.
    """
    served = registry.load_champion(horizon.model_name, tenant_id)
    found = read_history(database_url, tenant_id, since=earliest_hour(instants))
    predictions = predict_at(found.history, served.model, instants)
    with psycopg.connect(database_url) as connection:
        return store_predictions(
            connection, predictions, served.version, found.provenance.source_vector, run_id
        )


def daily_instants(first: datetime, last: datetime) -> list[datetime]:
    """The instants one day apart from `first` to `last`, both included where they fit."""
    return [first + timedelta(days=day) for day in range((last - first).days + 1)]
