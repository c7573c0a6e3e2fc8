from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from rag_assets.copilot.answers_http import answers_router
from rag_assets.copilot.draft import Draft
from rag_assets.copilot.results import DocumentSource


class OneDocument:
    """A copilot, its database and its cursor, for one document."""

    def __init__(self, *key: str) -> None:
        self.key = key
        self.row: tuple[str] | None = None

    @contextmanager
    def answers(self) -> Iterator["OneDocument"]:
        """The database."""
        yield self

    def execute(self, query: str, parameters: tuple[str, ...]) -> "OneDocument":
        """Finds the document by tenant, id and version."""
        self.row = ("# Found",) if parameters == self.key else None
        return self

    def fetchone(self) -> tuple[str] | None:
        """What was found."""
        return self.row


@pytest.mark.parametrize(
    ("document_id", "version"), [("runbook/E101", "1"), ("seal kit", "2026/02"), ("a&b", "4.1 + x")]
)
def test_the_link_of_a_citation_opens_the_document(document_id: str, version: str) -> None:
    """Forbids a link to 404, as ids of subfolders hold slashes, or to 422, as it names no tenant."""
    copilot: Any = OneDocument("plant", document_id, version)
    app = FastAPI()
    app.include_router(answers_router(lambda: copilot))
    draft = Draft(date(2026, 1, 11), "plant")
    draft.cite(DocumentSource(document_id, version, "T", "p.md", "S", "text", "c", "h", None, None))

    opened = TestClient(app).get(str(draft.citations[0].link))

    assert (opened.status_code, opened.text) == (200, "# Found")


def test_a_typed_address_may_name_a_document_of_a_subfolder() -> None:
    """Forbids that the documented address works for ids without a slash alone."""
    copilot: Any = OneDocument("plant", "runbook/E101", "1")
    app = FastAPI()
    app.include_router(answers_router(lambda: copilot))

    for path in ("runbook/E101/1", "runbook%2FE101/1"):
        assert TestClient(app).get(f"/v1/documents/{path}?tenant_id=plant").status_code == 200
    assert TestClient(app).get("/v1/documents/runbook/E101/2?tenant_id=plant").status_code == 404
