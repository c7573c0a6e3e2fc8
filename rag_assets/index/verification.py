"""Checks of a finished build in the engine itself, before anybody may see it.

Add a check as a function that returns `Check`. Avoid judging quality by what the builder believes
it wrote: everything here is read back from the store.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rag_assets.chunking import chunk_hash
from rag_assets.contents import read_contents
from rag_assets.embedding import Embedder
from rag_assets.embedding_cache import EmbeddingKeeper, embed_cached
from rag_assets.fields import passage_text
from rag_assets.index.check_names import COUNT, HASHES, NOT_EMPTY, SAMPLE
from rag_assets.index.contract import OpenBuild, Passage, TenantScope, VectorQuery
from rag_assets.retrieval import Retriever

SELF_RETRIEVAL_SAMPLE = 20

_TIE_DEPTH = 5
_TIE = 1e-5  # float32 rounding between the embedder's vector and the engine's


@dataclass(frozen=True)
class Check:
    """One result."""

    name: str
    passed: bool
    detail: str


RetrievalGate = Callable[[Retriever], Check]
"""Judges a build by the answers it gives, for example on golden questions."""


def verify(
    build: OpenBuild,
    expected: Mapping[str, str],
    written: Mapping[str, Passage],
    embedder: Embedder,
    gates: Sequence[RetrievalGate],
    keeper: EmbeddingKeeper | None = None,
) -> tuple[Check, ...]:
    """All checks of a build; the gates run only when the content is right.

    Args:
        build: The build, read back.
        expected: Chunk id → content hash of the whole corpus.
        written: Passages that the builder has made, by chunk id; the others came with a base.
        embedder: Embeds the sample.
        gates: Run after the checks of content.
        keeper: Has vectors of the sample by their text; without one the sample is embedded anew. For a build
            on a base, which began with a sample that was embedded anew: 20 embeddings take a second.
    """
    passages = tuple(build.passages()) if gates else None
    # Text after text: 20,000 of them held at once would be looked through by the garbage collector.
    stored = {item.chunk_id: chunk_hash(item.title, item.text) for item in passages or build.texts()}
    whole = passages or build.passages(list(written))
    count = build.count()
    checks = [
        _not_empty(count),
        _count_equals(count, len(expected)),
        _hashes_equal(stored, expected, _changed(whole, written)),
        _finds_itself(build, stored, embedder, keeper),
    ]
    if all(check.passed for check in checks) and gates:
        retriever = Retriever(build, embedder, contents=read_contents(build, passages))
        checks.extend(gate(retriever) for gate in gates)
    return tuple(checks)


def _not_empty(count: int) -> Check:
    return Check(NOT_EMPTY, count > 0, f"{count} points")


def _count_equals(count: int, expected: int) -> Check:
    return Check(COUNT, count == expected, f"{count} points stored, {expected} in the corpus")


def _changed(whole: Iterable[Passage], written: Mapping[str, Passage]) -> set[str]:
    """Passages that do not come back as they were written, in their text or in what a citation tells."""
    return {passage.chunk_id for passage in whole if passage != written.get(passage.chunk_id, passage)}


def _hashes_equal(stored: Mapping[str, str], wanted: Mapping[str, str], changed: set[str]) -> Check:
    """Hashes are those of the stored text, computed again: a truncated payload is found."""
    different = {key for key in wanted.keys() | stored.keys() if wanted.get(key) != stored.get(key)}
    wrong = sorted(different | changed)
    detail = f"{len(wrong)} of {len(wanted)} differ" + (f", first {wrong[0]}" if wrong else "")
    return Check(HASHES, not wrong, detail)


def _finds_itself(
    build: OpenBuild, stored: Mapping[str, str], embedder: Embedder, keeper: EmbeddingKeeper | None
) -> Check:
    """Passages searched by their own text come back first, or tie with a passage of equal text.

    Of more copies than are looked at, one that comes back stands for all.
    """
    ordered = sorted(stored)
    step = max(1, len(ordered) // SELF_RETRIEVAL_SAMPLE)
    sample = list(build.passages(ordered[::step][:SELF_RETRIEVAL_SAMPLE]))
    texts = [passage_text(item.title, item.text) for item in sample]
    if keeper:
        vectors = embed_cached(texts, embedder, keeper).vectors
    else:
        vectors = embedder.embed(texts) if sample else ()
    lost: list[str] = []
    for item, vector in zip(sample, vectors, strict=True):
        query = VectorQuery("passage", _TIE_DEPTH, dense=vector)
        hits = build.search(TenantScope(item.tenant_id), [query])[0]
        tied = {stored.get(hit.chunk_id) for hit in hits if hits[0].score - hit.score < _TIE}
        if stored[item.chunk_id] not in tied:
            lost.append(item.chunk_id)
    detail = f"{len(sample) - len(lost)} of {len(sample)} sampled passages come back first"
    return Check(SAMPLE, bool(sample) and not lost, detail)
