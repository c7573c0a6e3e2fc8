"""Train and judge a failure model: folds for the judgement, all rows for the model that ships."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from ml.datasets.training_set import NotEnoughDataError, TrainingSet
from ml.evaluation.report import EvaluationReport, OutOfFold, evaluate
from ml.models.failure import FailureModel
from ml.training.fitting import FailureParameters, HeldOut, best_row_threshold, cross_fit, fit_model
from ml.training.folds import Fold, forward_folds

# Fewer than this cannot fill three machine groups with a failure on both sides of a cut.
LEAST_FAILURES = 6
LEAST_MACHINES = 4
# XGBoost lets go of Python's lock; each fit takes one core.
FOLDS_AT_ONCE = 2


@dataclass(frozen=True)
class TrainedFailureModel:
    """A model with its judgement.

    Attributes:
        model: Trained on all rows; calibrated on the out-of-fold rows, which are later than, and on other
            machines than, the rows of the boosters that scored them.
        out_of_fold: Predictions behind the report.
        report: Metrics with intervals and baselines.
        parameters: How it was trained.
        folds: Number of folds that gave the report.
        seconds: Wall time of folds and final fit.
    """

    model: FailureModel
    out_of_fold: OutOfFold
    report: EvaluationReport
    parameters: FailureParameters
    folds: int
    seconds: float


def train_failure_model(
    data: TrainingSet, parameters: FailureParameters | None = None
) -> TrainedFailureModel:
    """Judge on forward-chained folds grouped by machine, then train on everything.

    Raises:
        NotEnoughDataError: Too few machines, failures or time for the folds.
    """
    started = time.perf_counter()
    settings = parameters or FailureParameters()
    _require_enough(data)
    rows = data.keys.height
    probability = np.full(rows, np.nan)
    margin = np.full(rows, np.nan)
    is_alert, is_flagged = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    folds = [fold for fold in forward_folds(data) if _can_learn(data, fold)]
    with ThreadPoolExecutor(FOLDS_AT_ONCE) as pool:
        fitted = list(pool.map(partial(_fit_fold, data, settings), folds))
    for fold, (model, flag_from) in zip(folds, fitted, strict=True):
        margin[fold.test] = model.margin(data.values[fold.test])
        probability[fold.test] = model.calibrator.probability(margin[fold.test])
        is_alert[fold.test] = model.is_alert(probability[fold.test])
        is_flagged[fold.test] = probability[fold.test] >= flag_from
    judged = np.flatnonzero(np.isfinite(probability))
    if not len(judged) or not data.is_failure[judged].any():
        raise NotEnoughDataError(
            f"Tenant {data.tenant_id}, {data.horizon_hours} h: no failure falls into the tested half of the "
            f"history ({data.failures.height} failures in all). Land more history, then train again."
        )
    out_of_fold = _pooled(data, judged, probability, is_alert, is_flagged)
    final = fit_model(data, np.arange(rows), HeldOut(margin[judged], judged), settings)
    return TrainedFailureModel(
        model=final,
        out_of_fold=out_of_fold,
        report=evaluate(out_of_fold, settings.costs),
        parameters=settings,
        folds=len(folds),
        seconds=time.perf_counter() - started,
    )


def recent_errors(data: TrainingSet, rows: np.ndarray) -> np.ndarray:
    """Whether each row's machine reported an error in the last 24 h: the rule that a model must beat."""
    return data.values[rows, data.features.names.index("errors_24h")] > 0


def _pooled(
    data: TrainingSet,
    judged: np.ndarray,
    probability: np.ndarray,
    is_alert: np.ndarray,
    is_flagged: np.ndarray,
) -> OutOfFold:
    return OutOfFold(
        keys=data.keys[judged],
        probability=probability[judged],
        is_alert=is_alert[judged],
        is_failure=data.is_failure[judged],
        has_recent_error=recent_errors(data, judged),
        failures=data.failures,
        horizon=data.horizon,
        is_flagged=is_flagged[judged],
    )


def _fit_fold(data: TrainingSet, settings: FailureParameters, fold: Fold) -> tuple[FailureModel, float]:
    held_out = cross_fit(data, fold.train, settings)
    model = fit_model(data, fold.train, held_out, settings)
    said = model.calibrator.probability(held_out.margin)
    return model, best_row_threshold(said, data.is_failure[held_out.rows])


def _can_learn(data: TrainingSet, fold: Fold) -> bool:
    labels = data.is_failure[fold.train]
    failing = data.keys[fold.train[labels]]["equipment_id"].n_unique()
    return bool(len(labels)) and not labels.all() and failing >= 2


def _require_enough(data: TrainingSet) -> None:
    machines = data.keys["equipment_id"].n_unique()
    if data.failures.height >= LEAST_FAILURES and machines >= LEAST_MACHINES:
        return
    raise NotEnoughDataError(
        f"Tenant {data.tenant_id} has {machines} machines and {data.failures.height} failures; "
        f"training needs {LEAST_MACHINES} machines and {LEAST_FAILURES} failures."
    )
