"""Which tools a question needs, and calling them.

Add a topic's plan to `_PLANS`. Avoid wording (`answering.py`) and SQL (`tools`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from rag_assets.analysis import searchable, terms
from rag_assets.copilot.applicability import applicability
from rag_assets.copilot.caveats import caveat
from rag_assets.copilot.evidence import Evidence, FoundDocument
from rag_assets.copilot.periods import Period
from rag_assets.copilot.questions import Question, Reading, Topic, read_question
from rag_assets.copilot.results import Row, ToolResult, ToolStatus
from rag_assets.copilot.tools import analytics, predictions
from rag_assets.copilot.tools.changes import changes
from rag_assets.copilot.tools.contributions import contributions, dimensions_of
from rag_assets.copilot.tools.database import NotBuiltError, TenantDatabase
from rag_assets.copilot.tools.forecast import forecast_values, forecast_violations
from rag_assets.copilot.tools.logs import incidents, log_signals, log_windows
from rag_assets.copilot.tools.measures import Measure, MeasureCatalogue
from rag_assets.copilot.tools.report import report_figures
from rag_assets.copilot.tools.runbooks import RunbookRequest, document_source, find_runbooks
from rag_assets.copilot.tools.trends import GroupBy, TrendRequest, trend
from rag_assets.index.contract import TenantScope
from rag_assets.retrieval import Retriever, SearchHit

RECENT_ERRORS = timedelta(days=3)  # nearly all error codes that precede a failure come within two days
_MEASURES_PER_ANSWER = 2
_DIMENSIONS_PER_ANSWER = 2


@dataclass
class _Enquiry:
    """One question while its tools are being asked."""

    question: Question
    reading: Reading
    asked_on: date
    machines: Mapping[str, Row]
    retriever: Retriever
    database: TenantDatabase
    measures: MeasureCatalogue
    machine_id: str | None
    results: dict[str, ToolResult]
    hits: tuple[SearchHit, ...] = ()
    runbook_query: str = ""
    units: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def tenant(self) -> str:
        """Whose rows and documents may be seen."""
        return self.question.tenant_id

    @property
    def search_text(self) -> str:
        """What documents are searched with, unless a machine's own symptoms are known."""
        return f"{self.reading.search_text} {self.question.reported}".strip()


def gather(
    question: Question,
    asked_on: date,
    retriever: Retriever,
    database: TenantDatabase,
    measures: MeasureCatalogue,
) -> Evidence:
    """Ask the tools that the question needs.

    Args:
        question: The question; its tenant restricts every tool.
        asked_on: Day on which documents must be current.
        retriever: Search over the live index build.
        database: Read-only rows.
        measures: Figures that can be asked for.
    """
    enquiry = _open(question, asked_on, retriever, database, measures)
    reading = enquiry.reading
    if not (reading.unknown_machines and not reading.equipment_ids):
        _PLANS[reading.topic](enquiry)
    library = retriever.library(TenantScope(question.tenant_id)).lexical
    weights = {term: float(library.idf(term)) for term in terms(searchable(enquiry.runbook_query))}
    return Evidence(
        question=question,
        asked_on=asked_on,
        topic=reading.topic,
        machine_id=enquiry.machine_id,
        machines=reading.equipment_ids,
        unknown=reading.unknown_machines,
        ambiguous=reading.names.ambiguous if reading.topic is Topic.AMBIGUOUS else {},
        plants=reading.names.plants,
        codes=reading.codes,
        units=enquiry.units,
        is_ascending=reading.is_ascending,
        results=enquiry.results,
        documents=tuple(_found(hit) for hit in enquiry.hits),
        weights=weights,
        caveat=caveat(reading, {str(row["plant_id"]) for row in enquiry.machines.values()}),
    )


