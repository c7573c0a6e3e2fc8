"""From an incident to what to do: the right runbook, its steps with citations, commands to look, proposals.

Add wording of a new kind of finding to `WORDS`. Avoid searching: a callable does (the API's `/query`, or the
retriever in process), since this package knows no index.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestration.ingest.incidents.model import Incident
from orchestration.ingest.incidents.runbook_steps import LookCommand, RunbookStep, read_runbook
from orchestration.ingest.signals import Signal, SignalKind

TOP_PASSAGES = 5
SAMPLES_ASKED = 6  # more lines drown the words that tell one trouble from another
SAMPLE_CHARACTERS = 160
LINES_ASKED = 3  # searches beside the first one, only where it was not sure: 45 ms each
_VARIABLE = re.compile(r"\b(?![45]\d\d\b|[A-Z]\d{3}\b)(?:[0-9a-f]{8,}|\w*\d[\w.:-]*)\b")

WORDS: dict[SignalKind, str] = {
    SignalKind.LOG_RULE: "errors in the log",
    SignalKind.LOG_ERRORS: "more errors in the log than usual",
    SignalKind.LOG_LATENCY: "response times degrade, requests are slow",
    SignalKind.LOG_STATEMENTS: "log statements are missing or new",
    SignalKind.LOG_TEMPLATES: "log lines of a form that was not seen before",
    SignalKind.LOG_SECURITY: "security: attack in requests or logins",
    SignalKind.LOG_SILENCE: "writes nothing any more, may be out",
    SignalKind.RESOURCE: "memory, processor or disk runs out",
    SignalKind.TELEMETRY: "readings of the machine's sensors are abnormal",
    SignalKind.DRIFT: "readings drifted from the reference",
    SignalKind.LANDING: "messages of the topic are not landed, consumer lag",
    SignalKind.DEAD_LETTERS: "dead letters: messages that the contract refuses",
    SignalKind.LIVENESS: "does not run any more",
}


@dataclass(frozen=True)
class Passage:
    """One document that a search gave, with its best passage.

    Attributes:
        document_id: Document.
        version: Its version.
        title: Its title.
        section: Heading of the passage.
        text: The passage.
        is_evidence: Whether the document is about the question at all, by retrieval's own measure.
    """

    document_id: str
    version: str
    title: str
    section: str
    text: str
    is_evidence: bool


RunbookSearch = Callable[[str, str, int], Sequence[Passage]]
"""(question, tenant, number of documents) to documents, best first."""
RunbookText = Callable[[str, str, str], str | None]
"""(tenant, document, version) to the whole document as Markdown."""


class SearchUnavailableError(RuntimeError):
    """The index can't be asked now; the alert leaves without a fix and gets it later."""


@dataclass(frozen=True)
class Plan:
    """What to do about an incident.

    Attributes:
        status: `planned`, `refused` (no runbook matches) or `waiting` (the search did not answer in time).
        reason: Why it was refused or waits.
        question: What was searched for.
        passages: Documents found, best first; cited by their position from 1.
        steps: Steps of the first document.
        commands: Commands that only look.
        verification: How to know that it is over.
    """

    status: str
    reason: str
    question: str
    passages: tuple[Passage, ...] = ()
    steps: tuple[RunbookStep, ...] = ()
    commands: tuple[LookCommand, ...] = ()
    verification: str = ""

    def as_json(self) -> dict[str, Any]:
        """The plan as it is kept and sent; each step repeats the citation that it rests on."""
        value = asdict(self)
        if self.passages:
            cited = f"{self.passages[0].document_id}@{self.passages[0].version}"
            for step in value["steps"]:
                step["citation"] = f"[1] {cited}, section {step['section']}, step {step['number']}"
        return value


def question_of(incident: Incident, signals: Sequence[Signal]) -> str:
    """The question that an incident puts to the runbooks: what detectors saw, and the lines that show it.

    Args:
        incident: What has to be fixed.
        signals: Its signals; those of the first suspect speak first, the strongest of them before the others.
    """
    ordered = sorted(signals, key=lambda item: (item.subject != incident.subject, -item.score))
    kinds = list(dict.fromkeys(item.kind for item in ordered))
    words = "; ".join(WORDS[kind] for kind in kinds[:2])
    strongest = _spoken(ordered[0].summary) if ordered else ""
    return "\n".join([f"{incident.subject}: {words}", strongest, *shown_lines(ordered)]).strip()


def shown_lines(signals: Sequence[Signal]) -> list[str]:
    """Distinct sample lines of findings, without what is different in each of them.

    Numbers, addresses and identifiers are left out: no runbook knows request 7f3a, and each one makes the
    question look less like any document. Status codes (503) and error codes (E101) stay.

    Args:
        signals: Findings, the most telling first.
    """
    lines = {
        spoken: None
        for signal in signals
        for line in sample_lines(signal)
        if (spoken := _spoken(line[:SAMPLE_CHARACTERS]))
    }
    return list(lines)[:SAMPLES_ASKED]


def sample_lines(signal: Signal) -> list[str]:
    """Lines that a detector put beside its finding."""
    for name in ("sample_lines", "samples", "statements"):
        value = signal.evidence.get(name)
        if isinstance(value, list) and value:
            return [str(line) for line in value]  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    return []


def plan_for(
    incident: Incident, signals: Sequence[Signal], search: RunbookSearch, text_of: RunbookText
) -> Plan:
    """Find the runbook and take its steps.

    Args:
        incident: What has to be fixed.
        signals: Its signals.
        search: Finds documents of the tenant.
        text_of: Reads a document.

    Returns:
        The plan; refused where nothing that was found is about the incident: no fix beats a wrong one.
    """
    question = question_of(incident, signals)
    try:
        found = tuple(search(question, incident.tenant_id, TOP_PASSAGES))
        evidence = tuple(item for item in found if item.is_evidence)
        if found and not evidence:
            evidence = _spoken_for(found, incident, signals, search)
    except SearchUnavailableError as error:
        return Plan("waiting", str(error), question)
    if not evidence:
        nearest = f"; the nearest is {found[0].title!r}" if found else ""
        reason = f"no runbook of tenant {incident.tenant_id} is about this{nearest}. Write one and index it"
        return Plan("refused", reason, question)
    first = evidence[0]
    markdown = text_of(incident.tenant_id, first.document_id, first.version) or first.text
    content = read_runbook(markdown)
    return Plan("planned", "", question, evidence, content.steps, content.commands, content.verification)


def _spoken_for(
    found: Sequence[Passage], incident: Incident, signals: Sequence[Signal], search: RunbookSearch
) -> tuple[Passage, ...]:
    """Those of the found documents that are surely about one of the lines.

    A question of several lines covers little of any document, so that none seems to be about the whole.
    """
    own = [signal for signal in signals if signal.subject == incident.subject]
    sure: set[str] = set()
    for line in shown_lines(own)[:LINES_ASKED]:
        hits = search(line, incident.tenant_id, TOP_PASSAGES)
        sure |= {hit.document_id for hit in hits if hit.is_evidence}
    return tuple(item for item in found if item.document_id in sure)


def _spoken(text: str) -> str:
    return " ".join(_VARIABLE.sub(" ", text).split())
