"""A gradient-boosted classifier over several classes: the plant's quality classes, or any fault classes."""

# XGBoost leaves most of its signatures untyped.
# pyright: reportUnknownMemberType=false

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Self

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

Values = NDArray[np.float32]
_BOOSTER, _SETTINGS = "booster.json", "settings.json"


@dataclass(frozen=True)
class ClassifierParameters:
    """How to fit.

    Attributes:
        trees: Boosting rounds, one tree per class each.
        max_depth: Depth of a tree.
        learning_rate: Shrinkage.
        subsample: Rows per tree.
        colsample_bytree: Features per tree.
        min_child_weight: Least Hessian sum in a leaf.
        seed: Of row and feature sampling.
    """

    trees: int = 250
    max_depth: int = 6
    learning_rate: float = 0.06
    subsample: float = 0.8
    colsample_bytree: float = 0.5
    min_child_weight: float = 1.0
    seed: int = 7

    @property
    def digest(self) -> str:
        """Digest of all values."""
        return blake2b(json.dumps(asdict(self), sort_keys=True).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier.

    Attributes:
        booster: One probability per class.
        classes: Names, in the order of the probabilities.
        features: Names, in the order of the columns.
    """

    booster: xgb.Booster
    classes: tuple[str, ...]
    features: tuple[str, ...]

    def probability(self, values: Values) -> NDArray[np.float64]:
        """Probability of each class: shape (rows, classes)."""
        return np.asarray(self.booster.inplace_predict(values), dtype=np.float64).reshape(
            len(values), len(self.classes)
        )

    def predict(self, values: Values) -> NDArray[np.int64]:
        """Most probable class of each row, as index into `classes`."""
        return self.probability(values).argmax(axis=1)

    def save(self, folder: Path) -> None:
        """Write booster and settings as JSON: no pickle, so loading runs no code."""
        folder.mkdir(parents=True, exist_ok=True)
        self.booster.save_model(folder / _BOOSTER)
        settings = {"classes": self.classes, "features": self.features}
        (folder / _SETTINGS).write_text(json.dumps(settings, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        settings = json.loads((folder / _SETTINGS).read_text())
        booster = xgb.Booster(model_file=folder / _BOOSTER)
        return cls(booster, tuple(settings["classes"]), tuple(settings["features"]))


def fit_classifier(
    values: Values,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    features: Sequence[str],
    parameters: ClassifierParameters | None = None,
) -> Classifier:
    """Fit on labelled rows.

    Args:
        values: Shape (rows, features); NaN where something was not measured.
        labels: Index into `classes`.
        classes: Names.
        features: Names of the columns.
        parameters: How to fit.
    """
    options = asdict(parameters or ClassifierParameters())
    rounds = options.pop("trees")
    booster = xgb.train(
        {
            **options,
            "objective": "multi:softprob",
            "num_class": len(classes),
            "tree_method": "hist",
            "nthread": 1,
        },
        xgb.QuantileDMatrix(values, labels),
        num_boost_round=rounds,
    )
    return Classifier(booster, tuple(classes), tuple(features))
