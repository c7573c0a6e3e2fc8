"""What tools return and answers cite: results, sources, citations.

Avoid SQL, search and wording here.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from itertools import count
from typing import Any

Row = Mapping[str, Any]
_NUMBERED = re.compile(r" \(\d+\)$")


class ToolStatus(Enum):
    """How a tool call ended; NO_DATA is an answer, ERROR is not."""

    SUCCESS = "SUCCESS"
    NO_DATA = "NO_DATA"
    ERROR = "ERROR"
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"


@dataclass(frozen=True)
class Window:
    """Time that a query covers: after `starts_at`, up to and with `ends_at`."""

    starts_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True)
class DocumentSource:
    """One passage of one document version that an answer may cite."""

    document_id: str
    version: str
    title: str
    path: str
    section: str
    text: str
    chunk_id: str
    content_hash: str
    effective_on: date | None
    firmware: str | None


@dataclass(frozen=True)
class TableSource:
    """Rows of one query that an answer may cite.

    Attributes:
        table: Schema and table.
        as_of: Instant that the rows describe.
        rows: As the query returned them.
        query: The SQL that returned them, with the placeholders of the tool's parameters.
    """

    table: str
    as_of: datetime | None
    rows: tuple[Row, ...]
    query: str = ""

    @property
    def snippet(self) -> str:
        """The rows as text; every number in an answer must occur in it as it is written there."""
        return "\n".join(
            "; ".join(f"{name} {as_text(value)}" for name, value in row.items() if value is not None)
            for row in self.rows
        )


Source = DocumentSource | TableSource


@dataclass(frozen=True)
class ToolResult:
    """What one tool call gave.

    Attributes:
        tool: Name of the tool.
        status: How it ended.
        query: The SQL or search text that ran.
        parameters: Its parameters.
        sources: What may be cited; empty unless SUCCESS.
        window: Time covered, where the query has one.
        missing: What is missing and how to get it, unless SUCCESS.
        limits: What the query leaves out, in words.
        scores: Raw scores behind document sources, by chunk id.
    """

    tool: str
    status: ToolStatus
    query: str
    parameters: Mapping[str, Any]
    sources: tuple[Source, ...] = ()
    window: Window | None = None
    missing: str = ""
    limits: str = ""
    scores: Mapping[str, Mapping[str, float | None]] = field(
        default_factory=dict[str, Mapping[str, float | None]]
    )

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows of all table sources."""
        return tuple(row for source in self.sources if isinstance(source, TableSource) for row in source.rows)


def further_purpose(purpose: str, taken: Container[str]) -> str:
    """The name of a result that was asked for beyond the router's: it never takes another one's place.

    >>> further_purpose("events", {"further events"})
    'further events (2)'
    """
    name = purpose if purpose.startswith("more ") else f"further {purpose}"
    numbered = (f"{name} ({number})" for number in count(2))
    return name if name not in taken else next(item for item in numbered if item not in taken)


def plain_purpose(purpose: str) -> str:
    """What kind of result a purpose names.

    >>> plain_purpose("further measure oee (2)")
    'measure oee'
    """
    return _NUMBERED.sub("", purpose).removeprefix("further ")


def as_text(value: Any) -> str:
    """A value as answers write it.

    >>> as_text(0.73125), as_text(1520.0), as_text(12)
    ('0.73', '1520', '12')
    """
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        if abs(value) >= 100:
            return f"{value:.0f}"
        return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) >= 0.005 else f"{value:.2g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {as_text(item)}" for key, item in value.items())  # pyright: ignore
    if isinstance(value, list | tuple):
        return ", ".join(as_text(item) for item in value)  # pyright: ignore
    return str(value)
