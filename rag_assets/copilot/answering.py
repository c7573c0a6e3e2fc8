"""From evidence to an answer, without a language model: tables put into sentences, runbooks quoted.

Every number comes from a row that is cited, every quote from a passage that is cited. No evidence,
no answer. Avoid SQL and search here.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from rag_assets.analysis import searchable, terms
from rag_assets.copilot.draft import Draft
from rag_assets.copilot.extraction import Quote, best_sentences, section_of, steps
from rag_assets.copilot.gathering import Gathered
from rag_assets.copilot.questions import Topic
from rag_assets.copilot.results import DocumentSource, Row, TableSource, ToolResult, ToolStatus, as_text
from rag_assets.copilot.tools.runbooks import document_source
from rag_assets.lexical import FieldedIndex
from rag_assets.retrieval import SearchHit

COMPOSER = "extractive-1"
"""Stamped on receipts: raise it when equal evidence would give another text."""

_QUOTED_DOCUMENTS = 2
_AS_STRONG = 0.9  # a second document is quoted when about as much speaks for it as for the best
_NEXT_STEPS = 6


class AnswerStatus(Enum):
    """As stored in `rag.answers`."""

    ANSWERED = "answered"
    REFUSED = "refused"


@dataclass(frozen=True)
class Composed:
    """An answer's words.

    Attributes:
        confidence: `high`, `medium`, `low`, or `none` for a refusal.
    """

    status: AnswerStatus
    text: str
    draft: Draft
    confidence: str


def compose(gathered: Gathered, lexical: FieldedIndex) -> Composed:
    """Write the answer.

    Args:
        gathered: What the tools gave.
        lexical: Word statistics of the tenant's documents, to weigh the words of sentences.
    """
    draft = Draft(gathered.asked_on)
    if not (gathered.reading.unknown_machines and not gathered.reading.equipment_ids):
        _say_predictions(draft, gathered)
        _say_health(draft, gathered.health)
        _say_events(draft, gathered)
        _say_runbooks(draft, gathered, lexical)
    if not draft.statements or _lacks_the_main_thing(gathered):
        return Composed(AnswerStatus.REFUSED, _refusal(gathered), Draft(gathered.asked_on), "none")
    text = " ".join(statement.cited for statement in draft.statements)
    return Composed(AnswerStatus.ANSWERED, text, draft, _confidence(gathered))


def _lacks_the_main_thing(gathered: Gathered) -> bool:
    """A question about the fleet's risk without predictions is not answered by a runbook."""
    needs = {Topic.FLEET_RISK: gathered.predictions, Topic.EVENTS: gathered.events}
    main = needs.get(gathered.reading.topic)
    if gathered.reading.topic is Topic.MACHINE and gathered.reading.codes:
        main = gathered.runbooks
    return main is not None and main.status is not ToolStatus.SUCCESS


def _table(result: ToolResult | None) -> TableSource | None:
    if result is None or result.status is not ToolStatus.SUCCESS:
        return None
    source = result.sources[0]
    return source if isinstance(source, TableSource) else None


def _say_predictions(draft: Draft, gathered: Gathered) -> None:
    source = _table(gathered.predictions)
    if source is None:
        return
    first = source.rows[0]
    hours, as_of = as_text(first["horizon_hours"]), as_text(first["as_of"])
    ranking = ", ".join(
        f"{row['equipment_id']} (probability {as_text(row['failure_probability'])}, {row['risk_level']})"
        for row in source.rows
    )
    if gathered.reading.topic is Topic.FLEET_RISK:
        lead = f"Most likely to fail within {hours} h, as of {as_of}: {ranking}."
    else:
        lead = f"Failure within {hours} h, as of {as_of}: {ranking}."
    draft.say(lead, [source])
    factors = [str(factor) for factor in first["contributing_factors"]]
    if factors:
        draft.say(f"Behind the figure of {first['equipment_id']}: {'; '.join(factors)}.", [source])
    draft.say(
        f"Recommended for {first['equipment_id']}: {_sentence(str(first['recommended_action']))}", [source]
    )


def _say_health(draft: Draft, result: ToolResult | None) -> None:
    source = _table(result)
    if source is None:
        return
    row = source.rows[0]
    metrics = as_text(row["avg_metrics_24h"] or {})
    means = f"; means over the last day: {metrics}" if metrics else ""
    last = f", last reading {as_text(row['last_reading_time'])}" if row["last_reading_time"] else ""
    draft.say(f"{row['equipment_id']} is in state {row['health_status']}{last}{means}.", [source])


