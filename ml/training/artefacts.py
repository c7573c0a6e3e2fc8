"""The three files of a plain artefact folder: `model.json`, `baseline.npy`, `expectations.json`.

`model.json` stands where a `model.pkl` would: booster, calibrator, threshold and feature list as data. A
pickle runs whatever it holds when it is loaded, and breaks with the next version of a library.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ml.datasets.training_set import TrainingSet
from ml.drift.inline import DRIFT_Z, Baseline
from ml.features.specs import FeatureSet
from ml.models.failure import FailureModel
from ml.registry.client import BASELINE_FILE, EXPECTATIONS_FILE, UsualInput

MODEL_FILE = "model.json"
# A feature whose own training rows stand beyond z = 5 more often than this can't be judged by z.
MOST_BEYOND = 0.002
# A machine's first hours have windows of a few readings, whose means scatter more than any drift.
WARM_UP = timedelta(hours=24)
# Mean and deviation of every n-th hour are those of all; 876,000 rows in double precision would take 1.3 GiB.
MOST_ROWS = 100_000
# How far outside its training range a metric's feature may go, in parts of that range.
RANGE_MARGIN = 0.25


@dataclass(frozen=True)
class ArtefactFolder:
    """What was written where."""

    model: Path
    baseline: Path
    expectations: Path


def usual_input(data: TrainingSet) -> UsualInput:
    """Baseline and expectation suite of the rows that no failure follows, after each machine's first day.

    The baseline watches readings alone: an error, a repair or an hour without one is an event, and a count
    of rare errors is at z = 7 with the first of them. Those columns are NaN in it.
    """
    age = data.keys.select(pl.col("hour_at") - pl.col("hour_at").min().over("equipment_id")).to_series()
    normal = np.flatnonzero((age >= WARM_UP).to_numpy() & ~data.is_failure)
    values, features = data.values[normal[:: 1 + len(normal) // MOST_ROWS]], data.features
    baseline = Baseline.of_rows(values)
    mean, deviation = baseline.mean.copy(), baseline.deviation
    with np.errstate(divide="ignore", invalid="ignore"):
        beyond = np.abs(values - mean) > DRIFT_Z * np.where(deviation > 0, deviation, np.inf)
    is_reading = np.asarray([spec.source == "metric" for spec in features.specs])
    has_values = ~np.isnan(values).all(axis=0) & (deviation > 0)
    mean[~is_reading | ~has_values | (beyond.mean(axis=0) > MOST_BEYOND)] = np.nan
    return UsualInput(Baseline(mean, deviation).to_array(), _suite(values, features))


def write_artefacts(model: FailureModel, usual: UsualInput, folder: Path) -> ArtefactFolder:
    """Write a model with what was usual in its training; the service reads exactly these files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = ArtefactFolder(folder / MODEL_FILE, folder / BASELINE_FILE, folder / EXPECTATIONS_FILE)
    # The model last: a service that watches the folder takes the new one when all its files are there.
    if usual.baseline is not None:
        np.save(written.baseline, usual.baseline, allow_pickle=False)
    if usual.expectations is not None:
        written.expectations.write_text(json.dumps(usual.expectations, indent=1) + "\n")
    waiting = written.model.with_suffix(".part")
    waiting.write_text(json.dumps(model.to_json()) + "\n")
    waiting.replace(written.model)
    return written


def _suite(values: np.ndarray, features: FeatureSet) -> Mapping[str, Any]:
    expectations: list[dict[str, Any]] = []
    for index, spec in enumerate(features.specs):
        column = values[:, index]
        known = column[~np.isnan(column)]
        if not known.size:
            continue
        if spec.source == "metric" and spec.window in ("3h", "24h"):
            low, high = float(known.min()), float(known.max())
            margin = RANGE_MARGIN * (high - low)
            limits = {"min_value": low - margin, "max_value": high + margin}
            expectations.append(_expect("expect_column_values_to_be_between", column=spec.name, **limits))
        elif spec.source == "error" and spec.unit == "1":
            limits = {"min_value": 0.0, "max_value": None}
            expectations.append(_expect("expect_column_values_to_be_between", column=spec.name, **limits))
        if spec.name.endswith("_mean_24h") and known.size == column.size:
            expectations.append(_expect("expect_column_values_to_not_be_null", column=spec.name))
    return {"name": "failure-model-input", "expectations": expectations, "meta": {}}


def _expect(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": arguments, "meta": {}}
