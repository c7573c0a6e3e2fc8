"""A training set: labelled feature rows of one tenant and horizon, as known at one instant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from ml.datasets.digest import history_digest
from ml.datasets.labels import label_hours
from ml.features.build import FeatureFrame, build_features, count_late_hours, feature_set_of
from ml.features.history import PlantHistory
from ml.features.specs import FeatureSet


class NotEnoughDataError(ValueError):
    """A tenant has too little to train on; the message says what there is and what is needed."""


@dataclass(frozen=True)
class Provenance:
    """Where the rows came from.

    Attributes:
        query: The exact SQL, or the files.
        source_vector: Topic/partition → highest offset that was known.
        label_disagreements: Hours whose label differs from the warehouse's; None where not compared.
    """

    query: str
    source_vector: Mapping[str, int] = field(default_factory=dict[str, int])
    label_disagreements: int | None = None


@dataclass(frozen=True)
class TrainingSet:
    """Labelled rows, sorted by machine and hour; every row is mature and outside incident periods.

    Attributes:
        tenant_id: Owner.
        horizon: How far ahead a failure counts.
        as_of: What was known by then went in.
        keys: `equipment_id`, `hour_at`, `hours_to_failure`, `next_component`.
        values: Features, shape (rows, features), float32.
        is_failure: Label, shape (rows,), bool.
        features: What the columns are.
        failures: `equipment_id`, `failure_at`, `component`, all that were known.
        data_digest: Digest of the history that everything was computed from.
        provenance: Query and source vector.
        counts: Rows read, late, immature, in incidents, kept.
    """

    tenant_id: str
    horizon: timedelta
    as_of: datetime
    keys: pl.DataFrame
    values: np.ndarray
    is_failure: np.ndarray
    features: FeatureSet
    failures: pl.DataFrame
    data_digest: str
    provenance: Provenance
    counts: Mapping[str, int]

    @property
    def horizon_hours(self) -> int:
        """The horizon in hours."""
        return int(self.horizon / timedelta(hours=1))

    def summary(self) -> dict[str, Any]:
        """What a run's parameters say about the data."""
        first, last = self.keys["hour_at"].min(), self.keys["hour_at"].max()
        return {
            "tenant": self.tenant_id,
            "as_of": self.as_of.isoformat(),
            "rows": self.keys.height,
            "machines": self.keys["equipment_id"].n_unique(),
            "failures": self.failures.height,
            "positive_rows": int(self.is_failure.sum()),
            "first_hour": str(first),
            "last_hour": str(last),
            "features": len(self.features.names),
            **{f"rows_{name}": count for name, count in self.counts.items()},
        }


def build_training_set(
    history: PlantHistory,
    horizon: timedelta,
    as_of: datetime,
    provenance: Provenance,
    features: FeatureSet | None = None,
    frame: FeatureFrame | None = None,
    labels_until: datetime | None = None,
) -> TrainingSet:
    """Label and select the rows of a history as known at `as_of`.

    Args:
        history: All that was read; what became known after `as_of` is left out here too.
        horizon: How far ahead a failure counts.
        as_of: UTC-aware instant.
        provenance: Where the history came from.
        features: Columns to make; what the tenant has by default.
        frame: Features of exactly this history, where two horizons share them.
        labels_until: Instant up to which failures are known, where that is before the clock.

    Raises:
        NotEnoughDataError: No row is left.
    """
    known = history.known_at(as_of)
    clock = known.clock
    if clock is None:
        raise NotEnoughDataError(
            f"Tenant {history.tenant_id} has no readings known by {as_of:%Y-%m-%d %H:%M}."
        )
    if frame is None:
        frame = build_features(known, features or feature_set_of(known))
    label_clock = min(clock, as_of, labels_until or as_of)
    labels = label_hours(frame.keys, known, horizon, label_clock)
    usable = labels["is_usable"].to_numpy()
    immature = int(labels["is_failure"].null_count())
    if not usable.any():
        raise NotEnoughDataError(
            f"Tenant {history.tenant_id} has {labels.height} machine-hours known by {as_of:%Y-%m-%d %H:%M}, "
            f"none with a mature label for the {horizon} horizon ({immature} are too recent)."
        )
    return TrainingSet(
        tenant_id=history.tenant_id,
        horizon=horizon,
        as_of=as_of,
        keys=labels.filter(labels["is_usable"]).drop("is_failure", "is_usable"),
        values=frame.values[usable],
        is_failure=labels.filter(labels["is_usable"])["is_failure"].to_numpy().astype(bool),
        features=frame.features,
        failures=known.failures,
        # Labels that end early are another training set from the same history.
        data_digest=history_digest(known) + ("" if label_clock >= clock else f"-{label_clock:%Y%m%dT%H}"),
        provenance=provenance,
        counts={
            "read": history.metrics.height,
            "known": known.metrics.height,
            "late": count_late_hours(known),
            "immature": immature,
            "excluded": int(labels.height - immature - usable.sum()),
        },
    )
