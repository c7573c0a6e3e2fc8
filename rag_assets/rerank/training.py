"""Which ranker to use, and how good it is on questions whose right documents it has never seen.

Folds keep questions with a common right document together: two alerts that share a runbook on both
sides of a fold would measure memory. The kind and its setting are chosen inside the training part of
each fold (nested), so that no figure is that of a choice made on the questions it is measured on.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_assets.postings import Scores
from rag_assets.rerank.features import Features
from rag_assets.rerank.rankers import FITTERS, RERANK_DEPTH, JudgedCandidates, Ranker

OUTER_FOLDS = 5
INNER_FOLDS = 4
FEWEST_GROUPS = 10
"""With fewer groups of questions nothing can be chosen or measured; the first stage's order stands."""

SETTINGS: Mapping[str, tuple[float, ...]] = {
    "logistic": (0.0001, 0.0003, 0.001, 0.01),
    "conditional_logit": (1000.0, 400.0, 100.0),
    "monotone_trees": (2, 3),
}
"""What is tried: C, L2 penalty, depth of trees. Strong penalties first: they hold on other questions."""


class NotEnoughQuestionsError(ValueError):
    """Too few questions to learn an order from; the message says how many there are."""


@dataclass(frozen=True)
class Choice:
    """A kind of ranker and its setting."""

    kind: str
    setting: float

    def fit(self, judged: Sequence[JudgedCandidates]) -> Ranker:
        """Fit on questions."""
        return FITTERS[self.kind](judged, self.setting)

    def __str__(self) -> str:
        return f"{self.kind}({self.setting:g})"


@dataclass(frozen=True)
class TrainedRanker:
    """A ranker with what is known of it.

    Attributes:
        ranker: Fitted on all questions.
        choice: Kind and setting, chosen by grouped folds over all questions.
        out_of_fold: For each question the scores of its candidates by a ranker that saw no question
            of its group, chosen and fitted on the others.
        chosen_in_folds: What was chosen in each outer fold.
        group_folds: Group → outer fold.
        fold_rankers: The ranker of each outer fold.
    """

    ranker: Ranker
    choice: Choice
    out_of_fold: tuple[Scores, ...]
    chosen_in_folds: tuple[Choice, ...]
    group_folds: Mapping[str, int]
    fold_rankers: tuple[Ranker, ...]

    @property
    def described(self) -> str:
        """What was chosen, on all questions and in each fold."""
        return f"{self.choice}; in folds {', '.join(map(str, self.chosen_in_folds))}"

    def unseen(self, group: str) -> Ranker:
        """The ranker that saw no question of a group; the full one for a group that was not in training."""
        fold = self.group_folds.get(group)
        return self.ranker if fold is None else self.fold_rankers[fold]


def train_ranker(
    judged: Sequence[JudgedCandidates], settings: Mapping[str, Sequence[float]] = SETTINGS
) -> TrainedRanker:
    """Choose, fit, and predict out of fold.

    Args:
        judged: Questions with at least one candidate each.
        settings: What to try, by kind.

    Raises:
        NotEnoughQuestionsError: Fewer than `FEWEST_GROUPS` groups have a right candidate.
    """
    taught = {item.group for item in judged if item.is_relevant[:RERANK_DEPTH].any()}
    if len(taught) < FEWEST_GROUPS:
        raise NotEnoughQuestionsError(
            f"{len(taught)} groups of questions have a right document among their candidates; "
            f"an order is learned from {FEWEST_GROUPS} or more"
        )
    folds = group_folds([item.group for item in judged], OUTER_FOLDS)
    rankers: list[Ranker] = []
    choices: list[Choice] = []
    for fold in range(OUTER_FOLDS):
        training = [item for item in judged if folds[item.group] != fold]
        choices.append(choose(training, settings))
        rankers.append(choices[-1].fit(training))
    final = choose(judged, settings)
    return TrainedRanker(
        ranker=final.fit(judged),
        choice=final,
        out_of_fold=tuple(rankers[folds[item.group]].scores(item.features) for item in judged),
        chosen_in_folds=tuple(choices),
        group_folds=folds,
        fold_rankers=tuple(rankers),
    )


