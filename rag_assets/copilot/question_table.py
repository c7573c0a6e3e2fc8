"""The question table: questions that are answered again whenever the data change.

Avoid composing answers here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from rag_assets.copilot.copilot import Answering, Diagnosis
from rag_assets.copilot.questions import Question
from rag_assets.evaluation.answer_rates import (
    RatedAnswer,
    answers_with_citations_ratio,
    hallucination_flag_rate,
)

DEFAULT_QUESTIONS: dict[str, tuple[str, ...]] = {
    "demo-plant": (
        "Which machines fail next, why, and what do I do?",
        "What does E101 spindle overtemperature mean and how do I clear it?",
        "How do I replace a spindle bearing on an HX-500?",
    ),
    "azure-pdm": (
        "Which machines fail next, why, and what do I do?",
        "What does error2 mean, and when is it serious?",
        "What do I do when error1 is raised?",
    ),
}
"""Asked until a tenant has questions of its own."""


@dataclass(frozen=True)
class AskedQuestion:
    """One row of `rag.questions`."""

    question_id: str
    tenant_id: str
    question: str
    equipment_id: str | None


@dataclass(frozen=True)
class AnswerQuality:
    """The mission's three rates over a set of answers, and the answers.

    Attributes:
        answers_with_citations_ratio: Share of all questions that were answered with a citation.
        retrieval_empty_rate: Share whose document search, where there was one, found no evidence.
        hallucination_flag_rate: Share with a statement that its citations do not support.
    """

    question_count: int
    answers_with_citations_ratio: float
    retrieval_empty_rate: float
    hallucination_flag_rate: float
    answers: tuple[tuple[AskedQuestion, Diagnosis], ...]


def seed_questions(connection: psycopg.Connection[Any]) -> int:
    """Give tenants that have no question their default ones.

    Returns:
        How many were added.
    """
    added = 0
    for tenant_id, questions in DEFAULT_QUESTIONS.items():
        asked = connection.execute(
            "select 1 from rag.questions where tenant_id = %s limit 1", (tenant_id,)
        ).fetchone()
        if asked:
            continue
        for number, question in enumerate(questions, start=1):
            connection.execute(
                "insert into rag.questions (question_id, tenant_id, question) values (%s, %s, %s)",
                (f"{tenant_id}-{number}", tenant_id, question),
            )
            added += 1
    return added


def active_questions(
    connection: psycopg.Connection[Any], tenants: Sequence[str] | None = None
) -> tuple[AskedQuestion, ...]:
    """Questions to answer.

    Args:
        connection: A connection that may read.
        tenants: Whose; None: of every tenant whose plant has landed anything, and of every tenant
            with documents while nobody's has.
    """
    rows = connection.execute(
        """
        with landed as (select tenant_id from ops.plant_clock),
        documented as (select tenant_id from rag.documents where not exists (select 1 from landed))
        select question_id, tenant_id, question, equipment_id
        from rag.questions
        where is_active
          and case
              when %(tenants)s::text[] is null
                  then tenant_id in (select tenant_id from landed union select tenant_id from documented)
              else tenant_id = any(%(tenants)s)
          end
        order by tenant_id, question_id
        """,
        {"tenants": list(tenants) if tenants is not None else None},
    ).fetchall()
    return tuple(AskedQuestion(*row) for row in rows)


def answer_questions(copilot: Answering, questions: Sequence[AskedQuestion]) -> AnswerQuality:
    """Answer every question and rate the answers.

    Args:
        copilot: Who answers.
        questions: Rows of the question table; the rates of an empty list are 0.
    """
    answers = tuple(
        (item, copilot.diagnose(Question(item.question, item.tenant_id, item.equipment_id), item.question_id))
        for item in questions
    )
    rated = [RatedAnswer(bool(answer.citations), bool(answer.ungrounded)) for _, answer in answers]
    searched = [answer for _, answer in answers if _searches(answer)]
    return AnswerQuality(
        question_count=len(answers),
        answers_with_citations_ratio=answers_with_citations_ratio(rated),
        retrieval_empty_rate=sum(_is_empty(answer) for answer in searched) / max(1, len(searched)),
        hallucination_flag_rate=hallucination_flag_rate(rated),
        answers=answers,
    )


def answers_as_markdown(quality: AnswerQuality) -> str:
    """Questions and answers for a person to read."""
    return "\n\n".join(
        f"**{item.question}** ({item.tenant_id})\n\n{answer.answer}" for item, answer in quality.answers
    )


def _searches(answer: Diagnosis) -> list[dict[str, Any]]:
    return [item for item in answer.evidence if item["tool"] == "runbooks"]


def _is_empty(answer: Diagnosis) -> bool:
    return all(item["status"] != "SUCCESS" for item in _searches(answer))
