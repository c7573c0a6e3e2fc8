"""Fit one failure model: booster, then calibrator and threshold on machines that it did not see."""

from dataclasses import asdict, dataclass
from hashlib import blake2b
from os import cpu_count

import numpy as np
import polars as pl
import xgboost as xgb

from ml.datasets.training_set import TrainingSet
from ml.evaluation.costs import OperatingCosts
from ml.evaluation.events import ObservedHours, observe, score_events
from ml.features.specs import FeatureSet
from ml.models.calibration import Calibrator, fit_calibrator
from ml.models.failure import FailureModel

# Below this, threads of one fit cost more at their barriers than they bring; folds run side by side instead.
# On a machine with 18 runnable processes on 2 cores, two threads per fit took 90 s where one takes 10.
MANY_ROWS = 200_000


@dataclass(frozen=True)
class FailureParameters:
    """Everything that decides a fit, apart from its data.

    Attributes:
        trees: Boosting rounds.
        max_depth: Depth of a tree.
        learning_rate: Shrinkage.
        min_child_weight: Least Hessian sum in a leaf.
        subsample: Rows per tree.
        colsample: Features per tree.
        reg_lambda: L2 penalty on leaf values.
        negative_stride: Every n-th negative hour is trained on; neighbouring hours of a healthy machine
            hardly differ, and the calibrator restores the base rate.
        most_negatives: With more negative hours than this after the stride, the stride grows.
        inner_groups: Machine groups that calibrator and threshold are cross-fitted over.
        parallel_trees: Trees per round, averaged: they steady a fit on few failures.
        alert_beta: Weight of event recall against event precision in the choice of the threshold.
        costs: Prices and crew hours; with them the threshold is the cheapest affordable one instead.
        seed: Of row and feature sampling.
    """

    trees: int = 60
    max_depth: int = 4
    learning_rate: float = 0.15
    min_child_weight: float = 1.0
    subsample: float = 0.8
    colsample: float = 0.5
    reg_lambda: float = 2.0
    negative_stride: int = 3
    most_negatives: int = 40_000
    inner_groups: int = 2
    parallel_trees: int = 1
    alert_beta: float = 1.0
    costs: OperatingCosts | None = None
    seed: int = 7

    @property
    def digest(self) -> str:
        """Short digest: two fits with equal digests and equal data are the same model."""
        return blake2b(repr(sorted(asdict(self).items())).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class HeldOut:
    """Margins of rows by boosters that saw neither these rows nor, in their fold, their machines."""

    margin: np.ndarray
    rows: np.ndarray


def fit_booster(
    values: np.ndarray,
    is_failure: np.ndarray,
    features: FeatureSet,
    parameters: FailureParameters,
    among: np.ndarray | None = None,
) -> xgb.Booster:
    """Train on rows in order of machine and hour.

    Args:
        values: Shape (rows, features).
        is_failure: Shape (rows,), bool.
        features: Names of the columns; counts of errors may only raise the risk.
        parameters: How to train.
        among: Rows to train on; all of them by default. Taken here, after the negatives are thinned out: a
            copy of all rows of a fold is 120 MB for a year of 100 machines.
    """
    chosen = np.arange(len(is_failure)) if among is None else among
    negatives = chosen[~is_failure[chosen]]
    negatives = negatives[:: max(parameters.negative_stride, len(negatives) // parameters.most_negatives)]
    rows = np.sort(np.concatenate([chosen[is_failure[chosen]], negatives]))
    threads = 1 if len(rows) < MANY_ROWS else cpu_count() or 1
    matrix = xgb.QuantileDMatrix(
        values[rows], label=is_failure[rows].astype(np.float32), max_bin=64, nthread=threads
    )
    # An error more never speaks for a healthier machine; unconstrained trees learn such steps from noise.
    rising = [int(spec.source == "error" and spec.unit == "1") for spec in features.specs]
    settings = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_bin": 64,
        "max_depth": parameters.max_depth,
        "eta": parameters.learning_rate,
        "min_child_weight": parameters.min_child_weight,
        "subsample": parameters.subsample,
        "colsample_bytree": parameters.colsample,
        "num_parallel_tree": parameters.parallel_trees,
        "lambda": parameters.reg_lambda,
        "seed": parameters.seed,
        "monotone_constraints": "(" + ",".join(map(str, rising)) + ")",
        "nthread": threads,
        "verbosity": 0,
    }
    booster = xgb.train(settings, matrix, num_boost_round=parameters.trees)
    # Named afterwards: a matrix with names is compared with the booster's in every round.
    booster.feature_names = list(features.names)
    return booster


def machine_groups(keys: pl.DataFrame, failures: pl.DataFrame, groups: int) -> np.ndarray:
    """Group of each row; machines are dealt out by their number of failures, so groups resemble each other.

    Args:
        keys: `equipment_id` per row.
        failures: `equipment_id` per failure.
        groups: How many; less when there are fewer machines.
    """
    counted = dict(failures["equipment_id"].value_counts().iter_rows())
    machines = sorted(keys["equipment_id"].unique().to_list(), key=lambda name: (-counted.get(name, 0), name))
    dealt = {machine: position % groups for position, machine in enumerate(machines)}
    return keys["equipment_id"].replace_strict(dealt, return_dtype=pl.Int64).to_numpy()


def cross_fit(data: TrainingSet, rows: np.ndarray, parameters: FailureParameters) -> HeldOut:
    """Margins for rows from boosters trained on the other machine groups of the same rows."""
    groups = machine_groups(data.keys[rows], data.failures, parameters.inner_groups)
    margin = np.full(len(rows), np.nan)
    for group in range(parameters.inner_groups):
        held, others = rows[groups == group], rows[groups != group]
        if len(held) and data.is_failure[others].any():
            booster = fit_booster(data.values, data.is_failure, data.features, parameters, others)
            margin[groups == group] = booster.inplace_predict(data.values[held], predict_type="margin")
    usable = np.isfinite(margin)
    return HeldOut(margin[usable], rows[usable])


def fit_model(
    data: TrainingSet, rows: np.ndarray, held_out: HeldOut, parameters: FailureParameters
) -> FailureModel:
    """Fit the booster on rows, its calibrator and threshold on held-out margins."""
    calibrator = calibrate(data, held_out)
    return FailureModel(
        booster=fit_booster(data.values, data.is_failure, data.features, parameters, rows),
        calibrator=calibrator,
        threshold=choose_threshold(data, held_out.rows, calibrator.probability(held_out.margin), parameters),
        horizon_hours=data.horizon_hours,
        features=data.features,
    )


def calibrate(data: TrainingSet, held_out: HeldOut) -> Calibrator:
    """Fit the calibrator on held-out margins."""
    return fit_calibrator(held_out.margin, data.is_failure[held_out.rows], data.failures.height)


def choose_threshold(
    data: TrainingSet,
    rows: np.ndarray,
    probability: np.ndarray,
    parameters: FailureParameters,
    candidates: int = 40,
) -> float:
    """The probability whose alerts are worth most on these rows: by cost where given, else by event F score.

    Args:
        data: Training set.
        rows: Rows in order, not seen by the booster that scored them.
        probability: Calibrated, shape (rows,).
        parameters: Costs, or the weight of recall.
        candidates: Number of thresholds tried, spread evenly over the logarithm of the alert rate.
    """
    observed = observe(data.keys[rows], data.failures, data.horizon)
    rates = np.geomspace(0.0005, 0.3, candidates)
    levels = np.clip(np.unique(np.quantile(probability, 1.0 - rates)), 1e-6, 1.0 - 1e-6)
    if parameters.costs is not None:
        return _cheapest(observed, probability, levels, parameters.costs)
    found = [score_events(observed, probability >= level).f_score(parameters.alert_beta) for level in levels]
    scores = np.asarray(found)
    # With a dozen failures one event more or less is chance: of the thresholds within one event of the
    # best, the one nearest even odds is the least fitted to these very machines.
    one_event = 1.0 / max(sum(len(failures) for failures in observed.failure_hours), 1)
    good = levels[scores >= scores.max() - one_event]
    return float(good[np.argmin(np.abs(np.log(good / (1.0 - good))))])


def best_row_threshold(probability: np.ndarray, is_failure: np.ndarray) -> float:
    """The probability that gives the best F1 over machine-hours of these rows."""
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(is_failure[order])
    scores = 2 * hits / (np.arange(1, len(hits) + 1) + max(int(hits[-1]), 1))
    return float(probability[order][int(np.argmax(scores))])


def _cheapest(
    observed: ObservedHours, probability: np.ndarray, levels: np.ndarray, costs: OperatingCosts
) -> float:
    prices: list[tuple[bool, float, float]] = []
    for level in levels:
        events = score_events(observed, probability >= level)
        is_too_much = not costs.is_affordable(events, observed.machine_count)
        # Where the crew can't make the visits of any level, the fewest visits come nearest.
        price = float(events.alert_events) if is_too_much else costs.of(events)
        prices.append((is_too_much, price, -float(level)))
    return -min(prices)[2]
