"""Which kept answers rest on evidence that no longer holds, and what would change.

Evidence is superseded (a newer document), recalled (a document is gone, or a recall covers its
instant), demoted (another model version serves) or corrected (a cited passage was edited in place, or
the same query over the same window now gives other rows). Avoid composing: the caller asks again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from functools import cache
from typing import Any

import psycopg

from rag_assets.copilot.applicability import applicability
from rag_assets.copilot.evidence import Evidence
from rag_assets.copilot.questions import Question
from rag_assets.copilot.receipts import to_json
from rag_assets.copilot.replay import KeptAnswer, evidence_of, load_answer
from rag_assets.copilot.results import TableSource, ToolResult
from rag_assets.copilot.tools import analytics
from rag_assets.copilot.tools.database import NotBuiltError, QueryFailedError, TenantDatabase
from rag_assets.documents import Document
from rag_assets.freshness import not_applicable, not_current
from rag_assets.index.corpus import load_corpus


class Finding(Enum):
    """Why evidence no longer holds."""

    SUPERSEDED = "superseded"
    RECALLED = "recalled"
    DEMOTED = "demoted"
    CORRECTED = "corrected"


@dataclass(frozen=True)
class Doubt:
    """One piece of evidence that no longer holds.

    Attributes:
        subject: Document, model or table.
        detail: What happened to it.
    """

    finding: Finding
    subject: str
    detail: str


@dataclass(frozen=True)
class AuditedAnswer:
    """An answer with its doubts.

    Attributes:
        would_say: Sentences that an answer to the same question has now and this one has not.
        no_longer_said: The other way round.
    """

    answer_id: str
    tenant_id: str
    question: str
    answered_at: Any
    doubts: tuple[Doubt, ...]
    would_say: list[str] = field(default_factory=list[str])
    no_longer_said: list[str] = field(default_factory=list[str])


_FIXED_IN_TIME = {"starts_at", "ends_at", "first_on", "last_on"}


def audit(
    connection: psycopg.Connection[Any],
    database: TenantDatabase,
    on: date,
    tenant_id: str | None = None,
    limit: int = 200,
    ask_again: Callable[[Question], str] | None = None,
) -> list[AuditedAnswer]:
    """The latest answers whose evidence no longer holds.

    Args:
        connection: A connection that may read.
        database: For running the queries of evidence again.
        on: Day on which documents must be current.
        tenant_id: Whose answers; None: everybody's, for the operator.
        limit: How many of the latest answers to look at.
        ask_again: Answers a question now, without keeping the answer.
    """
    ids = connection.execute(
        "select answer_id from rag.answers where status = 'answered' "
        "and (%(tenant)s::text is null or tenant_id = %(tenant)s) order by answered_at desc limit %(limit)s",
        {"tenant": tenant_id, "limit": limit},
    ).fetchall()
    corpora = _corpora(connection, database, on)
    audited: list[AuditedAnswer] = []
    for (answer_id,) in ids:
        kept = load_answer(connection, answer_id)
        doubts = tuple(_doubts(connection, database, kept, corpora(kept.tenant_id)))
        if doubts:
            audited.append(_audited(kept, doubts, ask_again))
    return audited


def _audited(
    kept: KeptAnswer, doubts: Sequence[Doubt], ask_again: Callable[[Question], str] | None
) -> AuditedAnswer:
    before = _sentences(kept.answer)
    after = before
    if ask_again:
        evidence = evidence_of(kept)
        equipment_id = kept.receipt.get("equipment_id")
        asked = evidence.question if evidence else Question(kept.question, kept.tenant_id, equipment_id)
        after = _sentences(ask_again(asked))
    return AuditedAnswer(
        answer_id=kept.answer_id,
        tenant_id=kept.tenant_id,
        question=kept.question,
        answered_at=kept.answered_at,
        doubts=tuple(doubts),
        would_say=[sentence for sentence in after if sentence not in before],
        no_longer_said=[sentence for sentence in before if sentence not in after],
    )


def _doubts(
    connection: psycopg.Connection[Any],
    database: TenantDatabase,
    kept: KeptAnswer,
    corpus: "_Corpus",
) -> Iterator[Doubt]:
    evidence = evidence_of(kept)
    out = corpus.out(evidence.machine_id if evidence else None)
    for key, passages in _cited_documents(kept).items():
        document = corpus.documents.get(key)
        if document is None:
            yield Doubt(Finding.RECALLED, key, "the document is no longer in the corpus")
        elif key in out:
            yield Doubt(Finding.SUPERSEDED, key, out[key])
        elif gone := [section for section, text in passages if _plain(text) not in _plain(document.content)]:
            detail = f"the cited text of {gone[0] or document.title!r} was changed without a new version"
            yield Doubt(Finding.CORRECTED, key, detail)
    yield from _demoted(connection, kept)
    if evidence:
        yield from _recalled_rows(connection, kept, evidence)
        yield from _corrected(database, kept, evidence)


def _cited_documents(kept: KeptAnswer) -> dict[str, list[tuple[str, str]]]:
    """`id@version` → section and text of each passage cited from it."""
    cited: dict[str, list[tuple[str, str]]] = {}
    for citation in kept.citations:
        if citation["kind"] == "document":
            key = f"{citation['document_id']}@{citation['version']}"
            cited.setdefault(key, []).append((citation["section"] or "", citation["snippet"]))
    return cited


@dataclass(frozen=True)
class _Corpus:
    """One tenant's documents of record, and what its machines run.

    Attributes:
        documents: By `id@version`.
        machines: By id.
        on: Day on which documents must be current.
    """

    documents: Mapping[str, Document]
    machines: Mapping[str, Mapping[str, Any]]
    on: date
    _judged: dict[str | None, dict[str, str]] = field(default_factory=dict[str | None, dict[str, str]])

    def out(self, machine_id: str | None) -> dict[str, str]:
        """Documents that must not be cited for a machine → why; by the same rules as search."""
        fits = applicability(self.machines, machine_id)
        judged = self._judged.get(machine_id)
        if judged is None:
            every = self.documents.values()
            others = not_applicable(every, fits.firmware_in_use, fits.machine_model)
            applicable = [document for key, document in self.documents.items() if key not in others]
            judged = self._judged[machine_id] = {**others, **not_current(applicable, self.on)}
        return judged


def _corpora(
    connection: psycopg.Connection[Any], database: TenantDatabase, on: date
) -> Callable[[str], _Corpus]:
    """Each tenant's corpus, read when it is first asked for."""
    documents = load_corpus(connection)

    @cache
    def of(tenant_id: str) -> _Corpus:
        own = {item.key: item for item in documents if item.tenant_id == tenant_id}
        fleet = analytics.fleet(database, tenant_id)
        return _Corpus(own, {str(row["equipment_id"]): row for row in fleet.rows}, on)

    return of


