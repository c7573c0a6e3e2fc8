"""A library that follows a change is the library that would have been counted from nothing."""

import gc
import random
import weakref
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pytest
from word_embedder import MemoryKeeper, WordEmbedder

from rag_assets.chunking import ChunkerSettings
from rag_assets.contents import Change, Contents, follow_contents, read_contents
from rag_assets.documents import Document
from rag_assets.index.contract import IndexPoint
from rag_assets.index.points import make_points
from rag_assets.library import TenantLibrary

WORDS = [f"{a}{b}{c}{b}" for a in "bdgkm" for b in "aeiou" for c in "lnrst"]


class HeldBuild:
    """Points in memory, in place of an engine; counts what is read."""

    def __init__(self, corpus: Mapping[str, Document]) -> None:
        made = make_points(list(corpus.values()), WordEmbedder(), MemoryKeeper(), ChunkerSettings(200, 40))
        self.points: dict[str, IndexPoint] = {point.passage.chunk_id: point for point in made.points}
        self.read_count = 0

    def count(self) -> int:
        """Points."""
        return len(self.points)

    def passages(self, chunk_ids: Any = None) -> Any:
        """Passages."""
        for name in self.points if chunk_ids is None else chunk_ids:
            self.read_count += 1
            yield self.points[name].passage

    def document_vectors(self, chunk_ids: Any = None) -> Any:
        """Vectors of first passages."""
        for name in self.points if chunk_ids is None else chunk_ids:
            point = self.points[name]
            if point.passage.ordinal == 0:
                yield name, {key: vector for key, vector in point.dense.items() if key != "passage"}


def document(draw: random.Random, name: str, tenant: str) -> Document:
    text = "\n\n".join(" ".join(draw.choices(WORDS, k=12)) for _ in range(draw.randint(1, 9)))
    return Document(tenant, name, "1", name, f"{name}.md", "", f"# {name}\n\n{text}\n", tags=(name[:1],))


def change(earlier: HeldBuild, later: HeldBuild) -> Change:
    """What the builders' records would say."""

    def by_document(build: HeldBuild) -> dict[tuple[str, str], dict[str, Any]]:
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for point in build.points.values():
            name = point.passage.tenant_id, point.passage.document_key
            found.setdefault(name, {})[point.passage.chunk_id] = point.passage
        return found

    old, new = by_document(earlier), by_document(later)
    differing = frozenset(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return Change(differing, tuple(chunk for name in sorted(differing) for chunk in new.get(name, {})))


def assert_equal(one: Any, other: Any) -> None:
    """Every array and number of two libraries."""
    for name, value in vars(one).items():
        twin = getattr(other, name)
        if isinstance(value, np.ndarray):
            assert value.dtype == twin.dtype and np.array_equal(value, twin), (type(one), name)
        elif isinstance(value, dict | tuple | float | int):
            if not name.startswith("vectors"):
                assert value == twin, (type(one), name)
        elif type(value).__module__.startswith("rag_assets"):
            assert_equal(value, twin)


@pytest.mark.parametrize("seed", range(6))
def test_following_changes_equals_counting_anew(seed: int) -> None:
    """Forbids weights of an older corpus, and words of a document that was withdrawn.

    Documents are written, rewritten, withdrawn and put in front of all others, six times over; after each
    change every array of the library that followed is bit for bit that of one that was made from nothing.
    """
    draw = random.Random(seed)
    corpus = {name: document(draw, name, "plant") for name in ("b", "d", "f", "h", "k")}
    held = HeldBuild(corpus)
    contents = read_contents(held)  # type: ignore[arg-type]
    library = TenantLibrary(contents.tenants["plant"].values(), contents.vectors)
    for step in range(6):
        for name in draw.sample(sorted(corpus), 2):
            if draw.random() < 0.4 and len(corpus) > 2:
                del corpus[name]
            else:
                corpus[name] = document(draw, name, "plant")
        new = draw.choice("aceg") + str(step)
        corpus[new] = document(draw, new, "plant")
        following = HeldBuild(corpus)
        contents = follow_contents(following, contents, change(held, following))  # type: ignore[arg-type]
        library = TenantLibrary(contents.tenants["plant"].values(), contents.vectors, library)
        fresh = read_contents(HeldBuild(corpus))  # type: ignore[arg-type]
        expected = TenantLibrary(fresh.tenants["plant"].values(), fresh.vectors)
        assert_equal(library, expected)
        for name in ("title", "lead"):
            vector = WordEmbedder().embed([WORDS[step]])[0]
            assert np.array_equal(
                library.vectors[name].cosines(vector), expected.vectors[name].cosines(vector)
            )
        held = following


def test_only_what_changed_is_read() -> None:
    """Forbids that one edited document makes the process read the whole store again."""
    draw = random.Random(1)
    corpus = {name: document(draw, name, "plant") for name in "abcdefgh"}
    held = HeldBuild(corpus)
    contents = read_contents(held)  # type: ignore[arg-type]
    corpus["c"] = document(draw, "c", "plant")
    following = HeldBuild(corpus)

    followed = follow_contents(following, contents, change(held, following))  # type: ignore[arg-type]

    assert following.read_count == len(followed.tenants["plant"]["c@1"].passages)
    assert followed.tenants["plant"]["a@1"] is contents.tenants["plant"]["a@1"]


def test_a_record_that_does_not_fit_the_store_is_not_trusted() -> None:
    """Forbids answers from a build that the process only believes to know: a document too many is held."""
    draw = random.Random(2)
    corpus = {name: document(draw, name, tenant) for name, tenant in (("a", "north"), ("b", "south"))}
    contents = read_contents(HeldBuild(corpus))  # type: ignore[arg-type]
    del corpus["b"]
    following = HeldBuild(corpus)

    followed: Contents = follow_contents(following, contents, Change(frozenset(), ()))  # type: ignore[arg-type]

    assert list(followed.tenants) == ["north"]


def test_a_library_that_is_let_go_is_freed_at_once() -> None:
    """Forbids a cycle: every swapped build then stays in memory until the garbage collector comes by."""
    draw = random.Random(3)
    contents = read_contents(HeldBuild({"a": document(draw, "a", "plant")}))  # type: ignore[arg-type]
    gc.disable()
    try:
        library = TenantLibrary(contents.tenants["plant"].values(), contents.vectors)
        assert library.excluded(date(2026, 6, 1), {}, None) == {}
        held = weakref.ref(library)
        del library
        assert held() is None
    finally:
        gc.enable()
