"""Candidates of a search: the documents that any of five rankings puts forward, with every raw score.

Add a ranking to `RANKINGS` when it judges documents apart from the others. Avoid learned weights
here (`rag_assets.rerank`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_assets.embedding import Vectors
from rag_assets.index.contract import Passage, TenantLeakError, TenantScope, VectorHit
from rag_assets.library import TenantLibrary
from rag_assets.postings import Keys, Scores

RANKINGS = ("fielded", "passage_words", "passage", "title", "lead")
"""BM25F of the document, BM25 of its best passage, cosine of its best passage, its title, its lead."""

RRF_K = 10
"""Constant of reciprocal rank fusion. Engines default to other values (Qdrant's server to 2)."""

PASSAGE_DEPTH = 100  # passages per ranking: about 50 documents
DOCUMENT_DEPTH = 50


@dataclass(frozen=True)
class Candidates:
    """Documents of one tenant, best first by the fused score.

    Attributes:
        positions: Shape (n,): places in the tenant's library.
        scores: Shape (n, 5): raw scores in the order of `RANKINGS`; NaN where a document
            has no such vector or its passages are too far.
        ranks: Shape (n, 5): places in each ranking, from 0; `DOCUMENT_DEPTH` where it is not in it.
        fused: Shape (n,): sum of 1 / (k + rank) over the rankings.
        passages: The passage of each document that words and meaning put first.
        passage_words: BM25 of those passages.
        coverage: Share of the question's information that each document's words cover.
    """

    positions: NDArray[np.int64]
    scores: Scores
    ranks: NDArray[np.int64]
    fused: Scores
    passages: tuple[Passage, ...]
    passage_words: Scores
    coverage: Scores

    def __len__(self) -> int:
        return len(self.positions)


def find_candidates(
    library: TenantLibrary, scope: TenantScope, keys: Keys, query: Vectors, hits: Sequence[VectorHit]
) -> Candidates:
    """Fuse the rankings of one question.

    Args:
        library: The tenant's documents.
        scope: Whose, and which documents to leave out.
        keys: Keys of the question's words, without repeats.
        query: Vector of the question.
        hits: Nearest passages that the engine found, best first.

    Raises:
        TenantLeakError: The engine returned a passage of another tenant.
    """
    left_out = [library.positions[key] for key in scope.excluded_documents if key in library.positions]
    of_passages = library.passage_words.key_scores(keys)
    fielded, coverage = library.lexical.scores_and_coverage(keys)
    by_words = {
        "fielded": fielded,
        "passage_words": np.maximum.reduceat(of_passages, library.first_passages[:-1]),
    }
    near = passage_places(library, hits)
    nearness = np.array([hit.score for hit in hits], dtype=np.float64)
    rankings: list[tuple[NDArray[np.int64], Scores]] = []
    cosines = {name: library.vectors[name].cosines(query) for name in library.vectors}
    for name in RANKINGS:
        if name in cosines:
            # Shifted by 1, so that no cosine is taken for "not found".
            places, values = _top(_without(np.nan_to_num(cosines[name] + 1.0), left_out), DOCUMENT_DEPTH)
            rankings.append((places, values - 1.0))
        elif name in by_words:
            rankings.append(_top(_without(by_words[name], left_out), DOCUMENT_DEPTH))
        else:
            rankings.append(_of_vectors(library, near, nearness, left_out))
    found = np.unique(np.concatenate([places for places, _ in rankings]))
    scores = np.full((len(found), len(RANKINGS)), np.nan)
    ranks = np.full((len(found), len(RANKINGS)), DOCUMENT_DEPTH, dtype=np.int64)
    for column, (name, (places, values)) in enumerate(zip(RANKINGS, rankings, strict=True)):
        rows = np.searchsorted(found, places)
        scores[rows, column] = values
        ranks[rows, column] = np.minimum(np.arange(len(places)), DOCUMENT_DEPTH)
        known = by_words.get(name, cosines.get(name))
        if known is not None:
            scores[:, column] = known[found]
    fused = np.where(ranks < DOCUMENT_DEPTH, 1.0 / (RRF_K + 1 + ranks), 0.0).sum(axis=1)
    order = np.lexsort((found, -fused))
    found = found[order]
    places = _best_passages(library, found, of_passages, near)
    shown: list[int] = places.tolist()
    passages = tuple(library.in_order[place] for place in shown)
    return Candidates(
        found, scores[order], ranks[order], fused[order], passages, of_passages[places], coverage[found]
    )


def _without(scores: Scores, places: Sequence[int]) -> Scores:
    """The scores with 0 for what may not be found."""
    if not places:
        return scores
    kept = scores.copy()
    kept[places] = 0.0
    return kept


def _top(scores: Scores, depth: int) -> tuple[NDArray[np.int64], Scores]:
    """The places with the highest scores above 0, best first; ties by place."""
    places = np.flatnonzero(scores > 0)
    if len(places) > depth:
        found = scores[places]
        places = places[found >= np.partition(found, -depth)[-depth]]
    places = places[np.argsort(-scores[places], kind="stable")][:depth]
    return places, scores[places]


def _of_vectors(
    library: TenantLibrary, places: NDArray[np.int64], cosines: Scores, left_out: Sequence[int]
) -> tuple[NDArray[np.int64], Scores]:
    """Documents in the order of their best passage, from passages in the order of their cosines."""
    owners, first = np.unique(library.owners[places], return_index=True)
    order = np.argsort(first)
    owners, values = owners[order], cosines[first[order]]
    if not left_out:
        return owners, values
    kept = ~np.isin(owners, left_out)
    return owners[kept], values[kept]


def passage_places(library: TenantLibrary, hits: Sequence[VectorHit]) -> NDArray[np.int64]:
    """Where the passages of hits stand in the tenant's own library.

    Raises:
        TenantLeakError: One of them is not there.
    """
    try:
        return np.array([library.places[hit.chunk_id] for hit in hits], dtype=np.int64)
    except KeyError as error:
        raise TenantLeakError(
            f"passage {error.args[0]} does not belong to the tenant that asked; query stopped"
        ) from error


def _best_passages(
    library: TenantLibrary, found: NDArray[np.int64], words: Scores, near: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each document the passage that its words and its meaning put first, as a place in the library.

    A document of whose passages none is among the first of either ranking is shown by its first one.
    """
    top, _ = _top(words, PASSAGE_DEPTH)
    ranks = np.concatenate([np.arange(len(top)), np.arange(len(near))])
    ranked, shares = np.unique(np.concatenate([top, near]), return_inverse=True)
    fused = np.bincount(shares, 1.0 / (RRF_K + 1 + ranks))
    owners = library.owners[ranked]
    ranked = ranked[np.lexsort((ranked, -fused, owners))]
    owners, first = np.unique(library.owners[ranked], return_index=True)
    best = library.first_passages[found]
    at = np.minimum(np.searchsorted(owners, found), max(0, len(owners) - 1))
    is_ranked = owners[at] == found if len(owners) else np.zeros(len(found), dtype=bool)
    best[is_ranked] = ranked[first[at[is_ranked]]]
    return best
