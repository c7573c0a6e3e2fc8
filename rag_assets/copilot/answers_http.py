"""Routes about answers that were given: read, replay, judge; and the documents that they cite.

Each needs the tenant, and tells nothing about another tenant's answers, not even that there are any.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from rag_assets.copilot.copilot import Copilot
from rag_assets.copilot.feedback import Feedback, give_feedback
from rag_assets.copilot.replay import NoSuchAnswerError, load_answer, replay

Tenant = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
TenantQuery = Annotated[Tenant, Query(description="Whose answer. There is no default.")]


class KeptAnswerModel(BaseModel):
    """An answer as it was kept, with its receipt."""

    answer_id: str
    tenant_id: str
    question: str
    status: str
    answer: str
    citations: list[dict[str, Any]]
    receipt: dict[str, Any]
    answered_at: datetime


class ReplayModel(BaseModel):
    """Whether the answer could be made again, byte for byte."""

    answer_id: str
    is_equal: bool
    problem: str
    answer: str | None


class FeedbackRequest(BaseModel):
    """A person's word on an answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "answer_id": "0123456789abcdef0123456789abcdef",
                    "tenant_id": "demo-plant",
                    "useful": False,
                    "why": "It quotes the manual; the fan's runbook says what to do.",
                    "relevant_documents": ["cooling-fan"],
                }
            ]
        }
    )
    answer_id: str = Field(max_length=100)
    tenant_id: Tenant
    useful: bool
    why: str | None = Field(None, max_length=4000)
    relevant_documents: list[str] = Field(
        default_factory=list, max_length=50, description="Ids of documents that should have been cited."
    )


class FeedbackResponse(BaseModel):
    """That it was kept."""

    feedback_id: int


def answers_router(copilot: Callable[[], Copilot]) -> APIRouter:
    """Routes over the answers that the application's copilot keeps."""
    router = APIRouter(tags=["answers"])
    held = Depends(copilot)

    @router.get("/v1/answers/{answer_id}", summary="A kept answer with its receipt", operation_id="answer")
    def answer(answer_id: str, tenant_id: TenantQuery, served: Annotated[Copilot, held]) -> KeptAnswerModel:
        """The answer as it was given, and the versions of everything that it used."""
        with _found(), served.answers() as connection:
            kept = load_answer(connection, answer_id, tenant_id)
        return KeptAnswerModel.model_validate(kept, from_attributes=True)

    @router.get("/v1/answers/{answer_id}/replay", summary="Make an answer again", operation_id="replay")
    def replayed(answer_id: str, tenant_id: TenantQuery, served: Annotated[Copilot, held]) -> ReplayModel:
        """Compose the answer again from its stored evidence and compare the bytes."""
        with _found(), served.answers() as connection:
            outcome = replay(load_answer(connection, answer_id, tenant_id))
        said = outcome.diagnosis.answer if outcome.diagnosis else None
        return ReplayModel(
            answer_id=answer_id, is_equal=outcome.is_equal, problem=outcome.problem, answer=said
        )

    @router.post("/v1/feedback", status_code=201, summary="Judge an answer", operation_id="feedback")
    def feedback(body: FeedbackRequest, served: Annotated[Copilot, held]) -> FeedbackResponse:
        """Keep whether an answer was useful; evaluation and the reranker's training read it."""
        word = Feedback(body.answer_id, body.tenant_id, body.useful, body.why, tuple(body.relevant_documents))
        with _found(), served.answers() as connection:
            return FeedbackResponse(feedback_id=give_feedback(connection, word))

    @router.get(
        "/v1/documents",
        summary="A document version in full, by its link",
        operation_id="cited_document",
        response_class=PlainTextResponse,
    )
    def cited_document(
        document_id: str, version: str, tenant_id: TenantQuery, served: Annotated[Copilot, held]
    ) -> PlainTextResponse:
        """The Markdown that a citation links to, of the tenant's own corpus."""
        return document(document_id, version, tenant_id, served)

    @router.get(
        "/v1/documents/{document_id:path}/{version}",
        summary="A document version in full",
        operation_id="document",
        response_class=PlainTextResponse,
    )
    def document(
        document_id: str, version: str, tenant_id: TenantQuery, served: Annotated[Copilot, held]
    ) -> PlainTextResponse:
        """The Markdown of a document; ids may hold slashes."""
        with served.answers() as connection:
            row = connection.execute(
                "select content from rag.documents "
                "where tenant_id = %s and document_id = %s and version = %s",
                (tenant_id, document_id, version),
            ).fetchone()
        if row is None:
            raise HTTPException(404, f"tenant {tenant_id} has no document {document_id} in version {version}")
        return PlainTextResponse(row[0], media_type="text/markdown; charset=utf-8")

    return router


@contextmanager
def _found() -> Generator[None]:
    """Turns an answer that is not there into 404."""
    try:
        yield
    except NoSuchAnswerError as error:
        raise HTTPException(404, str(error)) from error
