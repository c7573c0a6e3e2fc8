"""Receipts: each answer is kept with its evidence and the versions of everything that it used.

Avoid composing answers here; `replay.py` composes them again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

import psycopg

from rag_assets.copilot.answering import COMPOSER, Composed
from rag_assets.copilot.evidence import Evidence
from rag_assets.copilot.results import TableSource
from rag_assets.index.builds import IndexBuild


def to_json(value: Any) -> str:
    """Canonical JSON: equal evidence gives equal bytes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain, separators=(",", ":"))


def answer_id(
    evidence: Evidence, evidence_digest: str, writer: str, words: str = "", notes: Sequence[str] = ()
) -> str:
    """Digest of question, evidence and writer: the same question over the same data is the same answer.

    Args:
        evidence: What it is written from.
        evidence_digest: Of its stored form.
        writer: The composer, or the language model.
        words: Of a language model, which may word the same evidence anew.
        notes: On the model's part, where it had one.
    """
    identity = to_json(
        [writer, asdict(evidence.question), evidence.asked_on, evidence_digest, words, list(notes)]
    )
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def answer_digest(answer: Mapping[str, Any]) -> str:
    """SHA-256 of everything that an answer says; what it took and where it is kept is left out."""
    said = {name: value for name, value in answer.items() if name not in {"latency_ms", "answer_id"}}
    return hashlib.sha256(to_json(said).encode()).hexdigest()


def receipt(
    evidence: Evidence, composed: Composed, build: IndexBuild, prompt_version: str | None = None
) -> dict[str, Any]:
    """What the answer rests on: models, tables, index build, passages, queries and windows."""
    citations = composed.draft.cited
    return {
        "composer": COMPOSER,
        "prompt_version": prompt_version,
        "asked_on": evidence.asked_on,
        "topic": evidence.topic.value,
        "equipment_id": evidence.question.equipment_id,
        "index_build": build.build_id,
        "embedder": build.embedder,
        "models": _models(evidence),
        "tables": [{"table": item.table, "as_of": item.as_of} for item in citations if item.kind == "table"],
        "chunks": [
            {
                "chunk_id": item.chunk_id,
                "content_hash": item.content_hash,
                "document_id": item.document_id,
                "version": item.version,
            }
            for item in citations
            if item.kind == "document"
        ],
        "queries": [
            {
                "tool": result.tool,
                "purpose": purpose,
                "status": result.status.value,
                "window": [result.window.starts_at, result.window.ends_at] if result.window else None,
                "row_count": len(result.rows) or len(result.sources),
            }
            for purpose, result in evidence.results.items()
        ],
        "ungrounded": list(composed.draft.ungrounded()),
    }


def store_answer(
    connection: psycopg.Connection[Any],
    answer: Mapping[str, Any],
    frozen: bytes,
    evidence_digest: str,
    said_digest: str,
) -> None:
    """Keep an answer with its evidence; the same answer asked again only renews its time and latency.

    Args:
        connection: A connection that may write.
        answer: Columns of `rag.answers` except `answered_at`; JSON columns as plain values.
        frozen: Stored form of the evidence.
        evidence_digest: Of its content.
        said_digest: `answer_digest` of the answer as it was given out.
    """
    plain = {name: to_json(answer[name]) for name in ("citations", "evidence", "receipt")}
    # One statement: one round trip and one commit for both rows.
    connection.execute(
        """
        with kept as (
            insert into rag.answers
                (answer_id, question_id, tenant_id, question, status, answer, citations, evidence, receipt,
                latency_ms)
            values (%(answer_id)s, %(question_id)s, %(tenant_id)s, %(question)s, %(status)s, %(answer)s,
                %(citations)s::jsonb, %(evidence)s::jsonb, %(receipt)s::jsonb, %(latency_ms)s)
            on conflict (answer_id) do update set
                answered_at = now(), latency_ms = excluded.latency_ms,
                question_id = coalesce(excluded.question_id, rag.answers.question_id)
        )
        insert into rag.answer_evidence
            (answer_id, tenant_id, composer, evidence_digest, answer_digest, evidence)
        values
            (%(answer_id)s, %(tenant_id)s, %(composer)s, %(evidence_digest)s, %(answer_digest)s, %(frozen)s)
        on conflict (answer_id) do nothing
        """,
        {
            **answer,
            **plain,
            "composer": COMPOSER,
            "evidence_digest": evidence_digest,
            "answer_digest": said_digest,
            "frozen": frozen,
        },
    )


def _models(evidence: Evidence) -> list[dict[str, Any]]:
    """Every model version that wrote a row of the evidence."""
    models: set[tuple[str, str, Any]] = set()
    for result in evidence.results.values():
        for source in result.sources:
            if isinstance(source, TableSource):
                models.update(
                    (str(row.get("model_name") or source.table), str(row["model_version"]), source.as_of)
                    for row in source.rows
                    if row.get("model_version")
                )
    return [
        {"name": name, "version": version, "as_of": as_of}
        for name, version, as_of in sorted(models, key=lambda item: (item[0], item[1], str(item[2])))
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
