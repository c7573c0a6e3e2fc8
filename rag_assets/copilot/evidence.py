"""Everything that one answer is written from, and its stored form.

An answer is always composed from evidence that went through its stored form, so that a replay from
storage gives the same bytes whatever has happened to builds and marts since. Avoid wording here.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from datetime import date, datetime
from typing import Any

from rag_assets.copilot.questions import Question, Topic
from rag_assets.copilot.results import DocumentSource, Source, TableSource, ToolResult, ToolStatus, Window

FORMAT = 1


@dataclass(frozen=True)
class FoundDocument:
    """A current document that is about the question.

    Attributes:
        passages: All of its passages; the first one found stands at `best`.
        content: The document's Markdown.
        strength: How much speaks for it (`Evidence.strength`).
    """

    passages: tuple[DocumentSource, ...]
    best: int
    content: str
    cosine: float | None
    coverage: float
    strength: float


@dataclass(frozen=True)
class Evidence:
    """What was looked at for one question.

    Attributes:
        asked_on: Day on which documents had to be current.
        machine_id: The machine that health, events and runbooks are about.
        machines, unknown, ambiguous, plants, codes: What the question names.
        units: Unit of each measure.
        results: Of every tool call, by purpose, in the order of asking.
        documents: Behind the result `runbooks`, best first.
        caveat: What of the question is not answered as it was asked, in a sentence; empty if all is.
        weights: Of the query's words in the tenant's documents (inverse document frequency).
    """

    question: Question
    asked_on: date
    topic: Topic
    machine_id: str | None
    machines: tuple[str, ...]
    unknown: tuple[str, ...]
    ambiguous: Mapping[str, tuple[str, ...]]
    plants: tuple[str, ...]
    codes: tuple[str, ...]
    units: Mapping[str, str]
    is_ascending: bool
    results: Mapping[str, ToolResult]
    documents: tuple[FoundDocument, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    caveat: str = ""

    def found(self, purpose: str) -> ToolResult | None:
        """The result of a purpose, if it was asked for and has rows or passages."""
        result = self.results.get(purpose)
        return result if result and result.status is ToolStatus.SUCCESS else None


def freeze(evidence: Evidence) -> bytes:
    """The stored form: compressed JSON in which instants and days keep their type."""
    plain = {"format": FORMAT, **vars(evidence)}
    text = json.dumps(plain, ensure_ascii=False, default=_tagged, separators=(",", ":"))
    return zlib.compress(text.encode(), level=1)


def thaw(frozen: bytes) -> Evidence:
    """The evidence of a stored form.

    Raises:
        ValueError: The form is not one that this version reads.
    """
    plain: dict[str, Any] = json.loads(zlib.decompress(frozen), object_hook=_untagged)
    if plain.pop("format", None) != FORMAT:
        raise ValueError(f"stored evidence is not of format {FORMAT}: it was written by another version")
    typed: dict[str, Any] = {
        "question": Question(**plain["question"]),
        "topic": Topic(plain["topic"]),
        "ambiguous": {said: tuple(machines) for said, machines in plain["ambiguous"].items()},
        **{name: tuple(plain[name]) for name in ("machines", "unknown", "plants", "codes")},
        "results": {purpose: _result(value) for purpose, value in plain["results"].items()},
        "documents": tuple(_document(value) for value in plain["documents"]),
    }
    return Evidence(**{**plain, **typed})


def digest(frozen: bytes) -> str:
    """SHA-256 of the stored form's content."""
    return hashlib.sha256(zlib.decompress(frozen)).hexdigest()


def _result(plain: dict[str, Any]) -> ToolResult:
    window = plain["window"]
    typed: dict[str, Any] = {
        "status": ToolStatus(plain["status"]),
        "window": Window(**window) if window else None,
        "sources": tuple(_source(value) for value in plain["sources"]),
    }
    return ToolResult(**{**plain, **typed})


def _source(plain: dict[str, Any]) -> Source:
    if "table" in plain:
        rows: Any = tuple(plain["rows"])
        return TableSource(**{**plain, "rows": rows})
    return DocumentSource(**plain)


def _document(plain: dict[str, Any]) -> FoundDocument:
    passages: Any = tuple(DocumentSource(**item) for item in plain["passages"])
    return FoundDocument(**{**plain, "passages": passages})


def _tagged(value: Any) -> Any:
    """What JSON does not know; without copies, since evidence has tens of kilobytes."""
    if isinstance(value, datetime):
        return {"$at": value.isoformat()}
    if isinstance(value, date):
        return {"$on": value.isoformat()}
    if isinstance(value, ToolStatus | Topic):
        return value.value
    if is_dataclass(value):
        return vars(value)
    return str(value)


def _untagged(plain: dict[str, Any]) -> Any:
    if len(plain) == 1:
        if "$at" in plain:
            return datetime.fromisoformat(plain["$at"])
        if "$on" in plain:
            return date.fromisoformat(plain["$on"])
    return plain
