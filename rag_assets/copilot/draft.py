"""An answer while it is being written: statements, and the numbered citations under them.

Avoid deciding what to say here (`answering.py`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode

from rag_assets.analysis import terms
from rag_assets.copilot.results import DocumentSource, Source, TableSource, as_text

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SHARED_WORDS = (
    0.5  # an invented claim shares a third of its words with what it cites, a paraphrase two thirds
)


@dataclass(frozen=True)
class Citation:
    """One numbered source of an answer, as answers and the API give it out.

    Attributes:
        kind: `document` or `table`.
        snippet: The passage, or the rows as text.
        link: Where the whole document version can be read.
        rows: The rows as the query returned them; empty for documents.
    """

    number: int
    kind: str
    snippet: str
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
    link: str | None = None
    rows: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Statement:
    """One sentence or step, with the numbers of its citations.

    Attributes:
        is_quote: Whether it must stand in the source word for word.
        is_worded: Whether a language model worded it: then its words are checked too, not only its numbers.
    """

    text: str
    citations: tuple[int, ...]
    is_quote: bool
    is_worded: bool = False

    @property
    def cited(self) -> str:
        """The text with its citation marks."""
        return f"{self.text} {''.join(f'[{number}]' for number in self.citations)}".strip()


class Draft:
    """Collects statements and numbers their sources in the order of first use.

    Args:
        asked_on: Day of the question; ages are counted from it.
        tenant_id: Whose documents are cited; links name it.
    """

    def __init__(self, asked_on: date, tenant_id: str) -> None:
        self._asked_on = asked_on
        self._tenant_id = tenant_id
        self._citations: dict[tuple[str, ...], Citation] = {}
        self.statements: list[Statement] = []
        self.steps: list[Statement] = []

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Citations by number."""
        return tuple(self._citations.values())

    @property
    def cited(self) -> tuple[Citation, ...]:
        """Citations that a statement or a step uses; all of them unless a model was offered more."""
        used = {number for item in (*self.statements, *self.steps) for number in item.citations}
        return tuple(citation for citation in self.citations if citation.number in used)

    def say(self, text: str, sources: Sequence[Source], is_quote: bool = False) -> None:
        """Add a sentence that rests on sources."""
        self.statements.append(Statement(text, self._numbers(sources), is_quote))

    def advise(self, text: str, sources: Sequence[Source]) -> None:
        """Add a next step, quoted from sources."""
        self.steps.append(Statement(text, self._numbers(sources), is_quote=True))

    def add(self, statement: Statement) -> None:
        """Add a sentence whose citations are numbered already."""
        self.statements.append(statement)

    def cite(self, source: Source) -> int:
        """The number of a source."""
        return self._cite(source).number

    def ungrounded(self) -> tuple[str, ...]:
        """Statements that their own citations do not support.

        A quote must stand in the cited passage word for word; every number of a sentence must
        stand in the cited rows or passages, and so must half of the words of one that a model worded.
        """
        snippets = {citation.number: citation.snippet for citation in self.citations}
        return tuple(
            statement.text
            for statement in (*self.statements, *self.steps)
            if not _is_grounded(statement, "\n".join(snippets[number] for number in statement.citations))
        )

    def _numbers(self, sources: Sequence[Source]) -> tuple[int, ...]:
        return tuple(self._cite(source).number for source in sources)

    def _cite(self, source: Source) -> Citation:
        key = _source_key(source)
        if key not in self._citations:
            self._citations[key] = self._citation(len(self._citations) + 1, source)
        return self._citations[key]

    def _citation(self, number: int, source: Source) -> Citation:
        if isinstance(source, TableSource):
            rows = tuple(dict(row) for row in source.rows)
            return Citation(
                number, "table", source.snippet, table=source.table, as_of=source.as_of, rows=rows
            )
        age = (self._asked_on - source.effective_on).days if source.effective_on else None
        return Citation(
            number=number,
            kind="document",
            snippet=source.text,
            document_id=source.document_id,
            title=source.title,
            section=source.section,
            version=source.version,
            path=source.path,
            effective_on=source.effective_on,
            age_days=age,
            chunk_id=source.chunk_id,
            content_hash=source.content_hash,
            link=self._link(source.document_id, source.version),
        )

    def _link(self, document_id: str, version: str) -> str:
        # In the query, since ids and versions may hold slashes: in a path those are decoded before routing.
        named = {"tenant_id": self._tenant_id, "document_id": document_id, "version": version}
        return f"/v1/documents?{urlencode(named)}"


def _source_key(source: Source) -> tuple[str, ...]:
    if isinstance(source, DocumentSource):
        return ("document", source.chunk_id, source.section)
    return ("table", source.table, as_text([dict(row) for row in source.rows]))


def _is_grounded(statement: Statement, snippet: str) -> bool:
    if not statement.citations:
        return False
    if statement.is_quote:
        return _plain(statement.text) in _plain(snippet)
    if not set(_NUMBER.findall(statement.text)) <= set(_NUMBER.findall(snippet)):
        return False
    if not statement.is_worded:
        return True
    said = set(terms(statement.text))
    return bool(said) and len(said & set(terms(snippet))) >= _SHARED_WORDS * len(said)


def _plain(text: str) -> str:
    return " ".join(text.split())
