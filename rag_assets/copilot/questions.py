"""What a question asks for, by rules: machines, codes, measures, period, and which tools can tell.

Deterministic on purpose: the same question always looks at the same things. Avoid answering here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from rag_assets.copilot.naming import Naming, read_names
from rag_assets.copilot.periods import DEFAULT_DAYS, Period, read_period
from rag_assets.copilot.tools.measures import Measure

_CODE = re.compile(r"\b(?:[A-Z]\d{3,4}|[A-Z]{2,3}-\d{2,4}|(?:error|comp|model)\s?\d{1,2})\b", re.IGNORECASE)


_READ_FIRST, _READ_LAST = 500, 300


def _words(pattern: str) -> re.Pattern[str]:
    """A rule; its words stand within 160 characters: chains of `.*` are cubic in a question's length."""
    return re.compile(pattern, re.IGNORECASE)


_RISK = _words(
    r"\b(?:which|what|any)\b.{0,160}\b(?:machine|machines|equipment|asset|assets)\b.{0,160}"
    r"\b(?:fail|fails|failing|break|breaks|risk|risky|attention|next|critical)\b"
    r"|\b(?:most|highest)\b.{0,160}\brisk\b|\bfail(?:s|ure)?\s+next\b|\bat risk\b|\bwhat will fail\b"
)
_EVENTS = _words(
    r"\b(?:how many|how often|count|number of|history|events?|happened|occurred|raised|recorded)\b"
)
_NUMBER = _words(
    r"\b(?:average|mean|maximum|minimum|max|min|highest|lowest|peak"
    r"|how (?:high|low|hot|much|many|long|fast|often)|value|trend(?:ing)?|level|total|number of|count"
    r"|what (?:is|was|were|are)|has .{0,160} (?:risen|fallen|changed)"
    r"|develop(?:ed|ing)?|evolv(?:ed|ing)|rate of|show me)\b"
)
_COMPARE = _words(
    r"\b(?:compar(?:e|ed|ison)|versus|vs\.?|rank(?:ing)?|difference between|better|worse)\b"
    r"|\bwhich\b.{0,160}\b(?:most|least|highest|lowest|worst|best|more|less|hottest|coldest|fewest|longest)\b"
    r"|\b(?:worst|best|top)\b.{0,160}\b(?:machines?|plants?|equipment)\b"
)
_CAUSE = _words(
    r"\b(?:why|causes?|caused|root[- ]cause|reasons?|contribut(?:e|es|ed|ing|ion|ions|or|ors)|behind"
    r"|responsible|drives?|drove|due to|break ?down of|explain)\b"
)
_FORECAST = _words(
    r"\bforecast(?:s|ed)?\b|\bexpect(?:ed)? (?:temperature|vibration|pressure|rotation|power|volt)"
    r"|\bwill\b.{0,160}\b(?:be|reach|exceed|cross|rise|fall)\b"
    r"|\bthresholds?\b.{0,160}\b(?:crossed|exceeded|violated|violations?)\b"
)
_CHANGES = _words(
    r"\bwhat (?:has |was |were |had )?(?:been )?(?:changed?|different|done (?:to|on))\b"
    r"|\bchange(?:s|log)?\b.{0,160}\bbefore\b|\bany(?:thing)? changes?\b|\brecent changes\b|\bwhich changes\b"
)
_LOGS = _words(
    r"\blogs?\b|\blog (?:lines?|errors?|messages?)\b|\bservices?\b.{0,160}\b(?:down|outage|slow|failing)\b"
)
_ANOMALIES = _words(r"\banomal(?:y|ies|ous)\b|\bunusual\b|\bodd behaviou?r\b")
_SCHEDULE = _words(
    r"\bmaintenance\b.{0,160}\b(?:schedule|plan|due|first|next|overdue)\b"
    r"|\b(?:schedule|plan|due for|overdue)\b.{0,160}\bmaintenance\b"
    r"|\bsince (?:the |its )?last maintenance\b|\blast (?:maintained|serviced)\b"
)
_SCORED = _words(r"\b(?:un)?scored\b|\bwithout (?:a )?predictions?\b|\bno predictions?\b|\bnot predicted\b")
_REPORT = _words(
    r"\b(?:executive|weekly|management|status) (?:report|summary|overview)\b|\bkey figures\b|\bkpis?\b"
)
_PROCEDURE = _words(
    r"\bhow (?:do|can|should|to|much .{0,160} take)\b|\bwhat do(?:es)? .{0,160}\b(?:mean|say)\b"
    r"|\bmeaning of\b|\bprocedure\b"
    r"|\bwhat (?:do|should|must|can) (?:i|we|you|one) do (?:when|if|about|after|with)\b|\bsteps?\b|\bmanual\b"
    r"|\brunbooks?\b|\blimit\b|\btolerance\b|\bspecification\b|\bwhich (?:tool|torque|oil|grease)\b"
)
_STATUS = _words(
    r"\bhow (?:is|are)\b|\bdoing\b|\bwrong\b|\brisk\b|\bstate\b|\bstatus\b|\btrouble\b|\bhealth(?:y)?\b"
    r"|\bfail(?:s|ing|ure)?\b|\bcondition\b|\bhappen(?:s|ed|ing)?\b|\bok(?:ay)?\b"
)
_STATE_OF = _words(r"\bhow (?:is|are)\b|\bdoing\b|\b(?:state|status|health|risk|condition) of\b")
_AGGREGATE = _words(
    r"\b(?:average|mean(?=\s+\w)(?! and)|maximum|minimum|max|min|peak|highest|lowest"
    r"|how (?:high|low|hot|cold|fast))\b"
)
_WEEK = _words(r"\b(?:7|seven)[ -]?days?\b|\bweek\b|\b168\s?h")
_AHEAD = _words(r"\bnext (\d{1,3}) ?(hour|day|week)s?\b|\btomorrow\b|\bnext (day|week)\b")
_LOWEST = _words(r"\b(?:least|lowest|fewest|coldest|less|minimum|shortest)\b")
_WORST = _words(r"\b(?:worst|worse)\b")
_BEST = _words(r"\b(?:best|better)\b")
_EVENT_TYPES = {
    "error": _words(r"\berrors?\b|\bcodes?\b|\balarms?\b"),
    "failure": _words(r"\bfailures?\b|\bbreakdowns?\b"),
    "maintenance": _words(r"\bmaintenance\b"),
    "component_replacement": _words(r"\breplace(?:d|ments?)\b"),
}
_AHEAD_HOURS = {"hour": 1, "day": 24, "week": 168}


