"""Lexical scores: BM25F over the fields of whole documents, and BM25 weights for sparse vectors.

Statistics are those of one tenant's documents: another tenant's words can't move a score.
Avoid text cleaning here (`rag_assets.analysis`).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rag_assets.analysis import term_id

Scores = NDArray[np.float64]

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


class FieldedIndex:
    """BM25F over documents (Robertson, Zaragoza and Taylor, CIKM 2004).

    Args:
        documents: For each document its terms by field; fields are those of `FIELD_WEIGHTS`.
    """

    def __init__(self, documents: Sequence[Mapping[str, Sequence[str]]]) -> None:
        self.document_count = len(documents)
        pseudo_frequencies = _pseudo_frequencies(documents)
        holders: dict[str, list[int]] = {}
        weights: dict[str, list[float]] = {}
        for index, frequencies in enumerate(pseudo_frequencies):
            for term, frequency in frequencies.items():
                holders.setdefault(term, []).append(index)
                weights.setdefault(term, []).append(frequency / (_FIELDED_K1 + frequency))
        self._idf = {term: idf(len(indices), self.document_count) for term, indices in holders.items()}
        self._holders = {term: np.array(indices, dtype=np.int64) for term, indices in holders.items()}
        self._weights = {
            term: np.array(values, dtype=np.float64) * self._idf[term] for term, values in weights.items()
        }

    def idf(self, term: str) -> float:
        """How much a term tells; a term that no document has tells as much as the rarest."""
        return self._idf.get(term, idf(0, self.document_count))

    def scores(self, query_terms: Sequence[str]) -> Scores:
        """BM25F score of each document; a word that the query repeats counts once."""
        totals = np.zeros(self.document_count)
        for term in dict.fromkeys(query_terms):
            if term in self._holders:
                totals[self._holders[term]] += self._weights[term]
        return totals

    def coverage(self, query_terms: Sequence[str]) -> Scores:
        """Share of the query's information (sum of idf) that each document's words cover, 0 to 1.

        A term that no document has weighs as much as the rarest one: asking about something
        unknown must lower the coverage.
        """
        unique = list(dict.fromkeys(query_terms))
        total = sum(self.idf(term) for term in unique)
        covered = np.zeros(self.document_count)
        for term in unique:
            if term in self._holders:
                covered[self._holders[term]] += self._idf[term]
        return covered / total if total else covered


def idf(document_frequency: int, document_count: int) -> float:
    """Inverse document frequency, never negative (the form of Lucene)."""
    return math.log(1 + (document_count - document_frequency + 0.5) / (document_frequency + 0.5))


def passage_weights(passages: Sequence[Sequence[str]]) -> list[dict[int, float]]:
    """BM25 of each term in each passage, idf included, as sparse vectors.

    A dot product with a query vector of ones is then the exact BM25 score in any vector engine.

    Args:
        passages: Terms of each passage of one tenant.

    Returns:
        For each passage: term id → weight.
    """
    counts = [Counter(passage) for passage in passages]
    frequencies = Counter(term for count in counts for term in count)
    average = sum(map(len, passages)) / max(1, len(passages)) or 1.0
    weights: list[dict[int, float]] = []
    for passage, count in zip(passages, counts, strict=True):
        length_norm = _PASSAGE_K1 * (1 - _B + _B * len(passage) / average)
        weights.append(
            {
                term_id(term): idf(frequencies[term], len(passages))
                * tf
                * (_PASSAGE_K1 + 1)
                / (tf + length_norm)
                for term, tf in count.items()
            }
        )
    return weights


def _pseudo_frequencies(documents: Sequence[Mapping[str, Sequence[str]]]) -> list[dict[str, float]]:
    """Weighted, length-normalized term frequency over all fields, per document."""
    averages = {
        name: sum(len(document.get(name, ())) for document in documents) / max(1, len(documents))
        for name in FIELD_WEIGHTS
    }
    result: list[dict[str, float]] = []
    for document in documents:
        frequencies: dict[str, float] = {}
        for name, weight in FIELD_WEIGHTS.items():
            field_terms = document.get(name, ())
            if not field_terms:
                continue
            norm = weight / (1 - _B + _B * len(field_terms) / averages[name])
            for term, count in Counter(field_terms).items():
                frequencies[term] = frequencies.get(term, 0.0) + norm * count
        result.append(frequencies)
    return result
