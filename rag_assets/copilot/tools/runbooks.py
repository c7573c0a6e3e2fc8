"""The `runbooks` tool: passages of current documents that are really about the question.

Avoid ranking here (`rag_assets.retrieval`); this decides what counts as evidence.
"""

import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from rag_assets.copilot.results import DocumentSource, ToolResult, ToolStatus
from rag_assets.freshness import FirmwareInUse
from rag_assets.index.contract import Passage
from rag_assets.retrieval import DEFAULT_TOP_K, Retriever, SearchHit, SearchRequest

TOOL = "runbooks"
_ERROR_CODE = re.compile(r"^(?:[A-Z]\d{3,4}|error\d+)$", re.IGNORECASE)


@dataclass(frozen=True)
class RunbookRequest:
    """What to look for.

    Attributes:
        query: Question or symptom.
        tenant_id: Whose documents.
        asked_on: Day on which they must be current.
        must_mention: Codes that a document has to contain to count as evidence.
        machine_model: Leave out documents about other models.
        firmware_in_use: Leave out documents about firmware that nobody runs.
        top_k: Documents to return at most.
    """

    query: str
    tenant_id: str
    asked_on: date
    must_mention: tuple[str, ...] = ()
    machine_model: str | None = None
    firmware_in_use: FirmwareInUse = field(default_factory=dict[str, frozenset[str]])
    top_k: int = DEFAULT_TOP_K


def find_runbooks(retriever: Retriever, request: RunbookRequest) -> tuple[ToolResult, tuple[SearchHit, ...]]:
    """Search, and keep what is evidence.

    Returns:
        The result, and the hits behind its sources in the same order.
    """
    parameters: dict[str, Any] = {
        "tenant_id": request.tenant_id,
        "asked_on": request.asked_on.isoformat(),
        "top_k": request.top_k,
        "machine_model": request.machine_model,
        "must_mention": list(request.must_mention),
    }
    hits = retriever.search(
        SearchRequest(
            request.query,
            request.tenant_id,
            request.asked_on,
            request.top_k,
            request.machine_model,
            request.firmware_in_use,
        )
    )
    errors = tuple(code for code in request.must_mention if _ERROR_CODE.match(code))
    evidence = [
        hit
        for hit in hits
        # A document whose title or tags carry the very error code is about it, however few of the
        # question's other words it has.
        if (hit.evidence.is_sufficient or (errors and _is_about(hit, errors)))
        and _mentions(hit, request.must_mention)
    ]
    # Documents about the code leave out those that only mention it, whatever their other words.
    about = [hit for hit in evidence if _is_about(hit, request.must_mention)]
    kept = tuple(about or evidence)
    if not kept:
        missing = _why_nothing(hits, request)
        return ToolResult(TOOL, ToolStatus.NO_DATA, request.query, parameters, missing=missing), ()
    result = ToolResult(
        tool=TOOL,
        status=ToolStatus.SUCCESS,
        query=request.query,
        parameters=parameters,
        sources=tuple(document_source(hit.passage, hit.passage.section) for hit in kept),
        scores={hit.passage.chunk_id: vars(hit.evidence) for hit in kept},
    )
    return result, kept


def document_source(passage: Passage, section: str) -> DocumentSource:
    """A passage as a source, cited under a section of it."""
    return DocumentSource(
        document_id=passage.document_id,
        version=passage.version,
        title=passage.title,
        path=passage.path,
        section=section,
        text=passage.text,
        chunk_id=passage.chunk_id,
        content_hash=passage.content_hash,
        effective_on=passage.effective_on,
        firmware=passage.firmware,
    )


def _mentions(hit: SearchHit, codes: tuple[str, ...]) -> bool:
    return _names(f"{_labels(hit)} {hit.document.content}", codes)


def _is_about(hit: SearchHit, codes: tuple[str, ...]) -> bool:
    return _names(_labels(hit), codes)


def _labels(hit: SearchHit) -> str:
    head = hit.document.head
    return " ".join((head.title, *head.tags, *head.machine_models))


def _names(text: str, codes: tuple[str, ...]) -> bool:
    return all(re.search(rf"\b{re.escape(code)}\b", text, re.IGNORECASE) for code in codes)


def _why_nothing(hits: tuple[SearchHit, ...], request: RunbookRequest) -> str:
    if not hits:
        return f"tenant {request.tenant_id} has no current document to search"
    if request.must_mention and not any(_mentions(hit, request.must_mention) for hit in hits):
        return f"no current document mentions {', '.join(request.must_mention)}"
    best = hits[0]
    return (
        f"no current document is about this; the nearest is {best.document.head.title!r} "
        f"(cosine {best.evidence.cosine or 0:.2f}, {best.evidence.coverage:.0%} of the question's words)"
    )
