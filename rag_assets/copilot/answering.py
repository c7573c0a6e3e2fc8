"""From evidence to an answer, without a language model: tables put into sentences, runbooks quoted.

Every number comes from a row that is cited, every quote from a passage that is cited. No evidence,
no answer. Avoid SQL and search here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from rag_assets.copilot import phrases
from rag_assets.copilot.draft import Draft
from rag_assets.copilot.evidence import Evidence, FoundDocument
from rag_assets.copilot.extraction import Quote, best_sentences, section_of, steps
from rag_assets.copilot.injections import gives_orders
from rag_assets.copilot.phrases import table
from rag_assets.copilot.questions import Topic
from rag_assets.copilot.results import DocumentSource, Row, ToolResult, ToolStatus, plain_purpose
from rag_assets.copilot.tools.changes import newest_first

COMPOSER = "extractive-3"
"""Stamped on receipts: raise it when equal evidence would give another text."""

_QUOTED_DOCUMENTS = 2
_AS_STRONG = 0.9  # a second document is quoted when about as much speaks for it as for the best
_NEXT_STEPS = 6
_NAMED_MACHINES = 6
_CLEAR_COSINE = 0.6
_CLEAR_COVERAGE = 0.8


class AnswerStatus(Enum):
    """As stored in `rag.answers`."""

    ANSWERED = "answered"
    REFUSED = "refused"


@dataclass(frozen=True)
class Composed:
    """An answer's words.

    Attributes:
        confidence: `high`, `medium`, `low`, or `none` for a refusal.
        reason: Why the confidence is what it is, in a sentence.
    """

    status: AnswerStatus
    text: str
    draft: Draft
    confidence: str
    reason: str


def compose(evidence: Evidence) -> Composed:
    """Write the answer; equal evidence gives equal bytes."""
    draft = Draft(evidence.asked_on, evidence.question.tenant_id)
    is_named = not (evidence.unknown and not evidence.machines)
    if is_named and not evidence.ambiguous:
        for purpose, result in evidence.results.items():
            if result.status is ToolStatus.SUCCESS:
                _say(draft, evidence, purpose, result)
    if not draft.statements or _lacks_the_main_thing(evidence):
        reason = "Nothing that was looked at answers the question."
        return Composed(
            AnswerStatus.REFUSED,
            _refusal(evidence),
            Draft(evidence.asked_on, evidence.question.tenant_id),
            "none",
            reason,
        )
    text = said(draft, evidence)
    return Composed(AnswerStatus.ANSWERED, text, draft, *_confidence(evidence))


def said(draft: Draft, evidence: Evidence) -> str:
    """The statements with their marks, and what of the question they do not answer."""
    return " ".join([*(statement.cited for statement in draft.statements), evidence.caveat]).rstrip()


def _lacks_the_main_thing(evidence: Evidence) -> bool:
    """A question about the fleet's risk without predictions is not answered by a runbook."""
    topic, found = evidence.topic, evidence.found
    if topic is Topic.FLEET_RISK:
        return found("predictions") is None
    if topic is Topic.MACHINE and evidence.codes:
        return found("runbooks") is None
    if topic is Topic.CAUSE:
        return not any(found(purpose) for purpose in evidence.results if purpose.startswith("measure"))
    if topic is Topic.FORECAST:
        return found("forecast") is None and found("violations") is None
    return False


_Sayer = Callable[[Draft, Evidence, ToolResult], None]


def _say(draft: Draft, evidence: Evidence, purpose: str, result: ToolResult) -> None:
    plain = plain_purpose(purpose)
    sayer = _SAYERS.get(plain) or _SAYERS.get(plain.split(" ")[0])
    if sayer:
        sayer(draft, evidence, result)


def _say_rows(phrase: Callable[[Sequence[Row], Evidence], str]) -> _Sayer:
    """One sentence from the rows of a result's table."""
    return _say_subject(lambda rows, evidence, _: phrase(rows, evidence))


def _say_subject(phrase: Callable[[Sequence[Row], Evidence, str], str]) -> _Sayer:
    """The same with whose rows they are, such as " of all machines": as the query says it."""

    def say(draft: Draft, evidence: Evidence, result: ToolResult) -> None:
        source = table(result)
        if source:
            draft.say(phrase(source.rows, evidence, _whose(evidence, result)), [source])

    return say


def _say_predictions(draft: Draft, evidence: Evidence, result: ToolResult) -> None:
    source = table(result)
    if source:
        is_fleet = not result.parameters.get("equipment_id")
        for sentence in phrases.predictions(source, is_fleet):
            draft.say(sentence, [source])


def _say_changes(draft: Draft, _: Evidence, result: ToolResult) -> None:
    for source, row in newest_first(result)[:6]:
        draft.say(phrases.change(row), [source])


def _say_schedule(draft: Draft, _: Evidence, result: ToolResult) -> None:
    source = table(result)
    for row in source.rows if source else ():
        draft.say(phrases.schedule(row), [source] if source else [])


def _say_violations(draft: Draft, _: Evidence, result: ToolResult) -> None:
    source = table(result)
    for row in source.rows[:3] if source else ():
        draft.say(phrases.violation(row), [source] if source else [])


