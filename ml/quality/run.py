"""Predict the class of a tenant's latest lots with what serves, and store the predictions."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import psycopg

from ml.datasets.warehouse import plant_now
from ml.quality.inspections import CLASSES, Inspections, read_inspections
from ml.quality.model_version import DATA_ENDS_AT, MODEL_NAME, load_quality
from ml.registry.client import ModelRegistry

LOOK_BACK = timedelta(days=14)
_UPSERT = """
insert into ml.quality_predictions (
    tenant_id, inspection_id, equipment_id, inspected_at, quality_class, predicted_class, probabilities,
    model_version, known_at
) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (tenant_id, inspection_id) do update set
    quality_class = excluded.quality_class,
    predicted_class = excluded.predicted_class,
    probabilities = excluded.probabilities,
    model_version = excluded.model_version,
    known_at = excluded.known_at
where ml.quality_predictions.model_version <> excluded.model_version
"""


@dataclass(frozen=True)
class QualityOutcome:
    """What a prediction run did for one tenant.

    Attributes:
        tenant_id: Owner.
        as_of: Plant clock; None where nothing landed.
        model_version: What predicts; empty without a champion.
        lots: Lots of the last two weeks.
        unseen: Those that were inspected after the version's training data ended.
        agreed: Of the unseen, those whose predicted class is the inspected one.
        note: Why there are none.
    """

    tenant_id: str
    as_of: datetime | None
    model_version: str
    lots: int
    unseen: int
    agreed: int
    note: str


def predict_quality(
    database_url: str, registry: ModelRegistry, tenant_id: str, as_of: datetime | None = None
) -> QualityOutcome:
    """Predict every lot of the last two weeks; a lot keeps its row while the same version predicts."""
    clock = as_of or plant_now(database_url, tenant_id)
    if clock is None:
        return QualityOutcome(tenant_id, None, "", 0, 0, 0, "nothing landed yet")
    champion = registry.by_alias(MODEL_NAME, "champion", tenant_id)
    if champion is None:
        note = f"no champion of {MODEL_NAME} yet: materialize model/quality, then model/signal_promotions"
        return QualityOutcome(tenant_id, clock, "", 0, 0, 0, note)
    lots = read_inspections(database_url, tenant_id, as_of)
    model = load_quality(registry, champion)
    values = _in_order_of(model.features, lots)
    recent = np.flatnonzero((lots.keys["event_at"] > clock - LOOK_BACK).to_numpy())
    if not len(recent):
        return QualityOutcome(tenant_id, clock, champion.version, 0, 0, 0, "no lot in the last two weeks")
    probability = model.probability(values[recent])
    predicted = probability.argmax(axis=1)
    rows = [
        (
            tenant_id,
            inspection_id,
            equipment_id,
            event_at,
            quality_class,
            CLASSES[int(label)],
            json.dumps({name: round(float(p), 4) for name, p in zip(CLASSES, shares, strict=True)}),
            champion.version,
            clock,
        )
        for (inspection_id, equipment_id, event_at, quality_class), label, shares in zip(
            lots.keys[recent].iter_rows(), predicted, probability, strict=True
        )
    ]
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.executemany(_UPSERT, rows)
    ends_at = datetime.fromisoformat(champion.tags[DATA_ENDS_AT])
    is_unseen = (lots.keys["event_at"][recent] > ends_at).to_numpy()
    agreed = int((predicted == lots.labels[recent])[is_unseen].sum())
    return QualityOutcome(tenant_id, clock, champion.version, len(rows), int(is_unseen.sum()), agreed, "")


def _in_order_of(features: tuple[str, ...], lots: Inspections) -> np.ndarray:
    """Columns as the model knows them; one that is not there any more is missing in every row."""
    index = {name: column for column, name in enumerate(lots.features)}
    values = np.full((len(lots.values), len(features)), np.nan, dtype=np.float32)
    for column, name in enumerate(features):
        if name in index:
            values[:, column] = lots.values[:, index[name]]
    return values
