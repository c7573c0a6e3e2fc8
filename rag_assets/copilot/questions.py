"""What a question asks for, by rules: machines, codes, horizon, window, and which tools can tell.

Deterministic on purpose: the same question always looks at the same things. Avoid answering here.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

_MACHINE_LIKE = re.compile(r"\b[A-Za-z]{2,}(?:-[A-Za-z]+)*-\d{2,}\b|\b[A-Za-z]{3}-[A-Za-z]-\d+\b")
_CODE = re.compile(r"\b(?:[A-Z]\d{3,4}|[A-Z]{2,3}-\d{2,4}|(?:error|comp|model)\s?\d{1,2})\b", re.IGNORECASE)
_DAYS = re.compile(r"\b(?:last|past|previous)\s+(\d{1,3})\s+(day|week|month|hour)s?\b", re.IGNORECASE)
_LAST = re.compile(r"\b(?:last|past|this|previous)\s+(day|week|month|quarter)\b|\btoday\b", re.IGNORECASE)
_RISK = re.compile(
    r"\b(?:which|what|any)\b.*\b(?:machine|machines|equipment|asset|assets)\b.*"
    r"\b(?:fail|fails|failing|break|breaks|risk|risky|attention|next|critical)\b"
    r"|\b(?:most|highest)\b.*\brisk\b|\bfail(?:s|ure)?\s+next\b|\bat risk\b|\bwhat will fail\b",
    re.IGNORECASE,
)
_EVENTS = re.compile(
    r"\b(?:how many|how often|count|number of|history|events?|happened|occurred|raised|recorded)\b",
    re.IGNORECASE,
)
_WEEK = re.compile(r"\b(?:7|seven)[ -]?days?\b|\bweek\b|\b168\s?h", re.IGNORECASE)
_DAYS_OF = {"hour": 1 / 24, "day": 1, "week": 7, "month": 30, "quarter": 91}
DEFAULT_DAYS = 30


class Topic(Enum):
    """What the copilot can be asked about."""

    FLEET_RISK = "fleet_risk"
    MACHINE = "machine"
    EVENTS = "events"
    HOW_TO = "how_to"


@dataclass(frozen=True)
class Question:
    """A question as it was asked."""

    text: str
    tenant_id: str
    equipment_id: str | None = None


@dataclass(frozen=True)
class Reading:
    """What a question asks for.

    Attributes:
        topic: Decides which tools are asked.
        equipment_ids: Machines of the tenant that it names.
        unknown_machines: Names that look like machines and are none of the tenant's.
        codes: Error codes, components and machine models that it names: evidence must name them too.
        horizon_hours: Of predictions.
        days: Window of events.
        search_text: The question without machine names, which only add noise to document search.
    """

    topic: Topic
    equipment_ids: tuple[str, ...]
    unknown_machines: tuple[str, ...]
    codes: tuple[str, ...]
    horizon_hours: int
    days: int
    search_text: str


def read_question(question: Question, fleet: Collection[str]) -> Reading:
    """Read a question.

    Args:
        question: As it was asked; its `equipment_id` counts as named.
        fleet: Ids of all machines of the tenant.
    """
    known = {equipment_id.lower(): equipment_id for equipment_id in fleet}
    named = [match.group() for match in _MACHINE_LIKE.finditer(question.text)]
    if question.equipment_id:
        named.insert(0, question.equipment_id)
    machines = tuple(dict.fromkeys(known[name.lower()] for name in named if name.lower() in known))
    unknown = tuple(
        dict.fromkeys(
            name for name in named if name.lower() not in known and _names_a_machine(name, question, known)
        )
    )
    search_text = question.text
    for name in named:
        if name.lower() in known or name in unknown:
            search_text = search_text.replace(name, " ")
    codes = tuple(dict.fromkeys(_code(match.group()) for match in _CODE.finditer(search_text)))
    return Reading(
        topic=_topic(question.text, bool(machines or unknown), bool(codes)),
        equipment_ids=machines,
        unknown_machines=unknown,
        codes=codes,
        horizon_hours=168 if _WEEK.search(question.text) else 24,
        days=_days(question.text),
        search_text=" ".join(search_text.split()),
    )


def _names_a_machine(name: str, question: Question, known: Collection[str]) -> bool:
    """`CP-80` is a model and `CNC-A-999` a machine that does not exist: compare their shapes."""
    if name == question.equipment_id:
        return True
    shapes = {_shape(equipment_id) for equipment_id in known}
    return _shape(name.lower()) in shapes


def _shape(name: str) -> str:
    return re.sub(r"[a-z]+", lambda match: "a" if len(match.group()) == 1 else "aa", re.sub(r"\d", "9", name))


def _topic(text: str, names_machine: bool, names_code: bool) -> Topic:
    if names_machine:
        return Topic.MACHINE
    if _RISK.search(text) and not names_code:
        return Topic.FLEET_RISK
    if _EVENTS.search(text) and (_DAYS.search(text) or _LAST.search(text)):
        return Topic.EVENTS
    return Topic.HOW_TO


def _code(text: str) -> str:
    joined = text.replace(" ", "")
    return joined.lower() if joined.lower().startswith(("error", "comp", "model")) else joined.upper()


def _days(text: str) -> int:
    counted = _DAYS.search(text)
    if counted:
        return max(1, round(int(counted.group(1)) * _DAYS_OF[counted.group(2).lower()]))
    named = _LAST.search(text)
    if named:
        return round(_DAYS_OF[(named.group(1) or "day").lower()])
    return DEFAULT_DAYS
