import math

import pytest

from rag_assets.analysis import searchable, terms
from rag_assets.lexical import FieldedIndex, PassageIndex, SharedWords, WordPairs, keys_of


def test_identifiers_are_found_by_their_words_and_by_their_name() -> None:
    """Forbids that an alert name matches only when typed exactly."""
    assert set(terms("pod crash looping")) <= set(terms("KubePodCrashLooping"))
    assert terms("spindle_bearing")[-1] == "spindle_bearing"
    assert terms("E101") == ["e101"]  # a code is one thing: '101' alone would match pages and years


def test_noise_is_not_searched() -> None:
    """Forbids that a link target or a comment decides a ranking."""
    text = searchable("See [the guide](https://host/path/secret) <!-- draft --> https://host/x <b>now</b>")

    assert terms(text) == ["see", "guid", "now"]


def test_passage_scores_are_bm25() -> None:
    """Forbids another formula than the one that rankers and thresholds were learned on.

    Two passages of 2 and 4 terms, average 3. 'pump' is in one of two: idf = ln(1 + 1.5 / 1.5) = ln 2.
    tf 1 in 2 terms: norm = 1.2 * (0.25 + 0.75 * 2 / 3) = 0.9, weight = ln 2 * 2.2 / 1.9.
    """
    index = PassageIndex([keys_of(["pump", "seal"]), keys_of(["belt", "slip", "belt", "motor"])])

    scores = index.key_scores(keys_of(["pump"]))

    assert scores.tolist() == [pytest.approx(math.log(2) * 2.2 / 1.9), 0.0]


def test_a_repeated_query_word_counts_once() -> None:
    """Forbids that an alert which repeats a label drowns its other words."""
    index = FieldedIndex([{"body": ["pump", "noise"]}, {"body": ["seal", "leak"]}])

    assert index.scores(["pump", "pump", "seal"])[0] == index.scores(["pump", "seal"])[0]


def test_title_outweighs_body() -> None:
    """Forbids that a document which mentions a code in passing beats the one named after it."""
    index = FieldedIndex(
        [
            {"title": ["e101"], "body": ["heat"] * 20},
            {"title": ["other"], "body": ["e101", *["heat"] * 19]},
        ]
    )
    scores = index.scores(["e101"])

    assert scores[0] > scores[1] > 0


def test_unknown_words_lower_the_coverage() -> None:
    """Forbids full evidence for a question of which half the words are unknown.

    'pump' is in one of two documents (idf ln 2), 'forklift' in none (idf ln 6): ln 2 / ln 12.
    """
    index = FieldedIndex([{"body": ["pump"]}, {"body": ["seal"]}])

    assert index.coverage(["pump", "forklift"])[0] == pytest.approx(math.log(2) / math.log(12))
    assert index.coverage([]).tolist() == [0.0, 0.0]


def test_neighbouring_words_count_in_their_order() -> None:
    """Forbids that 'rule thanos' is taken for 'thanos rule'."""
    pairs = WordPairs([keys_of(["thanos", "rule", "slow"]), keys_of(["rule", "thanos"])])

    first, second = pairs.coverage(keys_of(["thanos", "rule"]))

    assert first > 0 == second


def test_shared_words_are_weighed_both_ways() -> None:
    """Forbids that a long label which mentions one asked word looks as good as the label itself."""
    labels = [keys_of(["pump"]), keys_of(["pump", "seal", "belt"])]
    index = FieldedIndex([{"title": ["pump"]}, {"title": ["pump", "seal", "belt"]}])
    shared = SharedWords(labels, index)

    of_question, of_part = shared.shares(keys_of(["pump"]))

    assert of_part[0] == pytest.approx(1.0)
    assert of_part[1] < 0.5
    assert of_question.tolist() == [pytest.approx(1.0), pytest.approx(1.0)]
