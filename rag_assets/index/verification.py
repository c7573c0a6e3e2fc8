"""Checks of a finished build in the engine itself, before anybody may see it.

Add a check as a function that returns `Check`. Avoid judging quality by what the builder believes
it wrote: everything here is read back from the store.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rag_assets.chunking import chunk_hash
from rag_assets.embedding import Embedder
from rag_assets.fields import passage_text
from rag_assets.index.check_names import COUNT, HASHES, NOT_EMPTY, SAMPLE
from rag_assets.index.contract import OpenBuild, Passage, TenantScope, VectorQuery
from rag_assets.retrieval import Retriever

SELF_RETRIEVAL_SAMPLE = 20
INCREMENT_SAMPLE = 8
"""Of a build on a base, whose own sample was searched when it was made; each costs an embedding (50 ms)."""

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
    embedder: Embedder,
    gates: Sequence[RetrievalGate],
    sample_size: int = SELF_RETRIEVAL_SAMPLE,
) -> tuple[Check, ...]:
    """All checks of a build; the gates run only when the content is right.

    Args:
        build: The build, read back.
        expected: Chunk id → content hash of the whole corpus.
        embedder: Embeds the sample.
        gates: Run after the checks of content.
        sample_size: Passages that are searched by their own text.
    """
    stored = {passage.chunk_id: passage for passage in build.passages()}
    checks = [
        _not_empty(build.count()),
        _count_equals(build.count(), len(expected)),
        _hashes_equal(stored, expected),
        _finds_itself(build, stored, embedder, sample_size),
    ]
    if all(check.passed for check in checks) and gates:
        retriever = Retriever(build, embedder, passages=stored.values())
        checks.extend(gate(retriever) for gate in gates)
    return tuple(checks)


def _not_empty(count: int) -> Check:
    return Check(NOT_EMPTY, count > 0, f"{count} points")


def _count_equals(count: int, expected: int) -> Check:
    return Check(COUNT, count == expected, f"{count} points stored, {expected} in the corpus")


def _hashes_equal(stored: dict[str, Passage], wanted: Mapping[str, str]) -> Check:
    """Hashes are computed again from the stored text: a truncated payload is found."""
    actual = {key: chunk_hash(passage.title, passage.text) for key, passage in stored.items()}
    wrong = sorted(key for key in wanted.keys() | actual.keys() if wanted.get(key) != actual.get(key))
    detail = f"{len(wrong)} of {len(wanted)} differ" + (f", first {wrong[0]}" if wrong else "")
    return Check(HASHES, not wrong, detail)


def _finds_itself(
    build: OpenBuild, stored: dict[str, Passage], embedder: Embedder, sample_size: int
) -> Check:
    """Passages searched by their own text come back first, or tie with a passage of equal text."""
    ordered = [stored[key] for key in sorted(stored)]
    sample = ordered[:: max(1, len(ordered) // sample_size)][:sample_size]
    texts = [passage_text(passage.title, passage.text) for passage in sample]
    vectors = embedder.embed(texts) if sample else ()
    lost: list[str] = []
    for passage, vector in zip(sample, vectors, strict=True):
        query = VectorQuery("passage", _TIE_DEPTH, dense=vector)
        hits = build.search(TenantScope(passage.tenant_id), [query])[0]
        tied = {hit.chunk_id for hit in hits if hits[0].score - hit.score < _TIE}
        if passage.chunk_id not in tied:
            lost.append(passage.chunk_id)
    detail = f"{len(sample) - len(lost)} of {len(sample)} sampled passages come back first"
    return Check(SAMPLE, bool(sample) and not lost, detail)
