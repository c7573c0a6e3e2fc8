"""What an answer looked at and what it did not, as rows that anybody can check.

Avoid wording of answers here.
"""

from typing import Any

from rag_assets.copilot.evidence import Evidence
from rag_assets.copilot.results import Source, TableSource, ToolResult, ToolStatus

TOOLS = ("runbooks", "ml", "analytics", "forecast", "logs", "report", "changes")
"""Every tool that the copilot has."""


def evidence_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """The evidence table: for each tool call what was asked, how it ended, and what came back."""
    return [_row(purpose, result) for purpose, result in evidence.results.items()]


def looked_at(evidence: Evidence) -> list[str]:
    """One line for each tool call."""
    return [f"{result.tool}, {purpose}: {_outcome(result)}" for purpose, result in evidence.results.items()]


def not_looked_at(evidence: Evidence) -> list[str]:
    """Names that nothing is known of, tools that were not asked, and what the asked ones leave out."""
    unknown = [f"{name}: none of the machines and plants of tenant {evidence.question.tenant_id}"
               for name in evidence.unknown]  # fmt: skip
    asked = {result.tool for result in evidence.results.values()}
    unasked = [f"{tool}: not needed for a question about {evidence.topic.value.replace('_', ' ')}"
               for tool in TOOLS if tool not in asked]  # fmt: skip
    limits = dict.fromkeys(
        f"{result.tool}, {purpose}: only {result.limits}"
        for purpose, result in evidence.results.items()
        if result.limits and result.status is ToolStatus.SUCCESS
    )
    return [*unknown, *unasked, *limits]


def _outcome(result: ToolResult) -> str:
    if result.status is not ToolStatus.SUCCESS:
        return f"{result.status.value}, {result.missing}"
    tables = [source for source in result.sources if isinstance(source, TableSource)]
    if tables:
        rows = sum(len(source.rows) for source in tables)
        return f"{rows} rows of {', '.join(dict.fromkeys(source.table for source in tables))}"
    return f"{len(result.sources)} documents"


def _row(purpose: str, result: ToolResult) -> dict[str, Any]:
    window = result.window
    return {
        "tool": result.tool,
        "purpose": purpose,
        "status": result.status.value,
        "query": " ".join(result.query.split()),
        "parameters": dict(result.parameters),
        "window": [window.starts_at, window.ends_at] if window else None,
        "missing": result.missing or None,
        "limits": result.limits or None,
        "found": [_found(source, result) for source in result.sources],
    }


def _found(source: Source, result: ToolResult) -> dict[str, Any]:
    if isinstance(source, TableSource):
        return {"table": source.table, "as_of": source.as_of, "rows": [dict(row) for row in source.rows]}
    return {
        "document_id": source.document_id,
        "version": source.version,
        "chunk_id": source.chunk_id,
        "content_hash": source.content_hash,
        "scores": dict(result.scores.get(source.chunk_id, {})),
    }
