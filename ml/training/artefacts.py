"""The three files of a plain artefact folder: `model.json`, `baseline.npy`, `expectations.json`.

`model.json` stands where a `model.pkl` would: booster, calibrator, threshold and feature list as data. A
pickle runs whatever it holds when it is loaded, and breaks with the next version of a library.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.drift.inline import DRIFT_Z, Baseline
from ml.features.specs import FeatureSet
from ml.models.failure import FailureModel
from ml.registry.client import BASELINE_FILE, EXPECTATIONS_FILE, UsualInput

MODEL_FILE = "model.json"
# A feature whose own training rows stand beyond z = 5 more often than this can't be judged by z: counts of
# rare errors do, and one error is an event and no drift.
MOST_BEYOND = 1e-4
# How far outside its training range a metric's feature may go, in parts of that range.
RANGE_MARGIN = 0.25


@dataclass(frozen=True)
class ArtefactFolder:
    """What was written where."""

    model: Path
    baseline: Path
    expectations: Path


def usual_input(values: np.ndarray, features: FeatureSet) -> UsualInput:
    """Baseline and expectation suite of training rows.

    Args:
        values: Shape (rows, features), NaN where missing.
        features: Columns.
    """
    baseline = Baseline.of_rows(values)
    mean, deviation = baseline.mean.copy(), baseline.deviation
    with np.errstate(divide="ignore", invalid="ignore"):
        beyond = np.abs(values - mean) > DRIFT_Z * np.where(deviation > 0, deviation, np.inf)
    has_values = ~np.isnan(values).all(axis=0)
    mean[(beyond.mean(axis=0) > MOST_BEYOND) | ~has_values | (deviation == 0)] = np.nan
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
        expectations.append(_expect("expect_column_to_exist", column=spec.name))
        if spec.source == "metric" and spec.window in ("3h", "24h"):
            low, high = float(known.min()), float(known.max())
            margin = RANGE_MARGIN * (high - low)
            limits = {"min_value": low - margin, "max_value": high + margin}
            expectations.append(_expect("expect_column_values_to_be_between", column=spec.name, **limits))
        elif spec.source == "error" and spec.unit == "1":
            limits = {"min_value": 0.0, "max_value": None}
            expectations.append(_expect("expect_column_values_to_be_between", column=spec.name, **limits))
        if known.size == column.size:
            expectations.append(_expect("expect_column_values_to_not_be_null", column=spec.name))
    return {"name": "failure-model-input", "expectations": expectations, "meta": {}}


def _expect(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": arguments, "meta": {}}
