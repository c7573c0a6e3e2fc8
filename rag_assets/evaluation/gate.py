"""The gate of an index build: golden questions must find their documents.

Avoid thresholds on scores here: only whether the right document is found.
"""

from collections.abc import Sequence
from datetime import date

from rag_assets.evaluation.measures import hit
from rag_assets.evaluation.questions import JudgedQuestion
from rag_assets.index.check_names import GOLDEN
from rag_assets.index.contract import TenantScope
from rag_assets.index.verification import Check, RetrievalGate
from rag_assets.retrieval import Retriever, SearchRequest


def golden_gate(
    questions: Sequence[JudgedQuestion], asked_on: date, minimum_hit_at_5: float = 0.9
) -> RetrievalGate:
    """A gate for index builds.

    Args:
        questions: With tenants; `relevant` names document ids.
        asked_on: Day on which documents must be current.
        minimum_hit_at_5: Share of questions that must have a right document among the first five.

    Returns:
        A function from retriever to `Check`.
    """

    def gate(retriever: Retriever) -> Check:
        judged = [question for question in questions if is_answerable(retriever, question)]
        missed: list[str] = []
        for question in judged:
            request = SearchRequest(question.question, question.tenant_id, asked_on)
            found = [item.document.document_id for item in retriever.search(request)]
            if not hit(found, question.relevant, depth=5):
                missed.append(question.question)
        share = 1 - len(missed) / len(judged) if judged else 1.0
        detail = f"{share:.3f} of {len(judged)} golden questions hit (at least {minimum_hit_at_5})"
        return Check(GOLDEN, share >= minimum_hit_at_5, "; missed: ".join([detail, *missed[:3]]))

    return gate


def is_answerable(retriever: Retriever, question: JudgedQuestion) -> bool:
    """Whether the build holds a document that answers; a plant's own corpus need not hold ours."""
    if not question.tenant_id:
        return False
    documents = retriever.library(TenantScope(question.tenant_id)).documents
    return any(document.document_id in question.relevant for document in documents)