def _say_runbooks(draft: Draft, evidence: Evidence, _: ToolResult) -> None:
    weights = evidence.weights

    def weigh(term: str) -> float:
        return weights.get(term, 0.0)

    first, *others = evidence.documents
    comparable = [document for document in others if document.strength >= _AS_STRONG * first.strength]
    for rank, document in enumerate([first, *comparable][:_QUOTED_DOCUMENTS]):
        wanted = 2 if rank == 0 else 1
        for quote in best_sentences(document.content, list(weights), weigh, wanted):
            source = _source_of(document, quote)
            if source and not gives_orders(quote.text):
                draft.say(quote.text, [source], is_quote=True)
        if not draft.steps:
            for step in steps(document.content, _NEXT_STEPS):
                source = _source_of(document, step)
                if source and not gives_orders(step.text):
                    draft.advise(step.text, [source])


def _whose(evidence: Evidence, result: ToolResult) -> str:
    asked = result.parameters
    machine = asked.get("equipment_id")
    machines = asked.get("equipment_ids") or ([machine] if machine else [])
    if len(machines) > _NAMED_MACHINES:
        return phrases.whose((), evidence.plants)
    return phrases.whose(machines, [asked["plant_id"]] if asked.get("plant_id") else [])


def _unit(rows: Sequence[Row], evidence: Evidence, column: str = "measure") -> str:
    return evidence.units.get(str(rows[0][column]), "")


_SAYERS: Mapping[str, _Sayer] = {
    "stopped": _say_rows(lambda rows, _: phrases.stopped(rows)),
    "predictions": _say_predictions,
    "scored": _say_rows(lambda rows, _: phrases.scored(rows[0])),
    "health": _say_rows(lambda rows, _: phrases.health(rows[0])),
    "events": _say_subject(lambda rows, _, whose: phrases.events(rows, whose)),
    "errors": _say_subject(lambda rows, _, whose: phrases.events(rows, whose)),
    "measure": _say_subject(
        lambda rows, evidence, whose: phrases.measure(rows[0], _unit(rows, evidence), whose)
    ),
    "comparison": _say_rows(
        lambda rows, evidence: phrases.comparison(rows, _unit(rows, evidence), evidence.is_ascending)
    ),
    "contribution": _say_subject(lambda rows, _, whose: phrases.contribution(rows, whose)),
    "anomalies": _say_rows(lambda rows, _: phrases.anomalies(rows)),
    "forecast": _say_rows(lambda rows, evidence: phrases.forecast(rows, _unit(rows, evidence, "metric"))),
    "log signals": _say_rows(lambda rows, _: phrases.log_signals(rows)),
    "log windows": _say_rows(lambda rows, _: phrases.log_windows(rows)),
    "incidents": _say_rows(lambda rows, _: phrases.incidents(rows)),
    "changes": _say_changes,
    "schedule": _say_schedule,
    "violations": _say_violations,
    "runbooks": _say_runbooks,
}
"""How a result is put into words, by its purpose or by the first word of it; further ones as the others.
The fleet is looked at to know which machines there are, and says nothing."""


def _source_of(document: FoundDocument, quote: Quote) -> DocumentSource | None:
    """The passage that a quote stands in; a quote that two passages share is cited by the first."""
    wanted = " ".join(quote.text.split())
    for passage in document.passages:
        if wanted in " ".join(passage.text.split()):
            section = quote.section or section_of(passage.text, quote.text, passage.section)
            return replace(passage, section=section)
    return None


def _confidence(evidence: Evidence) -> tuple[str, str]:
    """`high` when everything asked for was found and the best document is clearly about it."""
    asked = {purpose: result for purpose, result in evidence.results.items() if purpose != "fleet"}
    found = [result for result in asked.values() if result.status is ToolStatus.SUCCESS]
    best: float = max((document.cosine or 0.0 for document in evidence.documents), default=0.0)
    covered: float = max((document.coverage for document in evidence.documents), default=0.0)
    documents_fit = "runbooks" not in asked or best >= _CLEAR_COSINE or covered >= _CLEAR_COVERAGE
    absent = ", ".join(purpose for purpose, result in asked.items() if result not in found)
    if evidence.caveat:
        return "low", evidence.caveat
    if evidence.unknown:
        return "medium", f"Nothing is known of {', '.join(evidence.unknown)}: the answer is about the others."
    if not absent and documents_fit:
        return "high", "Everything that was looked at had an answer."
    doubt = f"Nothing was found for: {absent}." if absent else "The best document only touches the question."
    return ("medium" if documents_fit or len(found) > 1 else "low"), doubt


def _own_plants(fleet: ToolResult) -> str:
    plants = sorted({str(row["plant_id"]) for row in fleet.rows if row.get("plant_id")})
    return f" ({', '.join(plants)})" if plants else ""


def _refusal(evidence: Evidence) -> str:
    tenant, fleet = evidence.question.tenant_id, evidence.results["fleet"]
    if evidence.ambiguous:
        said, machines = next(iter(evidence.ambiguous.items()))
        return f"Several machines fit {said!r}: {', '.join(machines)}. Ask again with one of them."
    if evidence.unknown and not evidence.machines:
        missing = (
            f"{', '.join(evidence.unknown)} is none of the {len(fleet.rows)} machines of tenant {tenant}"
            f", nor one of its plants{_own_plants(fleet)}"
        )
        if fleet.status is not ToolStatus.SUCCESS:
            missing = fleet.missing
        return f"No evidence, so no answer. Missing: {missing}."
    missing_parts = [
        f"{result.tool}: {result.missing}"
        for purpose, result in evidence.results.items()
        if result.status is not ToolStatus.SUCCESS and purpose != "fleet"
    ]
    refused = f"No evidence, so no answer. Missing: {'; '.join(missing_parts) or 'everything'}."
    return f"{refused} {evidence.caveat}".rstrip()
