"""The mission's rates over a set of answers, with one definition each wherever they are shown.

Avoid asking questions and reading answers here.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RatedAnswer:
    """What the rates need of one answer.

    Attributes:
        is_cited: Whether it gives a citation; a refusal gives none.
        is_flagged: Whether it has a statement that its citations do not support.
    """

    is_cited: bool
    is_flagged: bool


def answers_with_citations_ratio(answers: Sequence[RatedAnswer]) -> float:
    """Share of all questions that were answered with a citation: a refusal counts against it.

    >>> answers_with_citations_ratio([RatedAnswer(True, False), RatedAnswer(False, False)])
    0.5
    """
    return sum(answer.is_cited for answer in answers) / max(1, len(answers))


def hallucination_flag_rate(answers: Sequence[RatedAnswer]) -> float:
    """Share of all questions whose answer has a statement that its citations do not support."""
    return sum(answer.is_flagged for answer in answers) / max(1, len(answers))
