"""The leakage probe: a training set as known at T must not change by anything that became known later.

Two ways in which the future gets into a past row: the history is cut wrongly, or a window or label looks
past its instant. Both are tried on real rows, with the future disturbed and with the future there.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from ml.datasets.training_set import NotEnoughDataError, Provenance, TrainingSet, build_training_set
from ml.features.build import USUAL_DELAY, FeatureFrame, build_features, feature_set_of
from ml.features.history import HOUR, PlantHistory

# A leak is in the code and not in one machine: a few show it, and training waits for the probe.
MACHINES_PROBED = 3
_PROVENANCE = Provenance("leakage probe")


@dataclass(frozen=True)
class LeakageReport:
    """What was rebuilt and what differed.

    Attributes:
        as_of: The instant T.
        rows: Rows of the training set as known at T.
        leaked: Rows whose presence, label or feature values depend on what became known after T.
        columns: Features that differ, in order.
    """

    as_of: datetime
    rows: int
    leaked: int
    columns: tuple[str, ...]


def probe_leakage(history: PlantHistory, horizon: timedelta, as_of: datetime) -> LeakageReport:
    """Rebuild a past training set with the future disturbed, and past rows with the future present.

    Args:
        history: All that is known now.
        horizon: Of the labels.
        as_of: T, inside the history.
    """
    sample = _some_machines(history)
    features = feature_set_of(sample.known_at(as_of))
    try:
        then = build_training_set(sample, horizon, as_of, _PROVENANCE, features)
        disturbed = build_training_set(disturb_after(sample, as_of), horizon, as_of, _PROVENANCE, features)
    except NotEnoughDataError:
        return LeakageReport(as_of, 0, 0, ())
    by_future, columns = _differing(_Rows.of(then), _Rows.of(disturbed), as_of)
    # Labelled rows end one horizon before T, so a window could look that far ahead unseen: the features of
    # every hour are compared too, but for what came within the usual delay after T, which counts by rule.
    # Hours that came late are in no window by rule: today they are empty rows, then they were none.
    came_late = (pl.col("known_at") > as_of) & (pl.col("hour_at") <= as_of)
    grown = replace(sample, metrics=sample.metrics.filter(~came_late))
    frames = [build_features(known, features) for known in (sample.known_at(as_of), grown)]
    by_growth, more = _differing(*map(_Rows.of_frame, frames), until=as_of - USUAL_DELAY)
    return LeakageReport(
        as_of, then.keys.height, by_future + by_growth, tuple(dict.fromkeys([*columns, *more]))
    )


def disturb_after(history: PlantHistory, instant: datetime, seed: int = 5) -> PlantHistory:
    """The same history with everything that became known after an instant made nonsense of.

    Metrics are shuffled over machines and hours and scaled; events change machine, type and code.
    """
    rng = np.random.default_rng(seed)
    metrics, events = history.metrics, history.events
    later, known = metrics.filter(pl.col("known_at") > instant), metrics.filter(pl.col("known_at") <= instant)
    values = [name for name in metrics.columns if name not in ("equipment_id", "hour_at", "known_at")]
    shuffled = later.with_columns(
        (later[name].gather(rng.permutation(later.height)) * -3.0).alias(name) for name in values
    )
    ahead = events.filter(pl.col("known_at") > instant)
    moved = ahead.with_columns(
        ahead[name].gather(rng.permutation(ahead.height)).alias(name)
        for name in ("equipment_id", "event_type", "code")
    )
    return replace(
        history,
        metrics=pl.concat([known, shuffled]).sort("equipment_id", "hour_at"),
        events=pl.concat([events.filter(pl.col("known_at") <= instant), moved]),
    )


def _some_machines(history: PlantHistory) -> PlantHistory:
    busiest = history.failures["equipment_id"].value_counts(sort=True)["equipment_id"]
    machines = pl.concat([busiest, history.metrics["equipment_id"].unique().sort()]).unique(
        maintain_order=True
    )
    chosen = pl.col("equipment_id").is_in(machines.head(MACHINES_PROBED).implode())
    return replace(
        history,
        metrics=history.metrics.filter(chosen),
        events=history.events.filter(chosen),
        equipment=history.equipment.filter(chosen),
    )


@dataclass(frozen=True)
class _Rows:
    keys: pl.DataFrame
    values: np.ndarray
    is_failure: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, data: TrainingSet) -> "_Rows":
        keys = data.keys.select("equipment_id", "hour_at")
        return cls(keys, data.values, data.is_failure, data.features.names)

    @classmethod
    def of_frame(cls, frame: FeatureFrame) -> "_Rows":
        return cls(frame.keys, frame.values, np.zeros(frame.keys.height, dtype=bool), frame.names)

    def up_to(self, instant: datetime) -> pl.DataFrame:
        return self.keys.with_row_index("row").filter(pl.col("hour_at") <= instant)


def _differing(then: _Rows, other: _Rows, until: datetime) -> tuple[int, list[str]]:
    """Rows up to an instant that are in one set alone, or differ in label or values; and the columns."""
    left, right = then.up_to(until), other.up_to(until)
    both = left.join(right, on=["equipment_id", "hour_at"], how="inner", suffix="_other")
    alone = left.height + right.height - 2 * both.height
    mine, theirs = both["row"].to_numpy(), both["row_other"].to_numpy()
    is_equal = np.isclose(then.values[mine], other.values[theirs], rtol=1e-4, atol=1e-4, equal_nan=True)
    labels_differ = then.is_failure[mine] != other.is_failure[theirs]
    columns = [name for index, name in enumerate(then.names) if not bool(is_equal[:, index].all())]
    return alone + int((labels_differ | ~is_equal.all(axis=1)).sum()), columns


def probe_instant(history: PlantHistory) -> datetime:
    """Two thirds into the history, on the hour: enough before it for windows, enough after to disturb."""
    first, last = history.metrics["hour_at"].min(), history.metrics["hour_at"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return first + timedelta(hours=int((last - first) * 2 / 3 / HOUR))
