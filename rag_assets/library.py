"""What one tenant owns in an open index build: its documents, passages and lexical statistics, in memory.

Made when a build is opened, of what the process held of the build before where it can be. Avoid engine calls
and ranking here.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache, partial

import numpy as np

from rag_assets.embedding import Vectors
from rag_assets.freshness import FirmwareInUse, not_applicable, not_current
from rag_assets.index.contract import DOCUMENT_VECTORS, Passage
from rag_assets.lexical import FieldedIndex, PassageIndex, SharedWords, WordPairs
from rag_assets.postings import Carried, Kept, Keys, Part, Scores

LABEL_FIELDS = ("title", "file_name", "labels")
"""What a document is called."""

_FRONT_MATTER = (
    *("document_id", "version", "title", "path", "kind", "effective_on"),
    *("supersedes", "machine_models", "firmware", "tags"),
)


@dataclass(frozen=True)
class IndexedDocument:
    """One document of a build, as its passages tell."""

    passages: tuple[Passage, ...]

    @property
    def head(self) -> Passage:
        """Its first passage, which carries the same front matter as all others."""
        return self.passages[0]

    @property
    def key(self) -> str:
        """`id@version`."""
        return self.head.document_key

    @property
    def document_id(self) -> str:
        """Id, equal across versions."""
        return self.head.document_id

    @property
    def version(self) -> str:
        """Version text."""
        return self.head.version

    @property
    def effective_on(self) -> date | None:
        """First day on which it holds."""
        return self.head.effective_on

    @property
    def supersedes(self) -> tuple[str, ...]:
        """Ids or keys that it replaces."""
        return self.head.supersedes

    @property
    def machine_models(self) -> tuple[str, ...]:
        """Models that it is written for; empty means all."""
        return self.head.machine_models

    @property
    def firmware(self) -> str | None:
        """Firmware that it is written for."""
        return self.head.firmware

    @cached_property
    def digest(self) -> str:
        """Of everything that search and citations tell of it."""
        front = (getattr(self.head, name) for name in _FRONT_MATTER)
        hashes = (item.content_hash for item in self.passages)
        return hashlib.blake2b(repr((*front, *hashes)).encode(), digest_size=12).hexdigest()

    @property
    def content(self) -> str:
        """Its Markdown, put together again from the passages."""
        return "\n\n".join(passage.text[passage.overlap_characters :] for passage in self.passages)


def documents_of(passages: Iterable[Passage]) -> dict[tuple[str, str], IndexedDocument]:
    """Documents by tenant and key, from their passages in any order."""
    by_document: dict[tuple[str, str], list[Passage]] = {}
    for passage in passages:
        by_document.setdefault((passage.tenant_id, passage.document_key), []).append(passage)
    return {
        name: IndexedDocument(tuple(sorted(items, key=lambda item: item.ordinal)))
        for name, items in by_document.items()
    }


class TenantLibrary:
    """Documents of one tenant in one build.

    Args:
        documents: All documents of the tenant, in any order.
        vectors: Vectors of titles and leads by chunk id of each document's first passage.
        earlier: The tenant's library in an earlier build: words of documents that are the same objects in
            both are not counted again.
    """

    def __init__(
        self,
        documents: Iterable[IndexedDocument],
        vectors: Mapping[str, Mapping[str, Vectors]] | None = None,
        earlier: "TenantLibrary | None" = None,
    ) -> None:
        by_key = {document.key: document for document in sorted(documents, key=lambda item: item.key)}
        self.documents = tuple(by_key.values())
        self.positions = {key: position for position, key in enumerate(by_key)}
        self.in_order = tuple(passage for document in self.documents for passage in document.passages)
        self.places = {passage.chunk_id: place for place, passage in enumerate(self.in_order)}
        self.first_passages = np.cumsum([0, *(len(item.passages) for item in self.documents)])
        self.owners = np.repeat(np.arange(len(self.documents)), np.diff(self.first_passages))
        kept = self._kept(earlier)
        fresh: Sequence[IndexedDocument] = self.documents
        if kept:
            places: list[int] = kept.fresh.tolist()
            fresh = [self.documents[place] for place in places]
        heads = [(vectors or {}).get(document.head.chunk_id, {}) for document in fresh]
        fields = [_fields(document) for document in fresh]
        labels = [np.concatenate([own[name] for name in LABEL_FIELDS]) for own in fields]
        passages = [
            np.concatenate([own["title"], passage.words["text"]])
            for own, document in zip(fields, fresh, strict=True)
            for passage in document.passages
        ]
        lengths = np.array([len(own["body"]) for own in fields], dtype=np.float64)
        named = [np.concatenate([own["title"], own["file_name"]]) for own in fields]
        whole = [np.concatenate([own["title"], own["body"]]) for own in fields]
        leads = [own["lead"] for own in fields]
        vectors_of = {name: [own.get(name) for own in heads] for name in DOCUMENT_VECTORS}

        def carried(part: Callable[[TenantLibrary], Part], items: Kept | None = kept) -> Carried[Part] | None:
            return Carried(part(earlier), items) if earlier and items else None

        def vectors_named(name: str) -> Callable[[TenantLibrary], DocumentVectors]:
            return lambda it: it.vectors[name]

        # The arrays are large, and numpy lets other threads work meanwhile: the longest two beside the rest.
        with ThreadPoolExecutor(2) as pool:
            of_passages = self._kept_passages(earlier, kept) if earlier and kept else None
            old_passages = carried(lambda it: it.passage_words, of_passages)
            passage_words = pool.submit(PassageIndex, passages, old_passages)
            old_pairs = carried(lambda it: it.word_pairs)
            word_pairs = pool.submit(WordPairs, whole, old_pairs)
            self.lexical = FieldedIndex(fields, carried(lambda it: it.lexical))
            self.names = PassageIndex(labels, carried(lambda it: it.names))
            self.label_words = SharedWords(labels, self.lexical, carried(lambda it: it.label_words))
            self.lead_words = SharedWords(leads, self.lexical, carried(lambda it: it.lead_words))
            self.name_pairs = WordPairs(named, carried(lambda it: it.name_pairs))
            self.vectors = {
                name: DocumentVectors(own, carried(vectors_named(name))) for name, own in vectors_of.items()
            }
        self.lengths = kept.spread(earlier.lengths, lengths) if earlier and kept else lengths
        self.passage_words, self.word_pairs = passage_words.result(), word_pairs.result()
        # Of the documents alone: one that holds the library keeps it in memory until cycles are collected.
        self._excluded = lru_cache(maxsize=64)(partial(_judge, self.documents))

    def _kept(self, earlier: "TenantLibrary | None") -> Kept | None:
        """Which documents of an earlier library are here too, unchanged."""
        if earlier is None:
            return None
        places = np.full(len(earlier.documents), -1)
        for place, document in enumerate(earlier.documents):
            now = self.positions.get(document.key, -1)
            if now >= 0 and self.documents[now] is document:
                places[place] = now
        is_fresh = np.ones(len(self.documents), dtype=bool)
        is_fresh[places[places >= 0]] = False
        return Kept(places, np.flatnonzero(is_fresh), len(self.documents))

    def _kept_passages(self, earlier: "TenantLibrary", kept: Kept) -> Kept:
        """The same for passages: those of a kept document moved with it."""
        of_document = kept.places[earlier.owners]
        offsets = np.arange(len(earlier.owners)) - earlier.first_passages[earlier.owners]
        places = np.where(of_document >= 0, self.first_passages[of_document] + offsets, -1)
        is_fresh = np.zeros(len(self.documents), dtype=bool)
        is_fresh[kept.fresh] = True
        return Kept(places, np.flatnonzero(is_fresh[self.owners]), len(self.in_order))

    def document(self, key: str) -> IndexedDocument:
        """The document of a key (`id@version`)."""
        return self.documents[self.positions[key]]

    @cached_property
    def digest(self) -> str:
        """Of all documents: results for one digest are the same in every build."""
        whole = hashlib.blake2b(digest_size=12)
        for document in self.documents:
            whole.update(document.digest.encode())
        return whole.hexdigest()

    @cached_property
    def effective_days(self) -> np.ndarray:
        """Ordinal of each document's effective date; NaN where it has none."""
        dates = (document.effective_on for document in self.documents)
        return np.array([day.toordinal() if day else np.nan for day in dates])

    def excluded(
        self, on: date, firmware_in_use: FirmwareInUse, machine_model: str | None
    ) -> Mapping[str, str]:
        """Keys of documents that may not be cited, with the reason; judged once per day and machine.

        Applicability comes first: an edition for newer firmware does not supersede the older one
        for a machine that still runs the older firmware.

        Args:
            on: The day of the question.
            firmware_in_use: What the machines in question run.
            machine_model: Model of the machine that the question is about, if it is about one.
        """
        return self._excluded(on, frozenset(firmware_in_use.items()), machine_model)