def _open(
    question: Question,
    asked_on: date,
    retriever: Retriever,
    database: TenantDatabase,
    measures: MeasureCatalogue,
) -> _Enquiry:
    fleet = analytics.fleet(database, question.tenant_id)
    machines = {str(row["equipment_id"]): row for row in fleet.rows}
    now_at = fleet.rows[0]["window_end_at"] if fleet.rows else None
    try:
        mentioned = measures.mentioned(question.tenant_id, question.text)
    except NotBuiltError:
        mentioned = ()
    midnight = datetime(asked_on.year, asked_on.month, asked_on.day, tzinfo=UTC)
    reading = read_question(question, machines, mentioned, now_at or midnight)
    machine_id = reading.equipment_ids[0] if reading.equipment_ids else None
    return _Enquiry(
        question, reading, asked_on, machines, retriever, database, measures, machine_id, {"fleet": fleet}
    )


def _ambiguous(_: _Enquiry) -> None:
    """Nothing is looked up for a machine that may be any of several."""


def _risk(enquiry: _Enquiry) -> None:
    """Fleet or machine: predictions, health, events, and the runbook for what it shows."""
    reading, tenant = enquiry.reading, enquiry.tenant
    horizon = 168 if reading.horizon_hours > 24 else 24
    enquiry.results |= predictions.stopped_machines(enquiry.database, tenant, enquiry.machine_id)
    request = predictions.PredictionRequest(tenant, horizon, enquiry.machine_id)
    predicted = enquiry.results["predictions"] = predictions.latest_predictions(enquiry.database, request)
    if predicted.rows:
        enquiry.machine_id = str(predicted.rows[0]["equipment_id"])
    if reading.topic is Topic.FLEET_RISK:
        enquiry.results["scored"] = analytics.scored_machines(enquiry.database, tenant)
    if enquiry.machine_id:
        enquiry.results["health"] = analytics.health(enquiry.database, tenant, enquiry.machine_id)
        enquiry.results["events"] = analytics.events(
            enquiry.database, tenant, reading.period, enquiry.machine_id
        )
        _runbook_for_symptoms(enquiry)
    elif reading.topic is Topic.MACHINE:
        _runbooks(enquiry, enquiry.search_text)


def _unknown_measure(enquiry: _Enquiry) -> None:
    """A figure of something that nobody measures is not answered with another one."""
    known = ", ".join(dict.fromkeys(measure.words[0] for measure in enquiry.measures.all(enquiry.tenant)))
    missing = f"no figure that the question asks for is measured; measured are: {known}"
    enquiry.results["measure"] = ToolResult(
        analytics.TOOL, ToolStatus.NO_DATA, enquiry.question.text, {}, missing=missing
    )


def _events(enquiry: _Enquiry) -> None:
    reading = enquiry.reading
    models = {str(row.get("equipment_model") or "").upper() for row in enquiry.machines.values()}
    codes = tuple(code.upper() for code in reading.codes if code not in models)
    enquiry.results["events"] = analytics.events(
        enquiry.database,
        enquiry.tenant,
        reading.period,
        enquiry.machine_id,
        () if codes else reading.event_types,
        codes,
    )


def _how_to(enquiry: _Enquiry) -> None:
    _runbooks(enquiry, enquiry.search_text)


def _measure(enquiry: _Enquiry) -> None:
    results = {
        f"measure {measure.name}": trend(enquiry.database, _trend_request(enquiry, measure, GroupBy.ALL))
        for measure in _asked(enquiry)
    }
    _keep_found(enquiry, results)


def _comparison(enquiry: _Enquiry) -> None:
    text = enquiry.question.text
    by_plant = bool(re.search(r"\bplants?\b|\bsites?\b", text, re.IGNORECASE)) and not enquiry.machine_id
    group_by = GroupBy.PLANT if by_plant else GroupBy.EQUIPMENT
    results = {
        f"comparison {measure.name}": trend(enquiry.database, _trend_request(enquiry, measure, group_by))
        for measure in _asked(enquiry)
    }
    _keep_found(enquiry, results, 1)


