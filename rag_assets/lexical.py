"""Lexical scores: BM25F over the fields of whole documents, BM25 over passages, shared words and pairs.

Statistics are those of one tenant's documents: another tenant's words can't move a score, and they
are counted again for every build, so that a small change never leaves weights of an older corpus.
Avoid text cleaning here (`rag_assets.analysis`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from rag_assets.analysis import term_id
from rag_assets.postings import Keys, Postings, Scores

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
        documents: For each document its terms, or their keys, by field of `FIELD_WEIGHTS`.
    """

    def __init__(self, documents: Sequence[Mapping[str, Sequence[str] | Keys]]) -> None:
        self.document_count = len(documents)
        texts: list[Keys] = []
        weights: list[float] = []
        owners: list[int] = []
        for name, weight in FIELD_WEIGHTS.items():
            fields = [_as_keys(document.get(name, ())) for document in documents]
            average = sum(map(len, fields)) / max(1, len(fields)) or 1.0
            texts.extend(fields)
            weights.extend(weight / (1 - _B + _B * len(field) / average) for field in fields)
            owners.extend(range(len(fields)))
        postings = Postings(texts, weights, owners, self.document_count)
        self._idf = idf(postings.holder_counts, self.document_count)
        told = postings.by_key(self._idf)
        self._scores = postings.values / (_FIELDED_K1 + postings.values) * told
        self._told = told
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
        return self._postings.totals(keys, self._scores)

    def coverage(self, query_terms: Sequence[str]) -> Scores:
        """Share of the query's information (sum of idf) that each document's words cover, 0 to 1.

        A term that no document has weighs as much as the rarest one: asking about something
        unknown must lower the coverage.
        """
        return self.key_coverage(query_keys(query_terms))

    def key_coverage(self, keys: Keys) -> Scores:
        """`coverage` for keys without repeats."""
        total = float(self.idfs(keys).sum())
        covered = self._postings.totals(keys, self._told)
        return covered / total if total else covered


class PassageIndex:
    """BM25 over passages.

    Args:
        passages: Keys of each passage, repeats kept.
    """

    def __init__(self, passages: Sequence[Keys]) -> None:
        lengths = np.array([len(passage) for passage in passages], dtype=np.float64)
        average = float(lengths.mean()) if len(lengths) else 1.0
        self._postings = Postings(passages)
        counts, lengths = self._postings.values, lengths[self._postings.items]
        norm = _PASSAGE_K1 * (1 - _B + _B * lengths / (average or 1.0))
        told = self._postings.by_key(idf(self._postings.holder_counts, len(passages)))
        self._weights = told * counts * (_PASSAGE_K1 + 1) / (counts + norm)

    def key_scores(self, keys: Keys) -> Scores:
        """BM25 of each passage, for keys without repeats."""
        return self._postings.totals(keys, self._weights)


class SharedWords:
    """How much of a question stands in one part of each document, and how much of that part is asked for.

    Args:
        parts: Keys of the part, for each document.
        told: The documents' index, which knows what a word tells.
    """

    def __init__(self, parts: Sequence[Keys], told: FieldedIndex) -> None:
        self._index = told
        self._postings = Postings(parts, is_distinct=True)
        self._told = self._postings.by_key(told.idfs(self._postings.keys))
        whole = np.bincount(self._postings.items, self._told, minlength=len(parts))
        self._whole = np.maximum(whole, 1e-9)

    def of_question(self, keys: Keys) -> Scores:
        """Share of the question's information that stands in the part."""
        total = float(self._index.idfs(keys).sum())
        return self._postings.totals(keys, self._told) / total if total else np.zeros(len(self._whole))

    def of_part(self, keys: Keys) -> Scores:
        """Share of the part's information that the question names."""
        return self._postings.totals(keys, self._told) / self._whole


class WordPairs:
    """Which of a question's neighbouring words stand beside each other in a document.

    Args:
        texts: Keys of each document in order of appearance.
    """

    def __init__(self, texts: Sequence[Keys]) -> None:
        self._postings = Postings([pairs(text) for text in texts], is_distinct=True)
        self._told = self._postings.by_key(idf(self._postings.holder_counts, len(texts)))
        self._unseen = float(idf(0, max(1, len(texts))))

    def coverage(self, keys: Keys) -> Scores:
        """Share of the question's pairs, weighed by how much they tell, 0 to 1."""
        asked = np.unique(pairs(keys))
        covered = self._postings.totals(asked, self._told)
        return covered / (self._unseen * len(asked)) if len(asked) else covered


def pairs(keys: Keys) -> Keys:
    """Keys of neighbouring words: a hash of both (Knuth's multiplicative one, modulo 2**32)."""
    return keys[:-1] * np.uint32(2654435761) + keys[1:]


def idf(document_frequency: "Scores | np.ndarray | float", document_count: int) -> "Scores":
    """Inverse document frequency, never negative (the form of Lucene)."""
    return np.log1p((document_count - document_frequency + 0.5) / (document_frequency + 0.5))


def _as_keys(field: Sequence[str] | Keys) -> Keys:
    return field if isinstance(field, np.ndarray) else keys_of(list(field))
