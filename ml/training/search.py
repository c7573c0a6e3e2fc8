"""A small search for a fit's parameters, on the history before anything that the report is judged on.

The folds are those of training (grouped by machine, forward in time, a gap of one horizon), laid within the
time before the first test period: what is found there has never seen a row that later judges it. Trials are
ranked on an earlier period and the best one is confirmed against the defaults on a later one, since the best
of twenty always looks better where it was chosen.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from ml.datasets.training_set import NotEnoughDataError, TrainingSet
from ml.evaluation.intervals import Estimate, by_machine
from ml.evaluation.probability import ranking
from ml.training.fitting import FailureParameters, fit_booster
from ml.training.folds import FIRST_CUT, Fold, forward_folds

TRIALS = 20
# The first period ranks, the second confirms; each trial is two fits on a quarter of the history.
RANKING, CONFIRMING = 0, 1
GROUPS = 2


@dataclass(frozen=True)
class SearchOutcome:
    """What a search found.

    Attributes:
        parameters: To train with: the best trial's, or the defaults where it is not better beyond noise.
        gain: Average precision of the best trial minus that of the defaults in the confirming period, with
            its interval over machines.
        default_score: Average precision of the defaults in the ranking period.
        best_score: Of the best trial, there.
        best: What the best trial was, by name.
        trials: How many were tried, the defaults included.
    """

    parameters: FailureParameters
    gain: Estimate
    default_score: float
    best_score: float
    best: dict[str, float | int]
    trials: int

    @property
    def is_better(self) -> bool:
        """Whether the search paid."""
        return self.gain.low > 0


def search_parameters(
    data: TrainingSet,
    parameters: FailureParameters | None = None,
    trials: int = TRIALS,
) -> SearchOutcome:
    """Search depth, shrinkage, rounds, leaf weight, sampling and penalty.

    Args:
        data: Rows of all machines; those after the first test period's cut are not looked at.
        parameters: Defaults, and what is not searched.
        trials: Fits of both folds, the defaults included.

    Raises:
        NotEnoughDataError: Too few failures before the cut.
    """
    import optuna

    settings = parameters or FailureParameters()
    early = before_the_tests(data)
    folds = [
        fold
        for fold in forward_folds(early, FIRST_CUT, 2, GROUPS)
        if early.is_failure[fold.train].any() and early.is_failure[fold.test].any()
    ]
    ranking_folds, confirming_folds = (
        [fold for fold in folds if fold.period == period] for period in (RANKING, CONFIRMING)
    )
    if not ranking_folds or not confirming_folds:
        raise NotEnoughDataError(
            f"Tenant {data.tenant_id}, {data.horizon_hours} h: too few failures before the first test period "
            "to search parameters. Train with the defaults, or land more history."
        )

    def score(trial: optuna.Trial) -> float:
        tried = replace(settings, **_suggested(trial))
        return _average_precision(early, ranking_folds, _ranks(early, ranking_folds, tried))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=settings.seed))
    study.enqueue_trial({name: value for name, value in asdict(settings).items() if name in SPACE})
    study.optimize(score, n_trials=trials)
    best = study.best_trial
    chosen = replace(settings, **best.params)
    gain = _gain(
        early,
        confirming_folds,
        _ranks(early, confirming_folds, chosen),
        _ranks(early, confirming_folds, settings),
    )
    return SearchOutcome(
        parameters=chosen if gain.low > 0 else settings,
        gain=gain,
        default_score=float(study.trials[0].values[0]),
        best_score=float(best.values[0]),
        best=dict(best.params),
        trials=len(study.trials),
    )


SPACE: dict[str, tuple[float, float, bool]] = {
    "trees": (30, 150, False),
    "max_depth": (2, 7, False),
    "learning_rate": (0.03, 0.3, True),
    "min_child_weight": (0.5, 20.0, True),
    "subsample": (0.5, 1.0, False),
    "colsample": (0.2, 1.0, False),
    "reg_lambda": (0.3, 30.0, True),
}
"""Parameter → lowest and highest value, and whether it is searched on a logarithmic scale."""


def before_the_tests(data: TrainingSet) -> TrainingSet:
    """The rows whose labels end before the first test period of the report."""
    hours = data.keys["hour_at"]
    first, last = hours.min(), hours.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    cut = first + (last - first) * FIRST_CUT
    kept = np.flatnonzero((hours + data.horizon <= cut).to_numpy())
    return replace(
        data,
        keys=data.keys[kept],
        values=data.values[kept],
        is_failure=data.is_failure[kept],
        failures=data.failures.filter(data.failures["failure_at"] <= cut),
    )


def _suggested(trial: Any) -> dict[str, float | int]:
    found: dict[str, float | int] = {}
    for name, (low, high, is_log) in SPACE.items():
        is_whole = isinstance(getattr(FailureParameters(), name), int)
        suggest = trial.suggest_int if is_whole else trial.suggest_float
        found[name] = suggest(
            name, int(low) if is_whole else low, int(high) if is_whole else high, log=is_log
        )
    return found


def _ranks(data: TrainingSet, folds: Sequence[Fold], parameters: FailureParameters) -> np.ndarray:
    """Rank of each test row within its fold, 0 to 1: boosters of other folds have margins of their own."""
    found: list[np.ndarray] = []
    for fold in folds:
        booster = fit_booster(data.values, data.is_failure, data.features, parameters, fold.train)
        margin = np.asarray(booster.inplace_predict(data.values[fold.test], predict_type="margin"))
        found.append(np.argsort(np.argsort(margin)) / len(margin))
    return np.concatenate(found)


def _average_precision(data: TrainingSet, folds: Sequence[Fold], said: np.ndarray) -> float:
    rows = np.concatenate([fold.test for fold in folds])
    return ranking(said, data.is_failure[rows])(np.ones(len(rows)))


def _gain(data: TrainingSet, folds: Sequence[Fold], said: np.ndarray, before: np.ndarray) -> Estimate:
    rows = np.concatenate([fold.test for fold in folds])
    of_new, of_old = ranking(said, data.is_failure[rows]), ranking(before, data.is_failure[rows])
    machine = (data.keys[rows]["equipment_id"].rank("dense") - 1).to_numpy().astype(np.int64)
    return by_machine(lambda weight: of_new(weight) - of_old(weight), machine)
