"""Judge the failure model on any folder in the form of the Azure predictive-maintenance set.

Protocols, none with a row of a tested machine in what its model was trained or calibrated on:

- `forward`: the folds of `ml.training.folds` on the unbroken telemetry alone, as a plant would train.
- `transfer`: the booster learns from the machines that the unbroken telemetry does not have. Their hours
  are case-control (picked because a failure followed), so they teach the ranking and never the base rate:
  calibrator and threshold of each fold come from its training rows in the unbroken telemetry. How long a
  window of theirs is tells whether a failure follows (windows before failures run into each other), and a
  feature that looks back further than the windows reach would learn just that: such features, and the
  hours at the start of a window, are left out.

The operating point of `transfer` comes from costs (a missed failure ten visits, unless other prices are
given): without error codes the best F score would miss one failure in ten for fewer visits.

Targets: failure within each horizon; the same with error codes withheld; and a failure 24 to 48 h ahead with
the last day dropped, because the errors of this set stand 24 h before the failure and give the rest away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ml.datasets.azure_pdm import AzurePdm, read_azure_pdm
from ml.datasets.training_set import Provenance, TrainingSet, build_training_set
from ml.evaluation.costs import OperatingCosts
from ml.evaluation.report import EvaluationReport, OutOfFold, evaluate
from ml.features.build import feature_set_of
from ml.features.history import HOUR, PlantHistory
from ml.features.specs import FeatureSet
from ml.models.failure import FailureModel
from ml.training.fitting import (
    FailureParameters,
    HeldOut,
    best_row_threshold,
    calibrate,
    choose_threshold,
    fit_booster,
)
from ml.training.folds import forward_folds
from ml.training.train import recent_errors, train_failure_model

LAST_DAY = timedelta(hours=24)
# Calibrators have two parameters: a fifth of the time is enough before the first test, so that more
# failures are tested; three periods, so that the later ones are calibrated on what the earlier showed.
TRANSFER_FIRST_CUT = 0.2
TRANSFER_PERIODS = 3
# With four trees a round the week's calibration error falls from 0.033-0.041 to 0.035-0.037 over seeds.
TRANSFER_TREES = 4
# Metric features look back at most this far into case-control windows of two days ...
LONGEST_LOOK_BACK = timedelta(hours=24)
# ... and only from hours on at which half of that is there.
LEAST_UNBROKEN = timedelta(hours=12)


@dataclass(frozen=True)
class Judgement:
    """One protocol on one target.

    Attributes:
        protocol: `transfer` or `forward`.
        target: `24h`, `168h` or `24-48h`.
        has_error_codes: Whether errors were features.
        report: Metrics; the error rule in it always sees the errors.
    """

    protocol: str
    target: str
    has_error_codes: bool
    report: EvaluationReport

    def to_json(self) -> dict[str, Any]:
        """Names of the target, and the metrics."""
        return {
            "protocol": self.protocol,
            "target": self.target,
            "has_error_codes": self.has_error_codes,
            **self.report.metrics(),
        }


def judge_azure_pdm(
    folder: Path, horizons: tuple[timedelta, ...], parameters: FailureParameters | None = None
) -> list[Judgement]:
    """Run every protocol that the folder has data for.

    Args:
        folder: See `ml.datasets.azure_pdm.read_azure_pdm`.
        horizons: Horizons to judge.
        parameters: How to fit.
    """
    settings = parameters or FailureParameters()
    found = read_azure_pdm(folder)
    withheld = AzurePdm(
        replay=_without_errors(found.replay),
        elsewhere=None if found.elsewhere is None else _without_errors(found.elsewhere),
    )
    judged: list[Judgement] = []
    for horizon in horizons:
        target = f"{int(horizon / HOUR)}h"
        if found.elsewhere is not None:
            for data, has_errors in ((found, True), (withheld, False)):
                report = _transfer(data, found.replay, horizon, settings)
                judged.append(Judgement("transfer", target, has_errors, report))
        judged.append(Judgement("forward", target, True, _forward(found, horizon, settings)))
        if found.elsewhere is None:
            judged.append(Judgement("forward", target, False, _forward(withheld, horizon, settings)))
    if found.elsewhere is not None:
        report = _transfer(found, found.replay, 2 * LAST_DAY, settings, drop=LAST_DAY)
        judged.append(Judgement("transfer", "24-48h", True, report))
    else:
        report = _forward(found, 2 * LAST_DAY, settings, drop=LAST_DAY)
        judged.append(Judgement("forward", "24-48h", True, report))
    return judged


def _forward(
    data: AzurePdm, horizon: timedelta, settings: FailureParameters, drop: timedelta = timedelta(0)
) -> EvaluationReport:
    return train_failure_model(_rows(data.replay, horizon, drop=drop), settings).report


def _transfer(
    data: AzurePdm,
    with_errors: PlantHistory,
    horizon: timedelta,
    settings: FailureParameters,
    drop: timedelta = timedelta(0),
) -> EvaluationReport:
    assert data.elsewhere is not None
    # The other machines were seen all year, the tested ones for a season: the season would tell them apart.
    features = replace(feature_set_of(data.elsewhere), has_season=False)
    taught = _rows(data.elsewhere, horizon, features, drop)
    tested = _rows(data.replay, horizon, features, drop)
    errors = recent_errors(_rows(with_errors, horizon, drop=drop), np.arange(tested.keys.height))
    priced = replace(settings, costs=settings.costs or OperatingCosts())
    rows = np.flatnonzero(unbroken_for(taught.keys, data.elsewhere) >= LEAST_UNBROKEN / HOUR)
    booster = fit_booster(
        _without_long_windows(taught.values[rows], features),
        taught.is_failure[rows],
        features,
        replace(settings, parallel_trees=TRANSFER_TREES),
    )
    margin = np.asarray(booster.inplace_predict(tested.values, predict_type="margin"), dtype=np.float64)
    probability = np.full(len(margin), np.nan)
    is_alert, is_flagged = np.zeros(len(margin), dtype=bool), np.zeros(len(margin), dtype=bool)
    for fold in forward_folds(tested, first_cut=TRANSFER_FIRST_CUT, periods=TRANSFER_PERIODS):
        if not tested.is_failure[fold.train].any():
            continue
        calibrator = calibrate(tested, HeldOut(margin[fold.train], fold.train))
        before = calibrator.probability(margin[fold.train])
        threshold = choose_threshold(tested, fold.train, before, priced)
        model = FailureModel(booster, calibrator, threshold, tested.horizon_hours, features)
        probability[fold.test] = calibrator.probability(margin[fold.test])
        is_alert[fold.test] = model.is_alert(probability[fold.test])
        is_flagged[fold.test] = probability[fold.test] >= best_row_threshold(
            before, tested.is_failure[fold.train]
        )
    judged = np.flatnonzero(np.isfinite(probability))
    return evaluate(
        OutOfFold(
            keys=tested.keys[judged],
            probability=probability[judged],
            is_alert=is_alert[judged],
            is_failure=tested.is_failure[judged],
            has_recent_error=errors[judged],
            failures=tested.failures,
            horizon=horizon,
            is_flagged=is_flagged[judged],
        ),
        settings.costs,
    )


def unbroken_for(keys: pl.DataFrame, history: PlantHistory) -> np.ndarray:
    """Hours of unbroken telemetry before each row, shape (rows,).

    Args:
        keys: `equipment_id`, `hour_at`.
        history: What the rows were made from.
    """
    hours = history.metrics.select("equipment_id", "hour_at").sort("equipment_id", "hour_at")
    starts = (pl.col("hour_at").diff().over("equipment_id") != HOUR).fill_null(value=True)
    spans = hours.with_columns(starts.cum_sum().alias("span")).with_columns(
        (pl.col("hour_at") - pl.col("hour_at").min().over("span")).dt.total_hours().alias("unbroken")
    )
    found = keys.join(spans, on=["equipment_id", "hour_at"], how="left", maintain_order="left")
    return found["unbroken"].fill_null(0).to_numpy()


def _without_long_windows(values: np.ndarray, features: FeatureSet) -> np.ndarray:
    """A copy with the metric features that look back too far missing, so that no tree splits on them."""
    masked = values.copy()
    too_long = [
        spec.source == "metric" and _window(spec.window) > LONGEST_LOOK_BACK for spec in features.specs
    ]
    masked[:, too_long] = np.nan
    return masked


def _window(text: str) -> timedelta:
    return timedelta(**{{"h": "hours", "d": "days"}[text[-1]]: int(text[:-1])})


def _rows(
    history: PlantHistory,
    horizon: timedelta,
    features: FeatureSet | None = None,
    drop: timedelta = timedelta(0),
) -> TrainingSet:
    """All labelled rows; those with a failure within `drop` are left out."""
    clock = history.clock
    assert clock is not None
    data = build_training_set(history, horizon, clock, Provenance("files"), features)
    too_near = (data.keys["hours_to_failure"] <= drop / HOUR).fill_null(value=False).to_numpy()
    kept = np.flatnonzero(~too_near)
    return replace(data, keys=data.keys[kept], values=data.values[kept], is_failure=data.is_failure[kept])


def _without_errors(history: PlantHistory) -> PlantHistory:
    return replace(history, events=history.events.filter(pl.col("event_type") != "error"))


def by_horizon(judged: Sequence[Judgement]) -> dict[str, Any]:
    """The best-founded protocol per target, the others beside it: what `--json` prints.

    `transfer` is preferred where the folder has other machines; keys of a target are the metrics of
    `EvaluationReport.metrics`.
    """
    found: dict[str, Any] = {}
    for judgement in judged:
        name = judgement.target if judgement.has_error_codes else f"{judgement.target}_without_errors"
        entry = judgement.to_json()
        if name not in found:
            found[name] = {**entry, "protocols": {}}
        found[name]["protocols"][judgement.protocol] = entry
    return found
