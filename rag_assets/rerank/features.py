"""What a reranker sees of each candidate: lexical, dense, structural and freshness features.

Every feature is a number that exists for any collection. Avoid anything that names a document, its
folder or its source: an order learned on families of documents falls on the next family.
"""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from rag_assets.candidates import DOCUMENT_DEPTH, RANKINGS, Candidates
from rag_assets.library import TenantLibrary
from rag_assets.postings import Keys, Scores

Features = NDArray[np.float64]

_OWN = (
    "names_score",
    "names_of_best",
    "names_log_rank",
    "name_pairs",
    "coverage",
    "label_coverage",
    "labels_asked",
    "lead_coverage",
    "pair_coverage",
    "fused",
    "agreement",
    "log_length",
    "log_passages",
    "is_long_question",
    "age_years",
)
NAMES: tuple[str, ...] = (
    *(f"{name}_score" for name in RANKINGS),
    *(f"{name}_of_best" for name in RANKINGS),
    *(f"{name}_log_rank" for name in RANKINGS),
    *_OWN,
)
"""Names of the columns, in order. `_of_best`: below the best candidate's score, in deviations."""

LESS_IS_BETTER = frozenset((*(f"{name}_log_rank" for name in RANKINGS), "names_log_rank", "age_years"))
"""Features that speak against a candidate as they grow."""

NEUTRAL = frozenset(("log_length", "log_passages", "is_long_question"))
"""Features that may speak either way."""

_LONG_QUESTION_TERMS = 30.0


def features(
    library: TenantLibrary, keys: Keys, candidates: Candidates, asked_on: date | None = None
) -> Features:
    """Measure candidates of one question.

    Args:
        library: The tenant's documents.
        keys: Keys of the question's words, without repeats.
        candidates: What the first stage found; at least one.
        asked_on: Day of the question, for the age of documents; None where dates don't matter.

    Returns:
        Shape (candidates, `len(NAMES)`).
    """
    places = candidates.positions
    scores = _filled(candidates.scores)
    spread = np.maximum(scores.std(axis=0), 1e-6)
    ranks = np.log1p(np.minimum(candidates.ranks, DOCUMENT_DEPTH))
    passages = np.diff(library.first_passages)[places]
    of_names = library.names.key_scores(keys)
    names = of_names[places]
    named = np.sort(of_names[of_names > 0])
    better_named = len(named) - np.searchsorted(named, names, side="right")
    labelled, labels_asked = library.label_words.shares(keys)
    own = np.column_stack(
        [
            names,
            (names - names.max()) / max(float(names.std()), 1e-6),
            np.log1p(np.minimum(better_named, DOCUMENT_DEPTH)),
            library.name_pairs.coverage(keys)[places],
            candidates.coverage,
            labelled[places],
            labels_asked[places],
            library.lead_words.shares(keys)[0][places],
            library.word_pairs.coverage(keys)[places],
            candidates.fused,
            (candidates.ranks < DOCUMENT_DEPTH).mean(axis=1),
            np.log1p(library.lengths[places]),
            np.log1p(passages),
            np.full(len(places), min(1.0, len(keys) / _LONG_QUESTION_TERMS)),
            _ages(library, places, asked_on),
        ]
    )
    return np.hstack([scores, (scores - scores.max(axis=0)) / spread, ranks, own])


def _filled(scores: Scores) -> Scores:
    """A vector ranking says nothing of documents below its depth but that they are below its last one."""
    lowest = np.where(np.isnan(scores).all(axis=0), 0.0, np.nanmin(np.nan_to_num(scores, nan=np.inf), axis=0))
    return np.where(np.isnan(scores), lowest, scores)


def _ages(library: TenantLibrary, places: NDArray[np.int64], asked_on: date | None) -> Scores:
    if asked_on is None:
        return np.zeros(len(places))
    days = asked_on.toordinal() - library.effective_days[places]
    return np.where(np.isnan(days), 0.0, np.clip(days, 0.0, None) / 365.25)
