"""Receipts: each answer is kept with the versions of everything that it used.

Avoid composing answers here.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

import psycopg

from rag_assets.copilot.answering import COMPOSER, Composed
from rag_assets.copilot.gathering import Gathered
from rag_assets.copilot.questions import Question
from rag_assets.index.builds import IndexBuild


def to_json(value: Any) -> str:
    """Canonical JSON: equal evidence gives equal bytes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain, separators=(",", ":"))


def answer_id(question: Question, asked_on: date, evidence: Sequence[Mapping[str, Any]]) -> str:
    """Digest of the question and of all evidence: the same question over the same data is the same answer."""
    identity = to_json([COMPOSER, asdict(question), asked_on, evidence])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def receipt(gathered: Gathered, composed: Composed, build: IndexBuild) -> dict[str, Any]:
    """What the answer rests on: models, tables, index build, passages, queries and windows."""
    predicted = gathered.predictions.rows if gathered.predictions else ()
    models = {(row["model_name"], row["model_version"], row["as_of"]) for row in predicted}
    citations = composed.draft.citations
    return {
        "composer": COMPOSER,
        "asked_on": gathered.asked_on,
        "topic": gathered.reading.topic.value,
        "index_build": build.build_id,
        "embedder": build.embedder,
        "models": [
            {"name": name, "version": version, "as_of": as_of} for name, version, as_of in sorted(models)
        ],
        "tables": [{"table": item.table, "as_of": item.as_of} for item in citations if item.kind == "table"],
        "chunks": [
            {"chunk_id": item.chunk_id, "content_hash": item.content_hash, "document_id": item.document_id}
            for item in citations
            if item.kind == "document"
        ],
        "queries": [
            {
                "tool": result.tool,
                "status": result.status.value,
                "window": [result.window.starts_at, result.window.ends_at] if result.window else None,
                "row_count": len(result.rows) or len(result.sources),
            }
            for result in gathered.results
        ],
        "ungrounded": list(composed.draft.ungrounded()),
    }


def store_answer(connection: psycopg.Connection[Any], answer: Mapping[str, Any]) -> None:
    """Keep an answer; the same answer asked again only renews its time and latency.

    Args:
        connection: A connection that may write.
        answer: Columns of `rag.answers` except `answered_at`; JSON columns as plain values.
    """
    connection.execute(
        """
        insert into rag.answers
            (answer_id, question_id, tenant_id, question, status, answer, citations, evidence, receipt,
            latency_ms)
        values (%(answer_id)s, %(question_id)s, %(tenant_id)s, %(question)s, %(status)s, %(answer)s,
            %(citations)s::jsonb, %(evidence)s::jsonb, %(receipt)s::jsonb, %(latency_ms)s)
        on conflict (answer_id) do update set
            answered_at = now(), latency_ms = excluded.latency_ms,
            question_id = coalesce(excluded.question_id, rag.answers.question_id)
        """,
        {**answer, **{name: to_json(answer[name]) for name in ("citations", "evidence", "receipt")}},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