class Topic(Enum):
    """What the copilot can be asked about."""

    AMBIGUOUS = "ambiguous"
    FLEET_RISK = "fleet_risk"
    MACHINE = "machine"
    EVENTS = "events"
    HOW_TO = "how_to"
    MEASURE = "measure"
    COMPARISON = "comparison"
    CAUSE = "cause"
    FORECAST = "forecast"
    CHANGES = "changes"
    LOGS = "logs"
    ANOMALIES = "anomalies"
    SCHEDULE = "schedule"
    SCORED = "scored"
    REPORT = "report"
    UNKNOWN_MEASURE = "unknown_measure"


@dataclass(frozen=True)
class Question:
    """A question as it was asked.

    Attributes:
        equipment_id: The machine that the asker gave beside the text.
        reported: What somebody else's text says about it, such as a log line. Documents are searched with
            it; it is no part of the question, so that no model takes it for one.
    """

    text: str
    tenant_id: str
    equipment_id: str | None = None
    reported: str = ""


@dataclass(frozen=True)
class Reading:
    """What a question asks for.

    Attributes:
        topic: Decides which tools are asked.
        names: Machines and plants.
        codes: Error codes, components and machine models that it names: evidence must name them too.
        measures: Figures that it names, in the order of mention.
        event_types: Kinds of events that it names; empty means all.
        horizon_hours: Of predictions and forecasts.
        period: Of events and figures.
        is_ascending: Whether the lowest values are asked for.
    """

    topic: Topic
    names: Naming
    codes: tuple[str, ...]
    measures: tuple[Measure, ...]
    event_types: tuple[str, ...]
    horizon_hours: int
    period: Period
    is_ascending: bool

    @property
    def equipment_ids(self) -> tuple[str, ...]:
        """Machines of the tenant that it names."""
        return self.names.machines

    @property
    def unknown_machines(self) -> tuple[str, ...]:
        """Names that look like machines and are none of the tenant's."""
        return self.names.unknown

    @property
    def search_text(self) -> str:
        """The question without machine ids."""
        return self.names.text


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_question(
    question: Question,
    fleet: Mapping[str, Mapping[str, Any]],
    measures: Sequence[Measure] = (),
    now_at: datetime | None = None,
) -> Reading:
    """Read a question.

    Args:
        question: As it was asked; its `equipment_id` counts as named.
        fleet: All machines of the tenant, by id.
        measures: Figures that the question mentions.
        now_at: The plant's clock; periods end there.
    """
    names = read_names(question.text, fleet, question.equipment_id)
    codes = tuple(dict.fromkeys(_code(match.group()) for match in _CODE.finditer(names.text)))
    text = _wording(question.text)
    period = read_period(text, now_at or _EPOCH)
    topic = _topic(text, names, codes, measures, period.is_named or bool(period.problem))
    if topic not in _NAMES_ANYTHING:
        names = names.strictly(may_name_codes=topic is Topic.EVENTS)
    days = 14 if topic is Topic.CHANGES else 7 if topic in {Topic.LOGS, Topic.REPORT} else DEFAULT_DAYS
    return Reading(
        topic=topic,
        names=names,
        codes=codes,
        measures=tuple(measures),
        event_types=tuple(kind for kind, pattern in _EVENT_TYPES.items() if pattern.search(text)),
        horizon_hours=_horizon(text),
        period=read_period(text, now_at or _EPOCH, days),
        is_ascending=_is_ascending(text, measures),
    )


