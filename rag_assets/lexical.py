"""Lexical scores: BM25F over the fields of whole documents, BM25 over passages, shared words and pairs.

Statistics are those of one tenant's documents: another tenant's words can't move a score. A small change
is counted into what was counted before, and every weight is then made of the counts of now.
Avoid text cleaning here (`rag_assets.analysis`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from rag_assets.analysis import term_id
from rag_assets.postings import Carried, Keys, Scores, count_keys

FIELD_WEIGHTS: Mapping[str, float] = {
    "title": 5.0,
    "file_name": 2.0,
    "labels": 2.0,
    "headings": 1.0,
    "lead": 2.0,
    "body": 1.0,
}
"""How much a term in each field counts. Set by hand: tuned on queries they overfit (nDCG@10 -0.025)."""

_B = 0.75
_FIELDED_K1 = 8.0  # one document has up to six weighted fields: saturation comes later than in one text
_PASSAGE_K1 = 1.2


def query_keys(query_terms: Sequence[str]) -> Keys:
    """Keys of a question's terms; a word that it repeats counts once."""
    return keys_of(dict.fromkeys(query_terms))


def keys_of(terms: "Sequence[str] | dict[str, None]") -> Keys:
    """Keys of terms, in their order."""
    return np.fromiter((term_id(term) for term in terms), np.uint32, len(terms))


class FieldedIndex:
    """BM25F over documents (Robertson, Zaragoza and Taylor, CIKM 2004).

    Args:
        documents: For each document its terms, or their keys, by field of `FIELD_WEIGHTS`; the fresh ones
            where something is carried over.
        carried: The index of an earlier corpus. Averages and frequencies are those of the corpus of now: the
            scores are the same as those of an index that was counted from nothing.
    """

    def __init__(
        self,
        documents: Sequence[Mapping[str, Sequence[str] | Keys]],
        carried: "Carried[FieldedIndex] | None" = None,
    ) -> None:
        texts = [_as_keys(document.get(name, ())) for document in documents for name in FIELD_WEIGHTS]
        lengths = np.fromiter(map(len, texts), np.int64, len(texts)).reshape(-1, len(FIELD_WEIGHTS))
        if carried is None:
            self._lengths, self._counts = lengths, count_keys(texts)
        else:
            earlier, kept = carried.earlier, carried.kept
            self._lengths = kept.spread(earlier._lengths, lengths)
            self._counts = count_keys(texts, Carried(earlier._counts, kept.split(len(FIELD_WEIGHTS))))
        self.document_count = len(self._lengths)
        averages = self._lengths.sum(axis=0) / max(1, self.document_count)
        relative = self._lengths / np.where(averages > 0, averages, 1.0)
        weights = np.array(list(FIELD_WEIGHTS.values())) / (1 - _B + _B * relative)
        postings = self._counts.merged(len(FIELD_WEIGHTS), weights.reshape(-1))
        self._idf = idf(postings.holder_counts, self.document_count)
        self._told = postings.by_key(self._idf)
        self._scores = postings.values / (_FIELDED_K1 + postings.values)
        self._scores *= self._told
        self._postings = postings

    def idf(self, term: str) -> float:
        """How much a term tells; a term that no document has tells as much as the rarest."""
        row = self._postings.rows(keys_of([term]))
        return float(self._idf[row[0]]) if len(row) else float(idf(0, self.document_count))

    def idfs(self, keys: Keys) -> Scores:
        """`idf` of many keys at once."""
        told = np.full(len(keys), float(idf(0, self.document_count)))
        if len(self._postings.keys):
            found = np.minimum(np.searchsorted(self._postings.keys, keys), len(self._postings.keys) - 1)
            known = self._postings.keys[found] == keys
            told[known] = self._idf[found[known]]
        return told

    def scores(self, query_terms: Sequence[str]) -> Scores:
        """BM25F score of each document; a word that the query repeats counts once."""
        return self.key_scores(query_keys(query_terms))

    def key_scores(self, keys: Keys) -> Scores:
        """`scores` for keys without repeats."""
        return self._postings.totals(keys, self._scores)[0]

    def scores_and_coverage(self, keys: Keys) -> tuple[Scores, Scores]:
        """`key_scores` and `key_coverage` at once."""
        scores, covered = self._postings.totals(keys, self._scores, self._told)
        return scores, self._share(keys, covered)

    def coverage(self, query_terms: Sequence[str]) -> Scores:
        """Share of the query's information (sum of idf) that each document's words cover, 0 to 1.

        A term that no document has weighs as much as the rarest one: asking about something
        unknown must lower the coverage.
        """
        return self.key_coverage(query_keys(query_terms))

    def key_coverage(self, keys: Keys) -> Scores:
        """`coverage` for keys without repeats."""
        return self._share(keys, self._postings.totals(keys, self._told)[0])

    def _share(self, keys: Keys, covered: Scores) -> Scores:
        total = float(self.idfs(keys).sum())
        return covered / total if total else covered


