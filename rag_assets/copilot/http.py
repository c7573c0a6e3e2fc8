"""The copilot's routes: `/v1/diagnose` and `/query`, with their requests and responses.

Only the shape of HTTP belongs here; the application mounts `copilot_router`.
"""

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from rag_assets.copilot.copilot import Copilot
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


class CitationModel(BaseModel):
    """One numbered source."""

    number: int
    kind: str = Field(description="`document` or `table`.")
    document_id: str | None = None
    title: str | None = None
    section: str | None = None
    version: str | None = None
    path: str | None = None
    effective_on: date | None = None
    age_days: int | None = None
    chunk_id: str | None = None
    content_hash: str | None = None
    table: str | None = None
    as_of: datetime | None = None
    snippet: str = Field(description="The cited passage, or the cited rows as text.")
    rows: list[dict[str, Any]] = Field(description="The cited rows; empty for documents.")


class DiagnoseResponse(BaseModel):
    """An answer with its sources, or a refusal that says what is missing."""

    answer: str
    status: str = Field(description="`answered` or `refused`.")
    citations: list[CitationModel]
    evidence: list[dict[str, Any]] = Field(description="Every tool that was asked, and what it gave.")
    confidence: str = Field(description="`high`, `medium`, `low`, or `none` for a refusal.")
    next_steps: list[str]
    answer_id: str
    latency_ms: float
    index_build: str
    ungrounded: list[str] = Field(description="Statements that their citations do not support.")


class QueryRequest(BaseModel):
    """A plain search."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"query": "E101 spindle overtemperature", "tenant_id": "demo-plant", "top_k": 3}]
        }
    )
    query: QuestionText
    tenant_id: Tenant
    top_k: int = Field(DEFAULT_TOP_K, ge=1, le=50)


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


def copilot_router(copilot: Callable[[], Copilot]) -> APIRouter:
    """Routes over the copilot that the application holds.

    Args:
        copilot: Gives the process's copilot.
    """
    router = APIRouter(tags=["copilot"])

    @router.post("/v1/diagnose", summary="Ask the copilot", operation_id="diagnose")
    def diagnose(request: DiagnoseRequest, served: Annotated[Copilot, Depends(copilot)]) -> DiagnoseResponse:
        """Answer a question with numbered citations, or refuse and say what is missing."""
        question = Question(request.question, request.tenant_id, request.equipment_id)
        return DiagnoseResponse.model_validate(vars(served.diagnose(question, request.question_id)))

    @router.post("/query", summary="Search the tenant's documents", operation_id="query")
    def query(request: QueryRequest, served: Annotated[Copilot, Depends(copilot)]) -> QueryResponse:
        """The best current documents, with raw scores; no answer is written."""
        found = served.search(request.query, request.tenant_id, request.top_k)
        hits = [
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
                **vars(hit.evidence),
            )
            for hit in found.hits
        ]
        return QueryResponse(hits=hits, index_build=found.index_build)

    return router