def _wording(text: str) -> str:
    """The beginning and the end of a long question: between them stands what was pasted."""
    if len(text) <= _READ_FIRST + _READ_LAST:
        return text
    return f"{text[:_READ_FIRST]}\n{text[-_READ_LAST:]}"


_NAMES_ANYTHING = {Topic.HOW_TO, Topic.LOGS, Topic.AMBIGUOUS}
"""Documents name parts and standards, logs name services: only the other topics are about machines alone."""


def _topic(
    text: str, names: Naming, codes: Sequence[str], measures: Sequence[Measure], is_dated: bool
) -> Topic:
    """The first rule that fits; the order is from the most to the least specific wording."""
    absent_codes = {_code(name) for name in names.absent_codes}
    codes = [code for code in codes if code not in absent_codes]
    names_machine = bool(names.machines or names.unknown)
    asks_of_absent = bool(names.absent) and not codes and bool(_STATE_OF.search(text))
    is_named = names_machine or bool(names.plants or names.absent)
    is_procedure = bool(_PROCEDURE.search(text)) and not (
        names.is_by_id and _asks_state(text, names, measures, is_dated)
    )
    asks_state = not is_procedure and _asks_state(text, names, measures, is_dated)
    rules = (
        (Topic.AMBIGUOUS, bool(names.ambiguous) and asks_state),
        (Topic.SCORED, bool(_SCORED.search(text))),
        (Topic.REPORT, bool(_REPORT.search(text)) and not names_machine and not measures),
        (Topic.CHANGES, bool(_CHANGES.search(text))),
        (Topic.FORECAST, bool(_FORECAST.search(text)) and bool(measures)),
        (Topic.ANOMALIES, bool(_ANOMALIES.search(text)) and not is_procedure),
        (Topic.SCHEDULE, bool(_SCHEDULE.search(text)) and not is_procedure),
        (Topic.LOGS, bool(_LOGS.search(text)) and not names_machine and not is_procedure),
        (Topic.CAUSE, _asks_cause(text, measures, codes) and not is_procedure),
        (Topic.COMPARISON, bool(measures) and _compares(text, names) and not is_procedure),
        (Topic.EVENTS, _asks_events(text, names_machine or bool(names.absent), measures, is_dated)),
        (Topic.MEASURE, _asks_figure(text, names, measures, codes, is_dated) and not is_procedure),
        (Topic.HOW_TO, is_procedure and not codes),
        (Topic.UNKNOWN_MEASURE, is_named and not measures and not codes and bool(_AGGREGATE.search(text))),
        (Topic.MACHINE, names_machine and (names.is_by_id or bool(names.unknown) or asks_state)),
        (Topic.MACHINE, asks_of_absent and asks_state),
        (Topic.FLEET_RISK, bool(_RISK.search(text)) and not codes),
    )
    return next((topic for topic, fits in rules if fits), Topic.HOW_TO)