class DocumentVectors:
    """One vector per document, in memory: a scan of 4,000 takes 0.3 ms, and 1.2 ms in the engine.

    Args:
        vectors: Of each document, or each fresh one; None where it has none.
        carried: The vectors of an earlier corpus.
    """

    def __init__(
        self, vectors: Sequence[Vectors | None], carried: "Carried[DocumentVectors] | None" = None
    ) -> None:
        earlier = carried.earlier._matrix if carried else np.empty((0, 0), np.float32)
        dimension = max(earlier.shape[1], *(len(item) for item in vectors if item is not None), 0)
        self._matrix = np.full((len(vectors), dimension), np.nan, np.float32)
        for place, vector in enumerate(vectors):
            if vector is not None:
                self._matrix[place] = vector
        if carried:
            if not earlier.shape[1]:
                earlier = np.full((len(earlier), dimension), np.nan, np.float32)
            self._matrix = carried.kept.spread(earlier, self._matrix)

    def cosines(self, query: Vectors) -> Scores:
        """Shape (documents,); NaN where a document has no such vector."""
        if not self._matrix.shape[1]:
            return np.full(len(self._matrix), np.nan)
        # One dot product per row, on one thread: BLAS would start threads for 0.1 ms of work, and wait
        # for them for 5 ms wherever the other core is busy.
        return np.vecdot(self._matrix, query).astype(np.float64)


def _judge(
    documents: Sequence[IndexedDocument],
    on: date,
    in_use: frozenset[tuple[str, frozenset[str]]],
    machine_model: str | None,
) -> Mapping[str, str]:
    inapplicable = not_applicable(documents, dict(in_use), machine_model)
    applicable = (item for item in documents if item.key not in inapplicable)
    return {**inapplicable, **not_current(applicable, on)}


def _fields(document: IndexedDocument) -> dict[str, Keys]:
    """Keys of words by field; the body is what the passages say, repeats at their start left out."""
    words = document.head.words
    found = {name: words[name] for name in (*LABEL_FIELDS, "headings", "lead")}
    repeated = [len(passage.words.get("overlap", ())) for passage in document.passages]
    found["body"] = np.concatenate(
        [passage.words["text"][count:] for passage, count in zip(document.passages, repeated, strict=True)]
    )
    return found
