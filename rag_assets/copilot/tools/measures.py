"""What can be measured per machine and period: sensor metrics and figures of production and events.

Add a measure here with its SQL. Avoid running queries (`trends.py`, `contributions.py`).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from rag_assets.copilot.tools.database import TenantDatabase

HOURLY = "intermediate.int_equipment_metrics_hourly"
PRODUCTION = "marts.fact_production_metrics"
EVENTS = "marts.fact_equipment_events"

_UNITS = {
    "c": "°C", "mm_s": "mm/s", "bar": "bar", "rpm": "rpm", "kw": "kW", "v": "V", "a": "A", "hz": "Hz",
    "percent": "%", "l_min": "l/min",
}  # fmt: skip
_SYNONYMS = {
    "temperature": ("temp", "hot", "heat", "overtemperature"),
    "vibration": ("vibrations", "vibrate", "vibrating"),
    "rotation": ("rotate", "speed", "rpm", "rotational"),
    "rotate": ("rotation", "speed", "rpm", "rotational"),
    "power": ("energy", "consumption"),
    "volt": ("voltage", "volts"),
}


@dataclass(frozen=True)
class Measure:
    """One figure that can be computed for any machines and any period.

    Attributes:
        name: As in requests and answers.
        table: Where it is read.
        time_column: `hour_at`, `produced_on` or `event_at`.
        value_sql: Aggregate; `@` stands for the filter that picks the period.
        extra_sql: Further aggregates, by column name.
        words: What people call it.
        unit: As answers write it; empty for counts and for ratios of 0 to 1.
        is_daily: Rows count whole days.
        more_is_worse: For words such as "worst"; None where neither is.
    """

    name: str
    table: str
    time_column: str
    value_sql: str
    words: tuple[str, ...]
    extra_sql: Mapping[str, str]
    unit: str = ""
    is_daily: bool = False
    more_is_worse: bool | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the measure in a question."""
        words = "|".join(re.escape(word).replace(r"\ ", r"[\s_-]+") for word in (*self.words, self.name))
        return re.compile(rf"\b(?:{words})\b", re.IGNORECASE)


def _production(
    name: str, value_sql: str, words: tuple[str, ...], worse: bool | None, unit: str = ""
) -> Measure:
    return Measure(name, PRODUCTION, "produced_on", value_sql, words, {}, unit, True, worse)


def _events(name: str, condition: str, words: tuple[str, ...]) -> Measure:
    value_sql = f"count(case when {condition} then 1 end)@"
    return Measure(name, EVENTS, "event_at", value_sql, words, {}, more_is_worse=True)


_QUALITY = "sum(inspected_units - defective_units)@ / nullif(sum(inspected_units)@, 0)"
_AVAILABILITY = "sum(run_s)@ / nullif(sum(planned_run_s)@, 0)"
_PERFORMANCE = "sum(ideal_run_s)@ / nullif(sum(rated_run_s)@, 0)"

BUSINESS = (
    _production("oee", f"({_AVAILABILITY}) * ({_PERFORMANCE}) * ({_QUALITY})",
                ("oee", "overall equipment effectiveness"), False),
    _production("uptime", _AVAILABILITY, ("uptime", "availability"), False),
    _production("performance", _PERFORMANCE, ("performance factor",), False),
    _production("defect_rate", "sum(defective_units)@ / nullif(sum(inspected_units)@, 0)",
                ("defect rate", "defects", "defective", "scrap", "rejects", "reject rate"), True),
    _production("throughput_per_h", "sum(produced_units)@ * 3600.0 / nullif(sum(run_s)@, 0)",
                ("throughput", "units per hour"), False, "units/h"),
    _production("produced_units", "sum(produced_units)@",
                ("produced", "units produced"), False, "units"),
    _production("downtime_h", "sum(downtime_h)@",
                ("downtime", "stood still", "standstill", "stoppages", "stoppage"), True, "h"),
    _production("failure_count", "sum(failure_count)@", ("failures", "breakdowns", "failure count"), True),
    _events("error_count", "event_type = 'error'", ("errors", "error codes", "error count", "alarms")),
    _events("maintenance_count", "event_type in ('maintenance', 'component_replacement')",
            ("maintenance visits", "maintenance count", "replacements")),
)  # fmt: skip
"""Figures of production and events, in the order in which a question is searched for them."""


def sensor_measures(columns: Collection[str]) -> tuple[Measure, ...]:
    """Measures of the sensor metrics that a warehouse has.

    Args:
        columns: Columns of the hourly table; `<metric>_mean` names a metric.
    """
    names = [column.removesuffix("_mean") for column in columns if column.endswith("_mean")]
    return tuple(_sensor(name) for name in names if re.fullmatch(r"[a-z][a-z0-9_]*", name))


def _sensor(name: str) -> Measure:
    plain, unit = name, ""
    for suffix, symbol in _UNITS.items():
        if name.endswith(f"_{suffix}"):
            plain, unit = name.removesuffix(f"_{suffix}"), symbol
    words = (plain.replace("_", " "), *_SYNONYMS.get(plain, ()))
    weight = f"case when {name}_mean is not null then reading_count end"
    weighted = f"sum({name}_mean * reading_count)@ / nullif(sum({weight})@, 0)"
    extra = {"minimum": f"min({name}_min)@", "maximum": f"max({name}_max)@"}
    return Measure(name, HOURLY, "hour_at", weighted, words, extra, unit)


_COLUMNS = """
    select column_name
    from information_schema.columns
    where table_schema = 'intermediate' and table_name = 'int_equipment_metrics_hourly'
      and %(tenant_id)s::text is not null
    order by ordinal_position
"""


class MeasureCatalogue:
    """The measures that can be asked for; the warehouse's columns are read once and then again on a miss.

    Args:
        database: Read-only rows.
    """

    def __init__(self, database: TenantDatabase) -> None:
        self._database = database
        self._sensors: tuple[Measure, ...] = ()

    def all(self, tenant_id: str) -> tuple[Measure, ...]:
        """Every measure, sensor metrics first."""
        if not self._sensors:
            rows = self._database.rows(_COLUMNS, tenant_id)
            self._sensors = sensor_measures([str(row["column_name"]) for row in rows])
        return (*self._sensors, *BUSINESS)

    def named(self, tenant_id: str, name: str) -> tuple[Measure, ...]:
        """Measures of a name as requests write it: its own first, then metrics that are called so.

        A warehouse of several plants may have both `vibration` and `vibration_mm_s`; the caller takes
        the first one that its machines have.
        """
        wanted = name.strip().lower().replace(" ", "_")
        measures = self.all(tenant_id)
        exact = tuple(measure for measure in measures if measure.name == wanted)
        called = tuple(m for m in measures if wanted in {word.replace(" ", "_") for word in m.words})
        return tuple({measure.name: measure for measure in (*exact, *called)}.values())

    def mentioned(self, tenant_id: str, text: str) -> tuple[Measure, ...]:
        """Measures that a question mentions, in the order of mention; one word may mean two metrics."""
        found = [
            (match.start(), order, measure)
            for order, measure in enumerate(self.all(tenant_id))
            if (match := measure.pattern.search(text))
        ]
        return tuple(measure for _, _, measure in sorted(found, key=lambda item: item[:2]))