def _say_events(draft: Draft, gathered: Gathered) -> None:
    source = _table(gathered.events)
    if source is None:
        return
    first = source.rows[0]
    whose = f" of {gathered.machine_id}" if gathered.machine_id else ""
    span = f"from {as_text(first['window_start_at'])} to {as_text(first['window_end_at'])}"
    draft.say(f"Events{whose} {span}: {'; '.join(_event(row) for row in source.rows[:6])}.", [source])


def _event(row: Row) -> str:
    kind = str(row["event_type"]).replace("_", " ")
    code = f" {row['code']}" if row["code"] else ""
    return f"{kind}{code} × {row['event_count']} (last {as_text(row['last_event_at'])})"


def _say_runbooks(draft: Draft, gathered: Gathered, lexical: FieldedIndex) -> None:
    if gathered.runbooks is None or gathered.runbooks.status is not ToolStatus.SUCCESS:
        return
    query_terms = terms(searchable(gathered.runbooks.query))
    first, *others = gathered.hits
    comparable = [hit for hit in others if hit.evidence.strength >= _AS_STRONG * first.evidence.strength]
    for rank, hit in enumerate([first, *comparable][:_QUOTED_DOCUMENTS]):
        wanted = 2 if rank == 0 else 1
        for quote in best_sentences(hit.document.content, query_terms, lexical.idf, wanted):
            source = _source_of(hit, quote)
            if source:
                draft.say(quote.text, [source], is_quote=True)
        if not draft.steps:
            for step in steps(hit.document.content, _NEXT_STEPS):
                source = _source_of(hit, step)
                if source:
                    draft.advise(step.text, [source])


def _source_of(hit: SearchHit, quote: Quote) -> DocumentSource | None:
    """The passage that a quote stands in; a quote that two passages share is cited by the first."""
    wanted = " ".join(quote.text.split())
    for passage in hit.document.passages:
        if wanted in " ".join(passage.text.split()):
            section = quote.section or section_of(passage.text, quote.text, passage.section)
            return document_source(passage, section)
    return None


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _confidence(gathered: Gathered) -> str:
    """In words: `high` when everything asked for was found and the best document is clearly about it."""
    asked = [result for result in gathered.results if result is not gathered.fleet]
    found = [result for result in asked if result.status is ToolStatus.SUCCESS]
    best: float = max((hit.evidence.cosine or 0.0 for hit in gathered.hits), default=0.0)
    covered: float = max((hit.evidence.coverage for hit in gathered.hits), default=0.0)
    documents_fit = gathered.runbooks is None or best >= _CLEAR_COSINE or covered >= _CLEAR_COVERAGE
    if len(found) == len(asked) and documents_fit:
        return "high"
    return "medium" if documents_fit or len(found) > 1 else "low"


_CLEAR_COSINE = 0.6
_CLEAR_COVERAGE = 0.8


def _refusal(gathered: Gathered) -> str:
    reading, tenant = gathered.reading, gathered.question.tenant_id
    if reading.unknown_machines and not reading.equipment_ids:
        known = len(gathered.fleet.rows)
        missing = f"{', '.join(reading.unknown_machines)} is none of the {known} machines of tenant {tenant}"
        if gathered.fleet.status is not ToolStatus.SUCCESS:
            missing = gathered.fleet.missing
        return f"No evidence, so no answer. Missing: {missing}."
    missing_parts = [
        f"{result.tool}: {result.missing}"
        for result in gathered.results
        if result.status is not ToolStatus.SUCCESS and result is not gathered.fleet
    ]
    return f"No evidence, so no answer. Missing: {'; '.join(missing_parts) or 'everything'}."


def evidence_rows(gathered: Gathered) -> list[dict[str, Any]]:
    """What was looked at, as JSON-ready rows: tool, status, query, window, and what came back."""
    rows: list[dict[str, Any]] = []
    for result in gathered.results:
        window = result.window
        rows.append(
            {
                "tool": result.tool,
                "status": result.status.value,
                "query": " ".join(result.query.split()),
                "parameters": dict(result.parameters),
                "window": [window.starts_at, window.ends_at] if window else None,
                "missing": result.missing or None,
                "found": [_found(source, result) for source in result.sources],
            }
        )
    return rows


def _found(source: Any, result: ToolResult) -> dict[str, Any]:
    if isinstance(source, TableSource):
        return {"table": source.table, "as_of": source.as_of, "rows": [dict(row) for row in source.rows]}
    return {
        "document_id": source.document_id,
        "version": source.version,
        "chunk_id": source.chunk_id,
        "content_hash": source.content_hash,
        "scores": dict(result.scores.get(source.chunk_id, {})),
    }
