import json

import numpy as np
import pytest

from rag_assets.rerank.features import NAMES
from rag_assets.rerank.rankers import FITTERS, JudgedCandidates, StaleRankerError, read_ranker
from rag_assets.rerank.training import (
    Choice,
    NotEnoughQuestionsError,
    gains,
    group_folds,
    groups_of,
    paired_bootstrap,
    train_ranker,
)

COVERAGE = NAMES.index("coverage")
SETTINGS = {"logistic": (0.01, 0.1)}


def questions(count: int, is_learnable: bool = True) -> list[JudgedCandidates]:
    """20 candidates each, one of them right; its coverage is higher where there is something to learn."""
    random = np.random.default_rng(3)
    found: list[JudgedCandidates] = []
    for number in range(count):
        features = random.normal(size=(20, len(NAMES)))
        right = np.zeros(20, dtype=bool)
        right[random.integers(20)] = True
        if is_learnable:
            features[right, COVERAGE] += 4.0
        found.append(JudgedCandidates(features, right, f"document-{number // 2}"))
    return found


@pytest.mark.parametrize("kind", FITTERS)
def test_each_kind_learns_and_survives_json(kind: str) -> None:
    """Forbids a kind that orders at random, and a ranker that is another one after it was stored."""
    judged = questions(60)
    ranker = Choice(kind, {"logistic": 0.1, "conditional_logit": 1.0, "monotone_trees": 2}[kind]).fit(judged)
    # Postgres keeps the keys of a jsonb value in an order of its own.
    again = read_ranker(json.loads(json.dumps(ranker.to_json(), sort_keys=True)))

    fresh = questions(80)[60:]
    assert gains(fresh, [ranker.scores(item.features) for item in fresh]).mean() > 0.9
    assert np.allclose(again.scores(fresh[0].features), ranker.scores(fresh[0].features), atol=1e-5)


def test_no_question_is_judged_by_a_ranker_that_saw_its_document() -> None:
    """Forbids memory in the figures: every ranker of a fold was fitted without the fold's groups."""
    judged = questions(60)
    trained = train_ranker(judged, SETTINGS)

    for item, scores in zip(judged, trained.out_of_fold, strict=True):
        ranker = trained.unseen(item.group)
        assert ranker is not trained.ranker
        assert np.array_equal(ranker.scores(item.features), scores)
    assert trained.unseen("a document that was never in training") is trained.ranker


def test_noise_gains_nothing_out_of_fold() -> None:
    """Forbids a measure that finds a gain where there is none."""
    judged = questions(80, is_learnable=False)
    trained = train_ranker(judged, SETTINGS)
    difference = gains(judged, trained.out_of_fold) - gains(judged, [None] * len(judged))

    _, low, _ = paired_bootstrap(difference, [item.group for item in judged])
    assert low < 0.03


def test_questions_that_share_a_document_are_one_group() -> None:
    """Forbids that a chain of shared documents is cut by a fold: a-b and b-c are one group."""
    groups = groups_of([frozenset("a"), frozenset("ab"), frozenset("bc"), frozenset("d")])

    assert groups[0] == groups[1] == groups[2] != groups[3]
    folds = group_folds(groups * 5, 2)
    assert set(folds) == set(groups)


def test_too_few_questions_teach_nothing() -> None:
    """Forbids an order learned from a handful of questions."""
    with pytest.raises(NotEnoughQuestionsError, match="9 groups"):
        train_ranker(questions(18))


def test_a_ranker_of_other_features_is_refused() -> None:
    """Forbids weights that are read against the wrong columns after a feature was added."""
    content = Choice("logistic", 0.1).fit(questions(20)).to_json()
    content["features"].pop("coverage")

    with pytest.raises(StaleRankerError, match="train it again"):
        read_ranker(content)
