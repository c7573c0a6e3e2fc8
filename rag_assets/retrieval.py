"""Hybrid search of one tenant's documents: five rankings fused, then ordered by a learned ranker.

Add what every search goes through here. Avoid learning (`rag_assets.rerank`), and avoid deciding
from the fused score: it only orders, it does not say whether anything fits. Whether there is
evidence at all is told by raw scores.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from rag_assets.analysis import searchable, terms
from rag_assets.caching import ContentCache
from rag_assets.candidates import (
    PASSAGE_DEPTH,
    RRF_K,
    Candidates,
    find_candidates,
)
from rag_assets.contents import Contents, read_contents
from rag_assets.embedding import Embedder, Vectors
from rag_assets.freshness import FirmwareInUse
from rag_assets.index.contract import OpenBuild, Passage, TenantScope, VectorQuery
from rag_assets.lexical import query_keys
from rag_assets.library import IndexedDocument, TenantLibrary
from rag_assets.postings import Keys
from rag_assets.rerank.features import Features, features
from rag_assets.rerank.rankers import RERANK_DEPTH, Ranker

__all__ = ["DEFAULT_TOP_K", "RRF_K", "Evidence", "Retriever", "SearchHit", "SearchRequest"]

DEFAULT_TOP_K = 5


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
    """A document with its best passage.

    Attributes:
        fused_score: Of the first stage; orders, and says nothing about fitness.
    """

    document: IndexedDocument
    passage: Passage
    evidence: Evidence
    fused_score: float


@dataclass(frozen=True)
class RetrievalCaches:
    """Results of searches by the tenant's documents, and vectors of questions by embedder."""

    results: ContentCache[tuple[SearchHit, ...]] = field(default_factory=lambda: ContentCache("search"))
    vectors: ContentCache[Vectors] = field(default_factory=lambda: ContentCache("embedding"))


@dataclass(frozen=True)
class FirstStage:
    """What the first stage of one search found.

    Attributes:
        keys: Of the question's words, without repeats.
    """

    library: TenantLibrary
    keys: Keys
    candidates: Candidates

    def features(self, asked_on: date) -> Features:
        """Features of the first `RERANK_DEPTH` candidates."""
        return features(self.library, self.keys, self.candidates, asked_on)[:RERANK_DEPTH]


@dataclass(frozen=True)
class _Serving:
    """Rankers by tenant, and what each is told from another by; that of all other tenants under ""."""

    rankers: Mapping[str, Ranker | None]
    digests: Mapping[str, str]


