"""The same judgement per machine model: a pooled figure can hide a kind of machine that is never foreseen."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from ml.datasets.training_set import TrainingSet
from ml.evaluation.events import EventScore, observe, score_events
from ml.evaluation.intervals import Estimate, wilson
from ml.evaluation.probability import average_precision
from ml.evaluation.report import OutOfFold


@dataclass(frozen=True)
class Segment:
    """Machines of one model.

    Attributes:
        name: Machine model.
        machines: How many were judged.
        events: Counts of alerts and failures.
        recall: With its interval.
        precision: With its interval.
        average_precision: Over the segment's machine-hours; NaN without a failure.
    """

    name: str
    machines: int
    events: EventScore
    recall: Estimate
    precision: Estimate
    average_precision: float


def by_equipment_model(data: TrainingSet, found: OutOfFold) -> list[Segment]:
    """Judge each machine model by itself, in the order of their names.

    Args:
        data: Where the machines' models stand, as columns.
        found: Out-of-fold predictions of these rows.
    """
    segments: list[Segment] = []
    for model in data.features.equipment_models:
        column = data.values[:, data.features.names.index(f"is_model_{model}")] == 1.0
        machines = data.keys.filter(pl.Series(column))["equipment_id"].unique()
        rows = found.keys["equipment_id"].is_in(machines.implode()).to_numpy()
        if rows.any():
            segments.append(_segment(model, _rows_of(found, np.flatnonzero(rows))))
    return segments


def _segment(name: str, found: OutOfFold) -> Segment:
    observed = observe(found.keys, found.failures, found.horizon)
    events = score_events(observed, found.is_alert)
    return Segment(
        name=name,
        machines=observed.machine_count,
        events=events,
        recall=wilson(events.recalled, events.failures),
        precision=wilson(events.right_alert_events, events.alert_events),
        average_precision=average_precision(found.probability, found.is_failure),
    )


def _rows_of(found: OutOfFold, rows: np.ndarray) -> OutOfFold:
    return replace(
        found,
        keys=found.keys[rows],
        probability=found.probability[rows],
        is_alert=found.is_alert[rows],
        is_failure=found.is_failure[rows],
        has_recent_error=found.has_recent_error[rows],
        is_flagged=None if found.is_flagged is None else found.is_flagged[rows],
    )