def choose(judged: Sequence[JudgedCandidates], settings: Mapping[str, Sequence[float]] = SETTINGS) -> Choice:
    """Kind and setting with the best mean nDCG@10 over grouped folds; the first of equals."""
    folds = group_folds([item.group for item in judged], INNER_FOLDS, salt="inner")
    best, best_gain = Choice("logistic", SETTINGS["logistic"][0]), -1.0
    for kind, values in settings.items():
        for value in values:
            choice = Choice(kind, value)
            gain = _grouped_gain(judged, folds, choice)
            if gain > best_gain + 1e-9:
                best, best_gain = choice, gain
    return best


def group_folds(groups: Sequence[str], count: int, salt: str = "") -> dict[str, int]:
    """Groups to folds of about equal numbers of questions; the same groups always fall the same way."""
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    filled = [0] * count
    folds: dict[str, int] = {}
    for group in sorted(sizes, key=lambda item: (-sizes[item], _shuffled(f"{salt}{item}"))):
        fold = int(np.argmin(filled))
        folds[group] = fold
        filled[fold] += sizes[group]
    return folds


def groups_of(relevant: Sequence[frozenset[str]]) -> list[str]:
    """A group per question: questions are joined as soon as they share a right document."""
    parent: dict[str, str] = {}

    def root(item: str) -> str:
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for documents in relevant:
        first, *others = sorted(documents) or [""]
        for other in others:
            parent[root(other)] = root(first)
        root(first)
    return [root(min(documents, default="")) for documents in relevant]


def gains(judged: Sequence[JudgedCandidates], scores: Sequence[Scores | None]) -> Scores:
    """nDCG@10 of each question after reordering its first candidates; None keeps the first stage's order.

    The ideal is that of the right documents among the candidates: enough to compare orders.
    """
    return np.array([_gain(item.is_relevant, values) for item, values in zip(judged, scores, strict=True)])


def data_digest(judged: Sequence[JudgedCandidates]) -> str:
    """SHA-256 of what a ranker is learned from."""
    digest = hashlib.sha256()
    for item in judged:
        digest.update(json.dumps(item.group).encode())
        digest.update(np.round(item.features, 6).tobytes())
        digest.update(item.is_relevant.tobytes())
    return digest.hexdigest()


def paired_bootstrap(
    differences: Scores, groups: Sequence[str], rounds: int = 2000
) -> tuple[float, float, float]:
    """Mean difference with a 95 % interval; groups are drawn whole: their questions are not independent.

    Returns:
        Mean, lower and upper bound.
    """
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(codes, differences)
    counts = np.bincount(codes)
    random = np.random.default_rng(7)
    drawn = random.integers(0, len(sums), size=(rounds, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(differences.mean()), float(low), float(high)


def _grouped_gain(judged: Sequence[JudgedCandidates], folds: Mapping[str, int], choice: Choice) -> float:
    scores: list[Scores | None] = [None] * len(judged)
    for fold in range(INNER_FOLDS):
        training = [item for item in judged if folds[item.group] != fold]
        held_out = [place for place, item in enumerate(judged) if folds[item.group] == fold]
        if not held_out or not any(item.is_relevant[:RERANK_DEPTH].any() for item in training):
            continue
        score: Callable[[Features], Scores] = choice.fit(training).scores
        for place in held_out:
            scores[place] = score(judged[place].features)
    return float(gains(judged, scores).mean())


def _gain(is_relevant: NDArray[np.bool_], scores: Scores | None) -> float:
    order = np.arange(len(is_relevant))
    if scores is not None:
        order[: min(RERANK_DEPTH, len(scores))] = np.argsort(-scores[:RERANK_DEPTH], kind="stable")
    discounts = 1 / np.log2(np.arange(10) + 2)
    found = is_relevant[order][:10]
    ideal = discounts[: min(10, int(is_relevant.sum()))].sum()
    return float((discounts[: len(found)] * found).sum() / ideal) if ideal else 0.0


def _shuffled(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