class Retriever:
    """Search over one open build; threads may share it.

    Args:
        build: The open build; `close` closes it.
        embedder: The embedder that the build is stamped with.
        ranker: Orders the candidates; without one the first stage's order stands.
        rankers: Of single tenants, in place of `ranker`.
        caches: Shared by the retrievers of successive builds; without them nothing is kept.
        contents: Of the build, where they were read before.
        earlier: A retriever over another build: of documents that are in both, words are not counted again.
    """

    def __init__(
        self,
        build: OpenBuild,
        embedder: Embedder,
        ranker: Ranker | None = None,
        caches: RetrievalCaches | None = None,
        rankers: Mapping[str, Ranker] | None = None,
        contents: Contents | None = None,
        earlier: "Retriever | None" = None,
    ) -> None:
        self._build = build
        self._embedder = embedder
        self._ranker = ranker
        self._caches = caches
        self._serving = _Serving({}, {})
        self.serve(rankers or {})
        self.contents = read_contents(build) if contents is None else contents
        self._libraries: dict[str, TenantLibrary] = {}
        self._earlier = dict(earlier._libraries) if earlier else {}
        self._counting = threading.Lock()

    def search(self, request: SearchRequest) -> tuple[SearchHit, ...]:
        """The best documents of the tenant, best first; empty if it has none.

        Raises:
            MissingTenantError: The request names no tenant.
            TenantLeakError: The engine returned a passage of another tenant.
        """
        serving = self._serving
        if self._caches is None:
            return self._search(request, serving)
        content = (
            *(request.query, request.asked_on, request.top_k, request.machine_model),
            frozenset(request.firmware_in_use.items()),
            # Another ranker orders otherwise.
            serving.digests.get(request.tenant_id, serving.digests[""]),
        )
        made_from = self.library(TenantScope(request.tenant_id)).digest
        return self._caches.results.get_or_make(
            request.tenant_id, made_from, content, lambda: self._search(request, serving), _cites_the_same
        )

    def serve(self, rankers: Mapping[str, Ranker]) -> None:
        """Order by these rankers of single tenants from the next search on."""
        every: dict[str, Ranker | None] = {"": self._ranker, **rankers}
        self._serving = _Serving(every, {tenant: _digest(ranker) for tenant, ranker in every.items()})

    def ranker_of(self, tenant_id: str) -> Ranker | None:
        """Who orders a tenant's candidates; None leaves the first stage's order."""
        return self._serving.rankers.get(tenant_id, self._ranker)

    def _search(self, request: SearchRequest, serving: "_Serving") -> tuple[SearchHit, ...]:
        found = self.first_stage(request)
        if found is None:
            return ()
        order = np.arange(len(found.candidates))
        ranker = serving.rankers.get(request.tenant_id, self._ranker)
        if ranker is not None:
            judged = ranker.scores(found.features(request.asked_on))
            order[: len(judged)] = np.argsort(-judged, kind="stable")
        return _hits(found, _distinct(found, order, request.top_k))

    def first_stage(self, request: SearchRequest) -> FirstStage | None:
        """Candidates of a search before they are ordered again; None where there is nothing to search."""
        excluded = self.excluded(request)
        scope = TenantScope(request.tenant_id, frozenset(excluded))
        library = self.library(scope)
        if not library.documents or not request.query.strip():
            return None
        keys = query_keys(terms(searchable(request.query)))
        vector = self._question_vector(request.tenant_id, request.query)
        hits = self._build.search(scope, [VectorQuery("passage", PASSAGE_DEPTH, vector)])[0]
        found = find_candidates(library, scope, keys, vector, hits)
        return FirstStage(library, keys, found) if len(found) else None

    def excluded(self, request: SearchRequest) -> Mapping[str, str]:
        """Documents that may not be cited for this request, with the reason."""
        library = self.library(TenantScope(request.tenant_id))
        return library.excluded(request.asked_on, request.firmware_in_use, request.machine_model)

    def library(self, scope: TenantScope) -> TenantLibrary:
        """What the scope's tenant owns, counted when it is first asked for; empty for an unknown tenant."""
        tenant_id = scope.tenant_id
        owned = self.contents.tenants.get(tenant_id)
        if owned is not None and tenant_id not in self._libraries:
            with self._counting:
                if tenant_id not in self._libraries:
                    earlier = self._earlier.pop(tenant_id, None)
                    self._libraries[tenant_id] = TenantLibrary(owned.values(), self.contents.vectors, earlier)
        return self._libraries.get(tenant_id) or TenantLibrary(())

    def prepare(self) -> None:
        """Count every tenant's words now, so that no question waits for it."""
        for tenant_id in self.contents.tenants:
            self.library(TenantScope(tenant_id))
        self._earlier.clear()

    @property
    def build(self) -> OpenBuild:
        """What is searched."""
        return self._build

    def close(self) -> None:
        """Let the build go."""
        self._build.close()

    def _question_vector(self, tenant_id: str, query: str) -> Vectors:
        if self._caches is None:
            return self._embedder.embed_question(query)
        # The vector does not depend on the build: it outlives a swap.
        return self._caches.vectors.get_or_make(
            tenant_id, self._embedder.name, query, lambda: self._embedder.embed_question(query)
        )


def _distinct(found: FirstStage, order: "np.ndarray", count: int) -> "np.ndarray":
    """The first places of an order that say something new.

    A document whose passage repeats one further up word for word (a copy in another folder, the same page of
    two exports) is passed over: five places are few.
    """
    kept: dict[str, int] = {}
    for place in map(int, order):
        kept.setdefault(found.candidates.passages[place].content_hash, place)
        if len(kept) == count:
            break
    return np.fromiter(kept.values(), np.int64, len(kept))


def _cites_the_same(earlier: tuple[SearchHit, ...], later: tuple[SearchHit, ...]) -> bool:
    """Whether two results name the same documents, unchanged, with the same passages in the same order."""

    def cited(hits: tuple[SearchHit, ...]) -> list[tuple[str, str]]:
        return [(hit.document.digest, hit.passage.content_hash) for hit in hits]

    return cited(earlier) == cited(later)


def _digest(ranker: Ranker | None) -> str:
    if ranker is None:
        return "untrained"
    return hashlib.sha256(json.dumps(ranker.to_json(), sort_keys=True).encode()).hexdigest()[:12]


def _hits(found: FirstStage, order: "np.ndarray") -> tuple[SearchHit, ...]:
    candidates, library = found.candidates, found.library
    hits: list[SearchHit] = []
    for place in map(int, order):
        position = int(candidates.positions[place])
        cosines = candidates.scores[place, 2:]
        words = float(candidates.passage_words[place])
        evidence = Evidence(
            cosine=None if np.isnan(cosines).all() else float(np.nanmax(cosines)),
            bm25=words or None,
            fielded_bm25=float(candidates.scores[place, 0]),
            coverage=float(candidates.coverage[place]),
        )
        passage = candidates.passages[place]
        hits.append(SearchHit(library.documents[position], passage, evidence, float(candidates.fused[place])))
    return tuple(hits)
