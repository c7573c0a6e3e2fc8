"""Hybrid search of one tenant's documents: five rankings, fused by reciprocal rank.

Add a ranking here when it judges documents apart from the others. Avoid learned weights
(a reranker stands behind this) and avoid deciding from the fused score: it only orders, it does
not say whether anything fits. Whether there is evidence at all is told by raw scores.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from rag_assets.analysis import searchable, term_id, terms
from rag_assets.embedding import Embedder
from rag_assets.freshness import FirmwareInUse, not_applicable
from rag_assets.index.contract import (
    SPARSE_NAME,
    OpenBuild,
    Passage,
    TenantLeakError,
    TenantScope,
    VectorHit,
    VectorQuery,
)
from rag_assets.lexical import Scores
from rag_assets.library import IndexedDocument, TenantLibrary

RRF_K = 10
"""Constant of reciprocal rank fusion. Engines default to other values (Qdrant's server to 2)."""

DEFAULT_TOP_K = 5
_PASSAGE_DEPTH = 100  # passages per ranking: about 50 documents
_DOCUMENT_DEPTH = 50


@dataclass(frozen=True)
class SearchRequest:
    """One search.

    Attributes:
        query: Question or alert text.
        tenant_id: Whose documents; empty is an error.
        asked_on: Day on which the documents must be current.
        top_k: Documents to return, each with its best passage.
        machine_model: Leave out documents about other models.
        firmware_in_use: Leave out documents about firmware that nobody runs.
    """

    query: str
    tenant_id: str
    asked_on: date
    top_k: int = DEFAULT_TOP_K
    machine_model: str | None = None
    firmware_in_use: FirmwareInUse = field(default_factory=dict[str, frozenset[str]])


@dataclass(frozen=True)
class Evidence:
    """Raw scores of a hit; None where the passage was not in that ranking.

    Attributes:
        cosine: Of question and passage, the best of passage, title and lead.
        bm25: Of the passage.
        fielded_bm25: Of the whole document (BM25F).
        coverage: Share of the question's information that the document's words cover, 0 to 1.
    """

    cosine: float | None
    bm25: float | None
    fielded_bm25: float
    coverage: float

    @property
    def strength(self) -> float:
        """How much speaks for the document, from meaning and from words; not a probability."""
        return (self.cosine or 0.0) + COVERAGE_WEIGHT * self.coverage

    @property
    def is_sufficient(self) -> bool:
        """Whether the document is about the question at all."""
        return self.strength >= SUFFICIENT_STRENGTH


COVERAGE_WEIGHT = 0.5
SUFFICIENT_STRENGTH = 0.58
"""Set on 90 questions to the project's own corpus: all 17 without an answer stay below (the highest
that no missing code refuses has 0.57), 65 of 73 with an answer are above."""


@dataclass(frozen=True)
class SearchHit:
    """A document with its best passage."""

    document: IndexedDocument
    passage: Passage
    evidence: Evidence
    fused_score: float


class Retriever:
    """Search over one open build; threads may share it.

    Args:
        build: The open build; `close` closes it.
        embedder: The embedder that the build is stamped with.
    """

    def __init__(self, build: OpenBuild, embedder: Embedder) -> None:
        self._build = build
        self._embedder = embedder
        by_tenant: dict[str, list[Passage]] = {}
        for passage in build.passages():
            by_tenant.setdefault(passage.tenant_id, []).append(passage)
        self._libraries = {tenant: TenantLibrary(passages) for tenant, passages in by_tenant.items()}

    def search(self, request: SearchRequest) -> tuple[SearchHit, ...]:
        """The best documents of the tenant, best first; empty if it has none.

        Raises:
            MissingTenantError: The request names no tenant.
            TenantLeakError: The engine returned a passage of another tenant.
        """
        excluded = self.excluded(request)
        scope = TenantScope(request.tenant_id, frozenset(excluded))
        library = self.library(scope)
        query_terms = terms(searchable(request.query))
        queries = self._queries(request.query, query_terms)
        if not library.documents or not queries:
            return ()
        rankings = dict(
            zip([query.using for query in queries], self._build.search(scope, queries), strict=True)
        )
        return _fuse(library, scope, query_terms, rankings)[: request.top_k]

    def excluded(self, request: SearchRequest) -> Mapping[str, str]:
        """Documents that may not be cited for this request, with the reason.

        Applicability comes first: an edition for newer firmware does not supersede the older one
        for a machine that still runs the older firmware.
        """
        library = self.library(TenantScope(request.tenant_id))
        inapplicable = not_applicable(library.documents, request.firmware_in_use, request.machine_model)
        return {**inapplicable, **library.not_current(request.asked_on, frozenset(inapplicable))}

    def library(self, scope: TenantScope) -> TenantLibrary:
        """What the scope's tenant owns; an empty library for an unknown tenant."""
        return self._libraries.get(scope.tenant_id) or TenantLibrary(())

    def close(self) -> None:
        """Let the build go."""
        self._build.close()

    def _queries(self, query: str, query_terms: Sequence[str]) -> list[VectorQuery]:
        if not query.strip():
            return []
        vector = self._embedder.embed([query])[0]
        queries = [
            VectorQuery("passage", _PASSAGE_DEPTH, dense=vector),
            VectorQuery("title", _DOCUMENT_DEPTH, dense=vector),
            VectorQuery("lead", _DOCUMENT_DEPTH, dense=vector),
        ]
        if query_terms:
            sparse = {term_id(term): 1.0 for term in query_terms}
            queries.append(VectorQuery(SPARSE_NAME, _PASSAGE_DEPTH, sparse=sparse))
        return queries


def _fuse(
    library: TenantLibrary,
    scope: TenantScope,
    query_terms: Sequence[str],
    rankings: Mapping[str, Sequence[VectorHit]],
) -> tuple[SearchHit, ...]:
    """Documents by the sum of 1 / (k + rank) over the five rankings."""
    fielded = library.lexical.scores(query_terms)
    coverage = library.lexical.coverage(query_terms)
    lists = [_fielded_ranking(library, scope, fielded)]
    lists.extend(_document_ranking(library, scope, hits) for hits in rankings.values())
    fused = _reciprocal_ranks(lists)
    best = _best_passages(library, rankings)
    cosines = _best_cosines(library, rankings)
    sparse_scores = {hit.chunk_id: hit.score for hit in rankings.get(SPARSE_NAME, ())}
    hits: list[SearchHit] = []
    for position in sorted(fused, key=lambda item: (-fused[item], library.documents[item].key)):
        document = library.documents[position]
        passage = best.get(position, document.head)
        evidence = Evidence(
            cosine=cosines.get(position),
            bm25=sparse_scores.get(passage.chunk_id),
            fielded_bm25=float(fielded[position]),
            coverage=float(coverage[position]),
        )
        hits.append(SearchHit(document, passage, evidence, fused[position]))
    return tuple(hits)


def _position(library: TenantLibrary, hit: VectorHit) -> int:
    """Where the hit's document stands in the tenant's own library."""
    passage = library.passages.get(hit.chunk_id)
    if passage is None:
        raise TenantLeakError(
            f"passage {hit.chunk_id} does not belong to the tenant that asked; query stopped"
        )
    return library.positions[passage.document_key]


def _document_ranking(library: TenantLibrary, scope: TenantScope, hits: Sequence[VectorHit]) -> list[int]:
    """Documents in the order of their best passage."""
    order = dict.fromkeys(_position(library, hit) for hit in hits)
    return [item for item in order if library.documents[item].key not in scope.excluded_documents]


def _fielded_ranking(library: TenantLibrary, scope: TenantScope, scores: Scores) -> list[int]:
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    allowed = [
        position
        for position in order
        if scores[position] > 0 and library.documents[position].key not in scope.excluded_documents
    ]
    return allowed[:_DOCUMENT_DEPTH]


def _reciprocal_ranks(lists: Iterable[Sequence[int]]) -> dict[int, float]:
    fused: dict[int, float] = {}
    for ranking in lists:
        for rank, position in enumerate(ranking, start=1):
            fused[position] = fused.get(position, 0.0) + 1.0 / (RRF_K + rank)
    return fused


def _best_passages(library: TenantLibrary, rankings: Mapping[str, Sequence[VectorHit]]) -> dict[int, Passage]:
    """For each document the passage that its words and its meaning put first."""
    fused: dict[str, float] = {}
    for name in ("passage", SPARSE_NAME):
        for rank, hit in enumerate(rankings.get(name, ()), start=1):
            fused[hit.chunk_id] = fused.get(hit.chunk_id, 0.0) + 1.0 / (RRF_K + rank)
    best: dict[int, Passage] = {}
    for chunk_id in sorted(fused, key=lambda item: (-fused[item], item)):
        passage = library.passages[chunk_id]
        best.setdefault(library.positions[passage.document_key], passage)
    return best


def _best_cosines(library: TenantLibrary, rankings: Mapping[str, Sequence[VectorHit]]) -> dict[int, float]:
    cosines: dict[int, float] = {}
    for name, hits in rankings.items():
        if name == SPARSE_NAME:
            continue
        for hit in hits:
            position = _position(library, hit)
            cosines[position] = max(cosines.get(position, -1.0), hit.score)
    return cosines