class PassageIndex:
    """BM25 over passages.

    Args:
        passages: Keys of each passage, repeats kept; of the fresh ones where something is carried over.
        carried: The index of an earlier corpus.
    """

    def __init__(self, passages: Sequence[Keys], carried: "Carried[PassageIndex] | None" = None) -> None:
        lengths = np.fromiter(map(len, passages), np.float64, len(passages))
        self._lengths = carried.kept.spread(carried.earlier._lengths, lengths) if carried else lengths
        self._postings = count_keys(passages, carried and carried.with_part(carried.earlier._postings))
        average = float(self._lengths.mean()) if len(self._lengths) else 1.0
        norms = _PASSAGE_K1 * (1 - _B + _B * self._lengths / (average or 1.0))
        counts = self._postings.values
        weights = self._postings.by_key(idf(self._postings.holder_counts, len(self._lengths)))
        weights *= counts
        weights *= _PASSAGE_K1 + 1
        saturation = norms[self._postings.items]
        saturation += counts
        weights /= saturation
        self._weights = weights

    def key_scores(self, keys: Keys) -> Scores:
        """BM25 of each passage, for keys without repeats."""
        return self._postings.totals(keys, self._weights)[0]


class SharedWords:
    """How much of a question stands in one part of each document, and how much of that part is asked for.

    Args:
        parts: Keys of the part, for each document, or each fresh one.
        told: The documents' index, which knows what a word tells.
        carried: The same of an earlier corpus.
    """

    def __init__(
        self, parts: Sequence[Keys], told: FieldedIndex, carried: "Carried[SharedWords] | None" = None
    ) -> None:
        self._index = told
        self._postings = count_keys(
            parts, carried and carried.with_part(carried.earlier._postings), is_distinct=True
        )
        self._told = self._postings.by_key(told.idfs(self._postings.keys))
        whole = np.bincount(self._postings.items, self._told, minlength=self._postings.item_count)
        self._whole = np.maximum(whole, 1e-9)

    def shares(self, keys: Keys) -> tuple[Scores, Scores]:
        """Share of the question's information that stands in the part, and of the part's that is asked."""
        total = float(self._index.idfs(keys).sum())
        shared = self._postings.totals(keys, self._told)[0]
        return shared / total if total else np.zeros(len(self._whole)), shared / self._whole


class WordPairs:
    """Which of a question's neighbouring words stand beside each other in a document.

    Args:
        texts: Keys of each document, or each fresh one, in order of appearance.
        carried: The same of an earlier corpus.
    """

    def __init__(self, texts: Sequence[Keys], carried: "Carried[WordPairs] | None" = None) -> None:
        self._postings = count_keys(
            [pairs(text) for text in texts],
            carried and carried.with_part(carried.earlier._postings),
            is_distinct=True,
        )
        count = self._postings.item_count
        self._told = self._postings.by_key(idf(self._postings.holder_counts, count))
        self._unseen = float(idf(0, max(1, count)))

    def coverage(self, keys: Keys) -> Scores:
        """Share of the question's pairs, weighed by how much they tell, 0 to 1."""
        asked = np.unique(pairs(keys))
        covered = self._postings.totals(asked, self._told)[0]
        return covered / (self._unseen * len(asked)) if len(asked) else covered


def pairs(keys: Keys) -> Keys:
    """Keys of neighbouring words: a hash of both (Knuth's multiplicative one, modulo 2**32)."""
    return keys[:-1] * np.uint32(2654435761) + keys[1:]


def idf(document_frequency: "Scores | np.ndarray | float", document_count: int) -> "Scores":
    """Inverse document frequency, never negative (the form of Lucene)."""
    return np.log1p((document_count - document_frequency + 0.5) / (document_frequency + 0.5))


def _as_keys(field: Sequence[str] | Keys) -> Keys:
    return field if isinstance(field, np.ndarray) else keys_of(list(field))