def _plain(text: str) -> str:
    return " ".join(text.split())


def _demoted(connection: psycopg.Connection[Any], kept: KeptAnswer) -> Iterator[Doubt]:
    for model in kept.receipt.get("models", []):
        row = connection.execute(
            "select model_version, decision from ml.promotions where tenant_id = %s and model_name = %s "
            "and decision in ('promoted', 'rolled_back') and served_from is not null and served_to is null "
            "order by served_from desc limit 1",
            (kept.tenant_id, model["name"]),
        ).fetchone()
        if row and str(row[0]) != str(model["version"]):
            how = "rolled back to" if row[1] == "rolled_back" else "replaced by"
            detail = f"version {model['version']} was {how} version {row[0]}"
            yield Doubt(Finding.DEMOTED, model["name"], detail)


def _recalled_rows(
    connection: psycopg.Connection[Any], kept: KeptAnswer, evidence: Evidence
) -> Iterator[Doubt]:
    """Recalls and sensor faults that became known later and overlap the evidence's windows."""
    windows = [result.window for result in evidence.results.values() if result.window]
    if not windows:
        return
    rows = connection.execute(
        "select coalesce(equipment_id, tenant_id), reason from ops.incident_calendar "
        "where tenant_id = %s and kind in ('recall', 'sensor_fault') and known_at > %s "
        "and (equipment_id is null or %s::text is null or equipment_id = %s) "
        "and starts_at < %s and ends_at > %s",
        (
            kept.tenant_id,
            kept.first_at,
            evidence.machine_id,
            evidence.machine_id,
            max(window.ends_at for window in windows if window.ends_at),
            min(window.starts_at for window in windows if window.starts_at),
        ),
    ).fetchall()
    for subject, reason in rows:
        yield Doubt(Finding.RECALLED, str(subject), str(reason))


def _corrected(database: TenantDatabase, kept: KeptAnswer, evidence: Evidence) -> Iterator[Doubt]:
    """Queries with a fixed window, run again; those about "now" have moved on and prove nothing."""
    for purpose, result in evidence.results.items():
        if not _FIXED_IN_TIME & set(result.parameters):
            continue
        for source in result.sources:
            if isinstance(source, TableSource) and source.query:
                yield from _rerun(database, kept.tenant_id, purpose, result, source)


def _rerun(
    database: TenantDatabase, tenant_id: str, purpose: str, result: ToolResult, source: TableSource
) -> Iterator[Doubt]:
    parameters = {name: value for name, value in result.parameters.items() if name != "tenant_id"}
    try:
        rows = database.rows(source.query, tenant_id, **parameters)
    except (NotBuiltError, QueryFailedError) as error:
        yield Doubt(Finding.CORRECTED, source.table, f"{purpose}: can't be read any more ({error})")
        return
    if to_json(rows) != to_json(list(source.rows)):
        changed = _difference(source.rows, rows)
        yield Doubt(Finding.CORRECTED, source.table, f"{purpose}: the same query now gives {changed}")


def _difference(before: Sequence[Any], after: Sequence[Any]) -> str:
    if len(before) != len(after):
        return f"{len(after)} rows instead of {len(before)}"
    pairs = zip(before, after, strict=True)
    columns = {
        name: (old.get(name), new.get(name))
        for old, new in pairs
        for name in new
        if to_json(old.get(name)) != to_json(new.get(name))
    }
    return "; ".join(f"{name} {new} instead of {old}" for name, (old, new) in list(columns.items())[:3])


def _sentences(answer: str) -> list[str]:
    return [sentence.strip() for sentence in answer.replace("] ", "]\n").splitlines() if sentence.strip()]
