"""Gradient-boosted regression of remaining useful life with a cap: far from failure nothing shows yet."""

# XGBoost leaves most of its signatures untyped.
# pyright: reportUnknownMemberType=false

from dataclasses import asdict, dataclass

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from ml.remaining_life.features import Conditions, features
from ml.remaining_life.fleet import Fleet


@dataclass(frozen=True)
class LifeParameters:
    """How to fit.

    Attributes:
        cap_cycles: Remaining life above this is learned and judged as this; 125 is usual for turbofans.
        trees: Boosting rounds.
        max_depth: Depth of a tree.
        learning_rate: Shrinkage.
        min_child_weight: Least rows in a leaf.
        subsample: Rows per tree.
        colsample_bytree: Features per tree.
        reg_lambda: L2 penalty on leaf values.
        seeds: Boosters that are averaged, each with its own row and feature samples.
    """

    cap_cycles: float = 125.0
    trees: int = 300
    max_depth: int = 4
    learning_rate: float = 0.05
    min_child_weight: float = 20.0
    subsample: float = 0.7
    colsample_bytree: float = 0.3
    reg_lambda: float = 5.0
    seeds: int = 2


@dataclass(frozen=True)
class LifeModel:
    """A fitted model.

    Attributes:
        boosters: Averaged.
        conditions: Of the training fleet.
        parameters: How it was fitted.
    """

    boosters: tuple[xgb.Booster, ...]
    conditions: Conditions
    parameters: LifeParameters

    def predict(self, fleet: Fleet) -> NDArray[np.float64]:
        """Remaining cycles at every row, from 0 to the cap."""
        values = features(fleet, self.conditions)
        found = np.mean([booster.inplace_predict(values) for booster in self.boosters], axis=0)
        return np.clip(found.astype(np.float64), 0.0, self.parameters.cap_cycles)


def fit_life(fleet: Fleet, parameters: LifeParameters | None = None) -> LifeModel:
    """Fit on units that all ran until they failed."""
    settings = parameters or LifeParameters()
    conditions = Conditions.fit(fleet)
    data = xgb.QuantileDMatrix(
        features(fleet, conditions), np.minimum(fleet.rows_to_end(), settings.cap_cycles), nthread=1
    )
    options = asdict(settings)
    rounds, seeds = options.pop("trees"), options.pop("seeds")
    del options["cap_cycles"]
    boosters = tuple(
        xgb.train(
            {**options, "objective": "reg:squarederror", "tree_method": "hist", "nthread": 1, "seed": seed},
            data,
            num_boost_round=rounds,
        )
        for seed in range(seeds)
    )
    return LifeModel(boosters, conditions, settings)
