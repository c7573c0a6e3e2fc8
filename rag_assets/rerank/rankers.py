"""Learned orders of candidates: two linear ones and monotone trees, each as plain JSON.

Add a kind as a class that satisfies `Ranker` and an entry in `FITTERS`. No pickles: a ranker is data,
and a file that runs code when it is opened can't be shipped between tenants. Avoid choosing between
kinds here (`rag_assets.rerank.training`).
"""

# scikit-learn and xgboost leave most of their signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from rag_assets.postings import Scores
from rag_assets.rerank.features import LESS_IS_BETTER, NAMES, NEUTRAL, Features

RERANK_DEPTH = 50
"""Candidates of a question that are ordered again: 98 % of the right runbooks are among them."""


@dataclass(frozen=True)
class JudgedCandidates:
    """Candidates of one question, and which of them are right.

    Attributes:
        features: Shape (n, `len(NAMES)`), in first-stage order.
        is_relevant: Shape (n,).
        group: Questions that share a right document are in one group, never on both sides of a fold.
    """

    features: Features
    is_relevant: np.ndarray
    group: str


class Ranker(Protocol):
    """Orders candidates."""

    @property
    def kind(self) -> str:
        """Name of the kind, a key of `FITTERS`."""
        ...

    def scores(self, features: Features) -> Scores:
        """Higher is better; comparable within one question only."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Everything that `read_ranker` needs."""
        ...


class StaleRankerError(ValueError):
    """A ranker was learned on other features than this version measures."""


@dataclass(frozen=True)
class LinearRanker:
    """A weight per standardized feature.

    Attributes:
        kind: `logistic` or `conditional_logit`.
        weights: One per feature of `NAMES`.
        means: Of each feature in training.
        deviations: Of each feature in training; 1 where it never changed.
    """

    kind: str
    weights: Scores
    means: Scores
    deviations: Scores

    @cached_property
    def _slope(self) -> Scores:
        return self.weights / self.deviations

    def scores(self, features: Features) -> Scores:
        """Weighted sum; the intercept would move all candidates of a question alike."""
        return (features - self.means) @ self._slope

    def to_json(self) -> dict[str, Any]:
        """Weights by feature."""
        rows = zip(NAMES, self.weights, self.means, self.deviations, strict=True)
        return {
            "kind": self.kind,
            "features": {
                name: {"weight": float(weight), "mean": float(mean), "deviation": float(deviation)}
                for name, weight, mean, deviation in rows
            },
        }