def _cause(enquiry: _Enquiry) -> None:
    """The figure, what it is made of, what was changed before, and the runbook for the largest part."""
    reading, tenant, database = enquiry.reading, enquiry.tenant, enquiry.database
    measure = next(item for item in reading.measures if item.more_is_worse is not None)
    enquiry.units[measure.name] = measure.unit
    enquiry.results[f"measure {measure.name}"] = trend(
        database, _trend_request(enquiry, measure, GroupBy.ALL)
    )
    dimensions = [
        dimension
        for dimension in dimensions_of(measure.name)
        if not (dimension.name == "machine" and enquiry.machine_id)
    ]
    for dimension in dimensions[:_DIMENSIONS_PER_ANSWER]:
        enquiry.results[f"contribution {dimension.name}"] = contributions(
            database, tenant, dimension, reading.period, reading.equipment_ids or _machines_of(enquiry)
        )
    enquiry.results["errors"] = analytics.events(
        database, tenant, reading.period, enquiry.machine_id, ("error",)
    )
    enquiry.results["changes"] = changes(database, tenant, reading.period, enquiry.machine_id)
    parts = [str(row["part"]) for name in ("component", "error code", "defect type")
             for row in _rows(enquiry, f"contribution {name}")[:1]]  # fmt: skip
    codes = [str(row["code"]) for row in _rows(enquiry, "errors")[:2] if row["code"]]
    if parts or codes:
        _runbooks(enquiry, " ".join([*codes, *(part.replace("_", " ") for part in parts)]))


def _forecast(enquiry: _Enquiry) -> None:
    reading, tenant = enquiry.reading, enquiry.tenant
    subject = enquiry.machine_id or (reading.names.plants[0] if reading.names.plants else None)
    asked = _asked(enquiry)
    # Models may write a metric with or without its unit.
    names = tuple(dict.fromkeys(name for m in asked[:1] for name in (m.name, m.words[0])))
    if subject:
        enquiry.results["forecast"] = forecast_values(
            enquiry.database, tenant, subject, names, reading.horizon_hours
        )
    enquiry.results["violations"] = forecast_violations(enquiry.database, tenant, subject, names)


def _changes(enquiry: _Enquiry) -> None:
    enquiry.results["changes"] = changes(
        enquiry.database, enquiry.tenant, enquiry.reading.period, enquiry.machine_id
    )


def _logs(enquiry: _Enquiry) -> None:
    period = enquiry.reading.period
    enquiry.results["log signals"] = log_signals(enquiry.database, enquiry.tenant, period)
    enquiry.results["incidents"] = incidents(enquiry.database, enquiry.tenant, period)
    enquiry.results["log windows"] = log_windows(enquiry.database, enquiry.tenant, period)


def _anomalies(enquiry: _Enquiry) -> None:
    enquiry.results["anomalies"] = predictions.anomalies(
        enquiry.database, enquiry.tenant, enquiry.reading.period, enquiry.machine_id
    )


def _schedule(enquiry: _Enquiry) -> None:
    enquiry.results["schedule"] = predictions.maintenance_schedule(
        enquiry.database, enquiry.tenant, enquiry.machine_id
    )


def _scored(enquiry: _Enquiry) -> None:
    enquiry.results["scored"] = analytics.scored_machines(enquiry.database, enquiry.tenant)


def _report(enquiry: _Enquiry) -> None:
    for name, result in report_figures(enquiry.database, enquiry.tenant, enquiry.reading.period).items():
        enquiry.results[name] = result


_PLANS: Mapping[Topic, Callable[[_Enquiry], None]] = {
    Topic.AMBIGUOUS: _ambiguous,
    Topic.FLEET_RISK: _risk,
    Topic.MACHINE: _risk,
    Topic.EVENTS: _events,
    Topic.HOW_TO: _how_to,
    Topic.MEASURE: _measure,
    Topic.COMPARISON: _comparison,
    Topic.CAUSE: _cause,
    Topic.FORECAST: _forecast,
    Topic.CHANGES: _changes,
    Topic.LOGS: _logs,
    Topic.ANOMALIES: _anomalies,
    Topic.SCHEDULE: _schedule,
    Topic.SCORED: _scored,
    Topic.REPORT: _report,
    Topic.UNKNOWN_MEASURE: _unknown_measure,
}


def _asked(enquiry: _Enquiry) -> tuple[Measure, ...]:
    """The measures to answer with; of two metrics with one name, those that the tenant has."""
    measures = enquiry.reading.measures
    enquiry.units.update({measure.name: measure.unit for measure in measures})
    return measures[: _MEASURES_PER_ANSWER * 2]


