"""What people say of answers, and what evaluation and the reranker learn from it.

A useful answer's documents are relevant to its question; documents that a person names are so too.
Avoid training here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from rag_assets.copilot.replay import load_answer


@dataclass(frozen=True)
class Feedback:
    """One person's word on one answer.

    Attributes:
        why: In their own words.
        relevant_documents: Ids of the documents that should have been cited, if they know.
    """

    answer_id: str
    tenant_id: str
    is_useful: bool
    why: str | None = None
    relevant_documents: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgedQuestion:
    """A question with the documents that people found relevant to it, in the form of golden questions.

    Attributes:
        relevant: Paths of the documents, as a file of questions names them.
        document_ids: Their ids, as the corpus of record names them.
    """

    tenant_id: str
    query: str
    relevant: list[str]
    document_ids: list[str]


@dataclass(frozen=True)
class Satisfaction:
    """How useful people find the answers.

    Attributes:
        useful_ratio: Share of judged answers that were useful; None before the first word.
    """

    judged_count: int
    useful_count: int
    useful_ratio: float | None


def give_feedback(connection: psycopg.Connection[Any], feedback: Feedback) -> int:
    """Keep a person's word.

    Raises:
        NoSuchAnswerError: The tenant has no such answer.
    """
    load_answer(connection, feedback.answer_id, feedback.tenant_id)
    row = connection.execute(
        "insert into rag.answer_feedback (answer_id, tenant_id, is_useful, why, relevant_documents) "
        "values (%s, %s, %s, %s, %s) returning feedback_id",
        (
            feedback.answer_id, feedback.tenant_id, feedback.is_useful, feedback.why,
            list(feedback.relevant_documents),
        ),
    ).fetchone()  # fmt: skip
    return int(row[0]) if row else 0


def judged_questions(
    connection: psycopg.Connection[Any], tenant_id: str | None = None
) -> Sequence[JudgedQuestion]:
    """Training and evaluation pairs: each question with the paths of its relevant documents.

    An answer that anybody found useless gives only the documents that people named.
    """
    with connection.cursor(row_factory=class_row(JudgedQuestion)) as cursor:
        return cursor.execute(
            """
            with judged as (
                select answer_id, tenant_id, bool_and(is_useful) as is_useful
                from rag.answer_feedback
                group by answer_id, tenant_id
            ),
            named as (
                select feedback.answer_id, unnest(feedback.relevant_documents) as document_id
                from rag.answer_feedback as feedback
                union
                select judged.answer_id, citation ->> 'document_id'
                from judged
                inner join rag.answers as answer on judged.answer_id = answer.answer_id
                cross join jsonb_array_elements(answer.citations) as citation
                where judged.is_useful and citation ->> 'kind' = 'document'
            )
            select answer.tenant_id, answer.question as query,
                array_agg(distinct document.path order by document.path) as relevant,
                array_agg(distinct document.document_id order by document.document_id) as document_ids
            from named
            inner join rag.answers as answer on named.answer_id = answer.answer_id
            inner join rag.documents as document
                on answer.tenant_id = document.tenant_id and named.document_id = document.document_id
            where %(tenant)s::text is null or answer.tenant_id = %(tenant)s
            group by answer.tenant_id, answer.question
            order by answer.tenant_id, answer.question
            """,
            {"tenant": tenant_id},
        ).fetchall()


def satisfaction(connection: psycopg.Connection[Any], tenant_id: str | None = None) -> Satisfaction:
    """How many of the judged answers were useful."""
    row = connection.execute(
        "select count(*), count(*) filter (where is_useful) from rag.answer_feedback "
        "where %(tenant)s::text is null or tenant_id = %(tenant)s",
        {"tenant": tenant_id},
    ).fetchone()
    judged, useful = (int(row[0]), int(row[1])) if row else (0, 0)
    return Satisfaction(judged, useful, useful / judged if judged else None)
