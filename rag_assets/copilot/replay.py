"""Composing a kept answer again from its stored evidence, and showing that the bytes are the same.

Needs neither the index build nor the marts that the answer was written from. Avoid asking anew here:
`audit.py` says what has changed since.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from rag_assets.copilot.answering import COMPOSER, compose
from rag_assets.copilot.copilot import Diagnosis, as_diagnosis
from rag_assets.copilot.evidence import Evidence, digest, thaw
from rag_assets.copilot.receipts import answer_digest


class NoSuchAnswerError(LookupError):
    """No answer of this id is kept for the tenant."""


@dataclass(frozen=True)
class KeptAnswer:
    """An answer with its receipt and its evidence, as stored.

    Attributes:
        answered_at: When it was last given.
        first_at: When it was first given; asking again renews only `answered_at`.
        evidence: Stored form; None for answers that were kept before evidence was.
    """

    answer_id: str
    tenant_id: str
    question: str
    status: str
    answer: str
    citations: list[dict[str, Any]]
    receipt: dict[str, Any]
    answered_at: datetime
    first_at: datetime
    composer: str | None
    evidence_digest: str | None
    answer_digest: str | None
    evidence: bytes | None


@dataclass(frozen=True)
class Replay:
    """What a replay gave.

    Attributes:
        is_equal: Whether every byte of the answer is as it was.
        problem: Why not, in words; empty if it is.
        diagnosis: The answer as composed now; None if it could not be.
    """

    answer_id: str
    is_equal: bool
    problem: str
    diagnosis: Diagnosis | None


_SELECT = """
    select answer.answer_id, answer.tenant_id, answer.question, answer.status, answer.answer,
        answer.citations, answer.receipt, answer.answered_at,
        coalesce(kept.stored_at, answer.answered_at) as first_at, kept.composer, kept.evidence_digest,
        kept.answer_digest, kept.evidence
    from rag.answers as answer
    left join rag.answer_evidence as kept on answer.answer_id = kept.answer_id
"""


def load_answer(
    connection: psycopg.Connection[Any], answer_id: str, tenant_id: str | None = None
) -> KeptAnswer:
    """A kept answer.

    Args:
        connection: A connection that may read.
        answer_id: Its id.
        tenant_id: Only if it belongs to this tenant; None is for the operator's command line.

    Raises:
        NoSuchAnswerError: There is none; the same whether it is absent or another tenant's.
    """
    query = _SELECT + " where answer.answer_id = %s and (%s::text is null or answer.tenant_id = %s)"
    with connection.cursor(row_factory=class_row(KeptAnswer)) as cursor:
        kept = cursor.execute(query, (answer_id, tenant_id, tenant_id)).fetchone()
    if kept is None:
        whose = f" of tenant {tenant_id}" if tenant_id else ""
        raise NoSuchAnswerError(f"no answer {answer_id}{whose} is kept")
    return kept


def evidence_of(kept: KeptAnswer) -> Evidence | None:
    """The evidence of a kept answer; None if it was kept without."""
    return thaw(kept.evidence) if kept.evidence is not None else None


def replay(kept: KeptAnswer) -> Replay:
    """Compose the answer again and compare."""
    if kept.evidence is None:
        return Replay(kept.answer_id, False, "it was kept before evidence was stored with answers", None)
    if digest(kept.evidence) != kept.evidence_digest:
        return Replay(
            kept.answer_id, False, "the stored evidence is not what was stored: digests differ", None
        )
    evidence = thaw(kept.evidence)
    index_build = str(kept.receipt.get("index_build", ""))
    composed = compose(evidence)
    notes = kept.receipt.get("notes", [])
    diagnosis = as_diagnosis(evidence, composed, index_build, COMPOSER, notes)
    prompt = kept.receipt.get("prompt_version")
    if prompt:
        problem = (
            f"a language model wrote it (prompt {prompt}): its words can't be made again; the evidence is "
            "unchanged, and this is the extractive answer to it"
        )
        return Replay(kept.answer_id, False, problem, diagnosis)
    if answer_digest(vars(diagnosis)) == kept.answer_digest and composed.text == kept.answer:
        return Replay(kept.answer_id, True, "", diagnosis)
    problem = (
        f"it was composed by {kept.composer} and this is {COMPOSER}"
        if kept.composer != COMPOSER
        else "equal evidence gave another text: the composer was changed without its version"
    )
    return Replay(kept.answer_id, False, problem, diagnosis)