def _asks_state(text: str, names: Naming, measures: Sequence[Measure], is_dated: bool) -> bool:
    """Whether rows of a machine are wanted, and not what is written about its kind."""
    figure = bool(measures) and bool(_AGGREGATE.search(text) or is_dated)
    return (
        bool(_STATUS.search(text)) or figure or _asks_events(text, bool(names.machines), measures, is_dated)
    )


def _compares(text: str, names: Naming) -> bool:
    several = len(names.machines) > 1 or len(names.plants) > 1
    return bool(_COMPARE.search(text)) and not (len(names.machines) == 1 and not several)


def _asks_cause(text: str, measures: Sequence[Measure], codes: Sequence[str]) -> bool:
    splittable = any(measure.more_is_worse is not None for measure in measures)
    return bool(_CAUSE.search(text)) and splittable and not codes


def _asks_figure(
    text: str, names: Naming, measures: Sequence[Measure], codes: Sequence[str], is_dated: bool
) -> bool:
    if not measures or codes:
        return False
    is_named = bool(names.machines or names.unknown or names.plants or names.absent)
    return (is_named or is_dated) and bool(_NUMBER.search(text) or _COMPARE.search(text))


def _asks_events(text: str, names_machine: bool, measures: Sequence[Measure], is_dated: bool) -> bool:
    """Whether happenings are to be counted; a figure that no event has (downtime, OEE) is a measure."""
    if not _EVENTS.search(text) or any(measure.name not in _COUNTED_EVENTS for measure in measures):
        return False
    counts = bool(re.search(r"\bhow (?:many|often)\b|\bnumber of\b|\bcount\b", text, re.IGNORECASE))
    return is_dated or (counts and names_machine)


_COUNTED_EVENTS = {"error_count", "failure_count", "maintenance_count"}


def _is_ascending(text: str, measures: Sequence[Measure]) -> bool:
    worse = measures[0].more_is_worse if measures else None
    if _WORST.search(text) and worse is not None:
        return not worse
    if _BEST.search(text) and worse is not None:
        return worse
    return bool(_LOWEST.search(text))


def _horizon(text: str) -> int:
    if ahead := _AHEAD.search(text):
        if ahead.group(1):
            return min(int(ahead.group(1)) * _AHEAD_HOURS[ahead.group(2).lower()], 720)
        return _AHEAD_HOURS[(ahead.group(3) or "day").lower()]
    return 168 if _WEEK.search(text) else 24


def _code(text: str) -> str:
    joined = text.replace(" ", "")
    return joined.lower() if joined.lower().startswith(("error", "comp", "model")) else joined.upper()
