"""The copilot's routes: `/v1/diagnose` and `/query`, with their requests and responses.

Only the shape of HTTP belongs here; the application mounts `copilot_router`.
"""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from rag_assets.copilot.copilot import Copilot, FoundPassages
from rag_assets.copilot.draft import Citation
from rag_assets.copilot.events import answer_events, as_event_stream, query_events, wants_events
from rag_assets.copilot.questions import Question
from rag_assets.retrieval import DEFAULT_TOP_K

Tenant = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
QuestionText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]


class DiagnoseRequest(BaseModel):
    """A question to the copilot."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"question": "Which machines fail next, why, and what do I do?", "tenant_id": "demo-plant"},
                {
                    "question": "Why did it raise E102?",
                    "tenant_id": "demo-plant",
                    "equipment_id": "CNC-A-102",
                },
            ]
        }
    )
    question: QuestionText = Field(description="In plain words; an alert text works too.")
    tenant_id: Tenant = Field(description="Whose machines and documents may be seen. There is no default.")
    equipment_id: str | None = Field(None, description="The machine in question, if it is not named.")
    question_id: str | None = Field(None, description="Row of the question table, if it comes from there.")
    keep: bool = Field(True, description="Whether the answer is stored with its receipt.")
    stream: bool = Field(False, description="Server-sent events; so does `Accept: text/event-stream`.")


class DiagnoseResponse(BaseModel):
    """An answer with its sources, or a refusal that says what is missing."""

    answer: str
    status: str = Field(description="`answered` or `refused`.")
    citations: list[Citation]
    evidence: list[dict[str, Any]] = Field(description="Every tool that was asked, and what it gave.")
    looked_at: list[str]
    not_looked_at: list[str] = Field(description="Tools that were not asked, and what the others leave out.")
    confidence: str = Field(description="`high`, `medium`, `low`, or `none` for a refusal.")
    confidence_reason: str
    next_steps: list[str]
    answer_id: str
    latency_ms: float
    index_build: str
    ungrounded: list[str] = Field(description="Statements that their citations do not support.")
    written_by: str = Field(description="The extractive composer, or the language model.")


class QueryRequest(BaseModel):
    """A search, with an answer on request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "E101 spindle overtemperature", "tenant_id": "demo-plant", "top_k": 3},
                {"query": "How do I clear E101?", "tenant_id": "demo-plant", "answer": True},
            ]
        }
    )
    query: QuestionText
    tenant_id: Tenant
    top_k: int = Field(DEFAULT_TOP_K, ge=1, le=50)
    answer: bool = Field(False, description="Answer the question too, as `/v1/diagnose` does.")
    equipment_id: str | None = Field(
        None, description="The machine in question: documents for other models and firmware are left out."
    )
    stream: bool = Field(False, description="Server-sent events; so does `Accept: text/event-stream`.")


class PassageModel(BaseModel):
    """One document with its best passage and the raw scores behind it."""

    document_id: str
    title: str
    section: str
    version: str
    effective_on: date | None
    age_days: int | None
    text: str
    chunk_id: str
    content_hash: str
    cosine: float | None = Field(description="Of question and passage, -1 to 1.")
    bm25: float | None = Field(description="Of the passage; no upper bound.")
    fielded_bm25: float = Field(description="Of the whole document; no upper bound.")
    coverage: float = Field(description="Share of the question's information in the document, 0 to 1.")


class QueryResponse(BaseModel):
    """Current documents of the tenant, best first."""

    hits: list[PassageModel]
    index_build: str
    answer: DiagnoseResponse | None = Field(None, description="Only if it was asked for.")


_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "The answer, or its events.", "content": {"text/event-stream": {}}},
    429: {
        "description": "The tenant's rate limit or daily quota is used up; `Retry-After` says when to come."
    },
}


def copilot_router(copilot: Callable[[], Copilot]) -> APIRouter:
    """Routes over the copilot that the application holds.

    Args:
        copilot: Gives the process's copilot.
    """
    router = APIRouter(tags=["copilot"])

    @router.post(
        "/v1/diagnose",
        summary="Ask the copilot",
        operation_id="diagnose",
        response_model=DiagnoseResponse,
        responses=_STREAM,
    )
    def diagnose(
        request: DiagnoseRequest, http: Request, served: Annotated[Copilot, Depends(copilot)]
    ) -> Response | DiagnoseResponse:
        """Answer a question with numbered citations, or refuse and say what is missing."""
        question = Question(request.question, request.tenant_id, request.equipment_id)
        if request.stream or wants_events(http.headers):
            return as_event_stream(answer_events(served, question, request.question_id, request.keep))
        return DiagnoseResponse.model_validate(
            vars(served.diagnose(question, request.question_id, request.keep))
        )

    @router.post(
        "/query",
        summary="Search the tenant's documents, with an answer on request",
        operation_id="query",
        response_model=QueryResponse,
        responses=_STREAM,
    )
    def query(
        request: QueryRequest, http: Request, served: Annotated[Copilot, Depends(copilot)]
    ) -> Response | QueryResponse:
        """The best current documents, with raw scores; with `answer`, what they and the marts say."""
        question = Question(request.query, request.tenant_id, request.equipment_id)
        if request.stream or wants_events(http.headers):
            found = served.search(request.query, request.tenant_id, request.top_k, request.equipment_id)
            hits = [hit.model_dump(mode="json") for hit in _passages(served, found)]
            return as_event_stream(query_events(served, question, hits, found.index_build, request.answer))
        found = served.search(request.query, request.tenant_id, request.top_k, request.equipment_id)
        answer = DiagnoseResponse.model_validate(vars(served.diagnose(question))) if request.answer else None
        return QueryResponse(hits=_passages(served, found), index_build=found.index_build, answer=answer)

    return router


def _passages(served: Copilot, found: FoundPassages) -> list[PassageModel]:
    return [
        PassageModel(
            document_id=hit.document.document_id,
            title=hit.passage.title,
            section=hit.passage.section,
            version=hit.document.version,
            effective_on=hit.document.effective_on,
            age_days=served.age_days(hit.document.effective_on),
            text=hit.passage.text,
            chunk_id=hit.passage.chunk_id,
            content_hash=hit.passage.content_hash,
            cosine=hit.evidence.cosine,
            bm25=hit.evidence.bm25,
            fielded_bm25=hit.evidence.fielded_bm25,
            coverage=hit.evidence.coverage,
        )
        for hit in found.hits
    ]