@dataclass(frozen=True)
class TreeRanker:
    """Boosted trees in which no good feature can speak against a candidate.

    Attributes:
        document: XGBoost's own JSON.
    """

    document: str
    kind: str = "monotone_trees"

    @cached_property
    def _booster(self) -> Any:
        import xgboost

        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(self.document.encode()))
        return booster

    def scores(self, features: Features) -> Scores:
        """Margin of the trees."""
        return np.asarray(self._booster.inplace_predict(features, predict_type="margin"), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """XGBoost's document and the names of its columns."""
        return {"kind": self.kind, "features": list(NAMES), "document": json.loads(self.document)}


def read_ranker(content: Mapping[str, Any]) -> Ranker:
    """The ranker that `to_json` described.

    Raises:
        StaleRankerError: It was learned on other features.
    """
    measured = content["features"]
    # A mapping that was stored as jsonb comes back in another order: names tell, places don't.
    if sorted(measured) != sorted(NAMES) if isinstance(measured, Mapping) else tuple(measured) != NAMES:
        raise StaleRankerError(
            "the ranker was learned on other features than this version measures: train it again"
        )
    if content["kind"] == "monotone_trees":
        return TreeRanker(json.dumps(content["document"]))
    rows = [measured[name] for name in NAMES]
    columns = (np.array([row[name] for row in rows]) for name in ("weight", "mean", "deviation"))
    return LinearRanker(content["kind"], *columns)


def fit_logistic(judged: Sequence[JudgedCandidates], strength: float) -> LinearRanker:
    """Logistic regression on single candidates.

    Args:
        judged: Questions.
        strength: Inverse of the L2 penalty (scikit-learn's C).
    """
    from sklearn.linear_model import LogisticRegression

    stacked, means, deviations = _standardized(judged)
    labels = np.concatenate([item.is_relevant[:RERANK_DEPTH] for item in judged])
    model = LogisticRegression(C=strength, max_iter=1000).fit(stacked, labels)
    return LinearRanker("logistic", np.asarray(model.coef_[0]), means, deviations)


def fit_conditional_logit(judged: Sequence[JudgedCandidates], penalty: float) -> LinearRanker:
    """The right document chosen among a question's candidates (McFadden 1974), with an L2 penalty.

    Questions whose candidates hold no right document teach nothing and are left out.
    """
    from scipy.optimize import minimize

    _, means, deviations = _standardized(judged)
    chosen = [item for item in judged if item.is_relevant[:RERANK_DEPTH].any()]
    tensor = np.zeros((len(chosen), RERANK_DEPTH, len(NAMES)))
    target = np.zeros((len(chosen), RERANK_DEPTH))
    is_there = np.zeros((len(chosen), RERANK_DEPTH), dtype=bool)
    for row, item in enumerate(chosen):
        count = min(RERANK_DEPTH, len(item.is_relevant))
        tensor[row, :count] = (item.features[:count] - means) / deviations
        target[row, :count] = item.is_relevant[:count] / item.is_relevant[:count].sum()
        is_there[row, :count] = True

    def loss(weights: Scores) -> tuple[float, Scores]:
        margins = np.where(is_there, tensor @ weights, -1e9)
        margins -= margins.max(axis=1, keepdims=True)
        shares = np.exp(margins)
        shares /= shares.sum(axis=1, keepdims=True)
        value = -float((target * np.log(np.maximum(shares, 1e-300))).sum())
        slope = np.einsum("qc,qcf->f", shares - target, tensor)
        return value + penalty / 2 * float(weights @ weights), slope + penalty * weights

    found = minimize(loss, np.zeros(len(NAMES)), jac=True, method="L-BFGS-B")
    return LinearRanker("conditional_logit", np.asarray(found.x), means, deviations)


def fit_monotone_trees(judged: Sequence[JudgedCandidates], depth: float) -> TreeRanker:
    """XGBoost with monotone constraints on every feature that has a good direction."""
    import xgboost

    directions = dict.fromkeys(LESS_IS_BETTER, -1) | dict.fromkeys(NEUTRAL, 0)
    matrix = xgboost.DMatrix(
        np.vstack([item.features[:RERANK_DEPTH] for item in judged]),
        label=np.concatenate([item.is_relevant[:RERANK_DEPTH] for item in judged]),
    )
    settings = {
        "objective": "binary:logistic", "max_depth": int(depth), "eta": 0.06, "subsample": 0.7,
        "colsample_bytree": 0.4, "min_child_weight": 5, "lambda": 5, "nthread": 1, "seed": 7,
        "monotone_constraints": tuple(directions.get(name, 1) for name in NAMES),
    }  # fmt: skip
    booster = xgboost.train(settings, matrix, num_boost_round=120)
    return TreeRanker(booster.save_raw("json").decode())


FITTERS: Mapping[str, Callable[[Sequence[JudgedCandidates], float], Ranker]] = {
    "logistic": fit_logistic,
    "conditional_logit": fit_conditional_logit,
    "monotone_trees": fit_monotone_trees,
}
"""How each kind is fitted: questions and its one setting."""


def _standardized(judged: Sequence[JudgedCandidates]) -> tuple[Features, Scores, Scores]:
    stacked = np.vstack([item.features[:RERANK_DEPTH] for item in judged])
    means, deviations = stacked.mean(axis=0), stacked.std(axis=0)
    deviations = np.where(deviations < 1e-9, 1.0, deviations)
    return (stacked - means) / deviations, means, deviations