def _keep_found(
    enquiry: _Enquiry, results: Mapping[str, ToolResult], limit: int = _MEASURES_PER_ANSWER
) -> None:
    """Keep what was found; "vibration" may name one metric that the tenant has and one that it has not."""
    found = {name: result for name, result in results.items() if result.status is ToolStatus.SUCCESS}
    enquiry.results.update(list((found or results).items())[:limit])


def _trend_request(enquiry: _Enquiry, measure: Measure, group_by: GroupBy) -> TrendRequest:
    reading = enquiry.reading
    plants = reading.names.plants
    return TrendRequest(
        tenant_id=enquiry.tenant,
        measure=measure,
        period=reading.period,
        equipment_ids=reading.equipment_ids or (_machines_of(enquiry) if len(plants) > 1 else ()),
        plant_id=plants[0] if len(plants) == 1 and not reading.equipment_ids else None,
        group_by=group_by,
        is_ascending=reading.is_ascending,
    )


def _machines_of(enquiry: _Enquiry) -> tuple[str, ...]:
    """Machines of the plants that are named; none where no plant is."""
    plants = enquiry.reading.names.plants
    return tuple(machine for machine, row in enquiry.machines.items() if row.get("plant_id") in plants)


def _runbooks(enquiry: _Enquiry, query: str, must_mention: tuple[str, ...] = ()) -> None:
    fits = applicability(enquiry.machines, enquiry.machine_id)
    enquiry.runbook_query = query
    enquiry.results["runbooks"], enquiry.hits = find_runbooks(
        enquiry.retriever,
        RunbookRequest(
            query=query,
            tenant_id=enquiry.tenant,
            asked_on=enquiry.asked_on,
            must_mention=enquiry.reading.codes or must_mention,
            machine_model=fits.machine_model,
            firmware_in_use=fits.firmware_in_use,
        ),
    )


def _rows(enquiry: _Enquiry, purpose: str) -> Sequence[Row]:
    result = enquiry.results.get(purpose)
    return result.rows if result else ()


def _runbook_for_symptoms(enquiry: _Enquiry) -> None:
    """The runbook for the symptom: the question's own, or what the machine shows.

    "Which machines fail next?" has no symptom; the machine's latest error code and the factors behind
    the prediction have. The code alone decides where a runbook is about it: the factors of a prediction
    are worded alike for every fault.
    """
    if enquiry.reading.codes:
        _runbooks(enquiry, enquiry.search_text)
        return
    codes = _recent_error_codes(_rows(enquiry, "events"), enquiry.reading.period)
    predicted = _rows(enquiry, "predictions")
    factors = [str(factor) for row in predicted[:1] for factor in row["contributing_factors"][:3]]
    factors += [str(row["recommended_action"]) for row in predicted[:1]]
    for code in codes[:2]:
        _runbooks(enquiry, " ".join([code, *factors]), (code,))
        if enquiry.hits:
            return
    _runbooks(enquiry, " ".join([*codes, *factors][:8]) or enquiry.search_text)


def _recent_error_codes(rows: Sequence[Row], period: Period) -> list[str]:
    """Codes raised in the last three days of the period, latest first.

    An older code says little about the next failure: counted over 30 days, the code that a machine
    raises most is often one that it raises all its life.
    """
    recent = [
        row
        for row in rows
        if row["event_type"] == "error"
        and row["code"]
        and row["last_event_at"] >= period.ends_at - RECENT_ERRORS
    ]
    recent.sort(key=lambda row: row["last_event_at"], reverse=True)
    return [str(row["code"]) for row in recent]


def _found(hit: SearchHit) -> FoundDocument:
    passages = tuple(document_source(passage, passage.section) for passage in hit.document.passages)
    position = next(
        (index for index, item in enumerate(passages) if item.chunk_id == hit.passage.chunk_id), 0
    )
    return FoundDocument(
        passages=passages,
        best=position,
        content=hit.document.content,
        cosine=hit.evidence.cosine,
        coverage=hit.evidence.coverage,
        strength=hit.evidence.strength,
    )
