"""Which tools a question needs, and calling them.

Add a topic's plan here. Avoid wording (`answering.py`) and SQL (`tools`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from rag_assets.copilot.questions import Question, Reading, Topic, read_question
from rag_assets.copilot.results import Row, ToolResult, ToolStatus
from rag_assets.copilot.tools.analytics import Analysis, AnalyticsRequest, analyse
from rag_assets.copilot.tools.database import TenantDatabase
from rag_assets.copilot.tools.predictions import PredictionRequest, latest_predictions
from rag_assets.copilot.tools.runbooks import RunbookRequest, find_runbooks
from rag_assets.freshness import FirmwareInUse
from rag_assets.retrieval import Retriever, SearchHit

RECENT_ERRORS = timedelta(days=3)  # nearly all error codes that precede a failure come within two days


@dataclass(frozen=True)
class Gathered:
    """Everything that was looked at for one question.

    Attributes:
        question: The question.
        reading: What it asks for.
        machine_id: The machine that health, events and runbooks are about.
        fleet, predictions, week, health, events, runbooks: Results of tools; None where not asked.
        hits: Search hits behind `runbooks`, in the same order.
    """

    question: Question
    reading: Reading
    asked_on: date
    machine_id: str | None
    fleet: ToolResult
    predictions: ToolResult | None = None
    health: ToolResult | None = None
    events: ToolResult | None = None
    runbooks: ToolResult | None = None
    hits: tuple[SearchHit, ...] = ()

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """Results of all tools that were asked, in the order of asking."""
        asked = (self.fleet, self.predictions, self.health, self.events, self.runbooks)
        return tuple(result for result in asked if result is not None)


def gather(question: Question, asked_on: date, retriever: Retriever, database: TenantDatabase) -> Gathered:
    """Ask the tools that the question needs.

    Args:
        question: The question; its tenant restricts every tool.
        asked_on: Day on which documents must be current.
        retriever: Search over the live index build.
        database: Read-only rows.
    """
    fleet = analyse(database, AnalyticsRequest(Analysis.FLEET, question.tenant_id))
    machines = {str(row["equipment_id"]): row for row in fleet.rows}
    reading = read_question(question, machines)
    tenant = question.tenant_id
    if reading.unknown_machines and not reading.equipment_ids:
        return Gathered(question, reading, asked_on, None, fleet)
    predictions = health = events = None
    machine_id = reading.equipment_ids[0] if reading.equipment_ids else None
    if reading.topic in {Topic.FLEET_RISK, Topic.MACHINE}:
        request = PredictionRequest(tenant, reading.horizon_hours, machine_id)
        predictions = latest_predictions(database, request)
        if predictions.rows:
            machine_id = str(predictions.rows[0]["equipment_id"])
    if machine_id:
        health = analyse(database, AnalyticsRequest(Analysis.HEALTH, tenant, machine_id))
    if machine_id or reading.topic is Topic.EVENTS:
        events = analyse(database, AnalyticsRequest(Analysis.EVENTS, tenant, machine_id, reading.days))
    runbooks, hits = None, ()
    if reading.topic is not Topic.EVENTS and not (reading.topic is Topic.FLEET_RISK and not machine_id):
        model = machines.get(machine_id or "", {}).get("equipment_model")
        runbooks, hits = find_runbooks(
            retriever,
            RunbookRequest(
                query=_runbook_query(reading, predictions, events),
                tenant_id=tenant,
                asked_on=asked_on,
                must_mention=reading.codes,
                machine_model=model,
                firmware_in_use=_firmware(machines, machine_id),
            ),
        )
    return Gathered(
        question, reading, asked_on, machine_id, fleet, predictions, health, events, runbooks, hits
    )


def _firmware(machines: Mapping[str, Mapping[str, Any]], machine_id: str | None) -> FirmwareInUse:
    """Firmware of the machine in question, else of the whole fleet, by model."""
    rows = [machines[machine_id]] if machine_id and machine_id in machines else machines.values()
    in_use: dict[str, set[str]] = {}
    for row in rows:
        if row.get("equipment_model") and row.get("firmware_version"):
            in_use.setdefault(str(row["equipment_model"]), set()).add(str(row["firmware_version"]))
    return {model: frozenset(versions) for model, versions in in_use.items()}


def _runbook_query(reading: Reading, predictions: ToolResult | None, events: ToolResult | None) -> str:
    """The symptom to look up: the question's own, or what the machine shows.

    "Which machines fail next?" has no symptom; the factors behind the prediction and the machine's
    latest error codes have.
    """
    if reading.codes or reading.topic is Topic.HOW_TO:
        return reading.search_text
    parts: list[str] = []
    if events and events.status is ToolStatus.SUCCESS:
        parts.extend(_recent_error_codes(events.rows))
    if predictions and predictions.rows:
        first = predictions.rows[0]
        parts.extend(str(factor) for factor in first["contributing_factors"][:3])
        parts.append(str(first["recommended_action"]))
    return " ".join(parts[:8]) or reading.search_text


def _recent_error_codes(rows: Sequence[Row]) -> list[str]:
    """Codes raised in the last three days of the window, latest first.

    An older code says little about the next failure: counted over 30 days, the code that a machine
    raises most is often one that it raises all its life.
    """
    recent = [
        row
        for row in rows
        if row["event_type"] == "error"
        and row["code"]
        and row["last_event_at"] >= row["window_end_at"] - RECENT_ERRORS
    ]
    recent.sort(key=lambda row: row["last_event_at"], reverse=True)
    return [str(row["code"]) for row in recent]
