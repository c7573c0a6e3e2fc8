"""Three made-up plants with known figures, and the corpus of each: what the copilot's scenarios ask about.

Columns and types are those of the dbt contracts. The arrays that fill the tables stay in memory, so that
expected figures come from numpy and never from the copilot's own SQL. Avoid scenarios here.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from psycopg.types.json import Jsonb

from tests.integration.plant_marts import MARTS

NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
DAYS = 70
HERE, THERE, HALTED = "works-one", "works-two", "works-three"
METRICS = {"temperature_c": (48.0, 3.0), "vibration_mm_s": (2.1, 0.3), "power_kw": (11.0, 1.5)}
DOCUMENTS = Path(__file__).with_name("documents")

TABLES = """
create schema if not exists intermediate;
create table intermediate.int_equipment_metrics_hourly (
    tenant_id text, equipment_id text, hour_at timestamptz, reading_count bigint,
    temperature_c_mean double precision, temperature_c_min double precision,
    temperature_c_max double precision, vibration_mm_s_mean double precision,
    vibration_mm_s_min double precision, vibration_mm_s_max double precision,
    power_kw_mean double precision, power_kw_min double precision, power_kw_max double precision,
    vibration_mean double precision, vibration_min double precision, vibration_max double precision,
    known_at timestamptz
);
create table marts.fact_production_metrics (
    tenant_id text, equipment_id text, produced_on date, produced_units bigint, inspected_units bigint,
    defective_units bigint, planned_run_s double precision, run_s double precision,
    rated_run_s double precision, ideal_run_s double precision, downtime_h double precision,
    failure_count bigint, known_at timestamptz
);
create table marts.fact_quality_inspections (
    tenant_id text, inspection_id text, equipment_id text, event_at timestamptz, inspected_on date,
    quality_class text, defect_type text, product_code text, material_grade text, inspected_count bigint,
    defect_count bigint, known_at timestamptz
);
create table marts.mart_predictive_maintenance (
    tenant_id text, equipment_id text, equipment_name text, plant_id text, equipment_model text,
    failure_probability_24h double precision, failure_probability_7d double precision, is_scored boolean,
    risk_level text, recommended_action text, failure_count bigint, last_maintenance_at timestamptz,
    days_since_last_maintenance double precision, error_count_7d bigint, window_end_at timestamptz
);
create index on intermediate.int_equipment_metrics_hourly (tenant_id, equipment_id, hour_at);
"""


@dataclass(frozen=True)
class Machine:
    """One machine and how likely it fails; None: nobody predicted anything for it.

    Attributes:
        silent_hours: Since its last reading.
    """

    equipment_id: str
    name: str
    plant_id: str
    model: str
    firmware: str
    probability: float | None
    silent_hours: float = 0.0


FLEETS = {
    HERE: (
        Machine("LTH-A-11", "Lathe 1", "hall-east", "LX-20", "3.1", 0.8642),
        Machine("LTH-A-12", "Lathe 2", "hall-east", "LX-20", "2.4", 0.1183),
        Machine("LTH-A-13", "Lathe 3", "hall-west", "LX-20", "3.1", 0.4471),
        Machine("GRD-B-21", "Grinder 1", "hall-east", "GX-7", "1.2", 0.0312),
        Machine("GRD-B-22", "Grinder 2", "hall-west", "GX-7", "1.2", None),
        Machine("OVN-C-31", "Oven", "hall-west", "OV-9", "5.0", 0.2264),
    ),
    THERE: (
        Machine("LTH-A-11", "Lathe 1", "hall-south", "LX-20", "3.1", 0.9731),
        Machine("KLN-D-41", "Kiln", "hall-south", "KN-2", "1.0", 0.6127),
    ),
    HALTED: (
        Machine("PRS-E-51", "Press 1", "hall-north", "PX-3", "1.0", 0.9512, silent_hours=4.5),
        Machine("PRS-E-52", "Press 2", "hall-north", "PX-3", "1.0", 0.4023),
    ),
}
EVENTS = {
    # tenant: (hours before now, machine, event type, code, downtime in hours)
    HERE: (
        (3, "LTH-A-11", "error", "E711", None),
        (20, "LTH-A-11", "error", "E711", None),
        (60, "LTH-A-11", "error", "E712", None),
        (26 * 24, "LTH-A-11", "error", "E713", None),
        (200, "LTH-A-11", "maintenance", "filter", 1.5),
        (700, "LTH-A-12", "maintenance", "filter", 1.25),
        (96, "GRD-B-21", "failure", "coolant_pump", 9.5),
        (97, "GRD-B-21", "error", "E721", None),
        (98, "GRD-B-21", "error", "E721", None),
        (90, "GRD-B-21", "component_replacement", "coolant_pump", 2.25),
        (30, "OVN-C-31", "failure", "heating_rod", 4.5),
        (400, "OVN-C-31", "failure", "heating_rod", 3.25),
        (31, "OVN-C-31", "error", "E731", None),
        (120, "GRD-B-22", "error", "E721", None),
    ),
    THERE: (
        (4, "LTH-A-11", "error", "E711", None),
        (5, "KLN-D-41", "failure", "burner", 7.75),
        (50, "KLN-D-41", "error", "E741", None),
    ),
    HALTED: (
        (4, "PRS-E-51", "failure", "clutch", None),
        (9, "PRS-E-52", "failure", "clutch", 2.0),
    ),
}


@dataclass
class Plant:
    """The rows of one tenant as they were written."""

    tenant_id: str
    hours: list[datetime] = field(default_factory=list)
    series: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    days: list[date] = field(default_factory=list)
    production: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """The fleet."""
        return FLEETS[self.tenant_id]

    def hourly(self, machine: str, metric: str, starts_at: datetime, ends_at: datetime) -> np.ndarray:
        """Hourly means with an end in (starts_at, ends_at]."""
        inside = np.array([starts_at < hour <= ends_at for hour in self.hours])
        return self.series[machine, metric][inside]

    def daily(self, column: str, machines: list[str], first: date, last: date) -> float:
        """Sum of a column of production over days and machines."""
        inside = np.array([first <= day <= last for day in self.days])
        return float(sum(self.production[machine][column][inside].sum() for machine in machines))

    def events(self, hours: float, **wanted: str) -> int:
        """How many events of the last hours have the wanted `machine`, `kind` and `code`."""
        names = ("machine", "kind", "code")
        return sum(
            1
            for event in EVENTS[self.tenant_id]
            if event[0] < hours
            and all(event[1 + names.index(name)] == value for name, value in wanted.items())
        )


def write_plants(database_url: str, seed: int) -> dict[str, Plant]:
    """Create the tables and fill them for all tenants.

    Args:
        database_url: A migrated database.
        seed: Of all figures.
    """
    with psycopg.connect(database_url) as connection:
        connection.execute(MARTS)
        connection.execute(TABLES)
        return {
            tenant: _write(connection, tenant, np.random.default_rng([seed, position]))
            for position, tenant in enumerate(FLEETS)
        }


def _write(connection: psycopg.Connection, tenant: str, rng: np.random.Generator) -> Plant:
    plant = Plant(tenant)
    plant.hours = [NOW - timedelta(hours=offset) for offset in range(DAYS * 24)]
    plant.days = [(NOW - timedelta(days=offset)).date() for offset in range(DAYS)]
    for machine in plant.machines:
        _write_machine(connection, tenant, machine)
        _write_readings(connection, plant, machine, rng)
        _write_production(connection, plant, machine, rng)
    for number, (hours, machine, kind, code, downtime) in enumerate(EVENTS[tenant]):
        connection.execute(
            "insert into marts.fact_equipment_events (equipment_event_id, tenant_id, equipment_id, event_at, "
            "event_type, code, downtime_h, known_at) values (%s, %s, %s, %s, %s, %s, %s, %s)",
            (f"{tenant}-{number}", tenant, machine, NOW - timedelta(hours=hours), kind, code, downtime, NOW),
        )
    return plant


def _write_machine(connection: psycopg.Connection, tenant: str, machine: Machine) -> None:
    probability = machine.probability
    risk = (
        None
        if probability is None
        else "Critical"
        if probability > 0.8
        else "High"
        if probability > 0.5
        else "Low"
    )
    state = "Critical" if (probability or 0) > 0.8 else "Warning" if (probability or 0) > 0.5 else "Normal"
    connection.execute(
        "insert into marts.dim_equipment values (%s, %s, %s, %s, %s, 4, %s, %s, true)",
        (tenant, machine.equipment_id, machine.name, machine.plant_id, machine.model, machine.firmware, NOW),
    )
    connection.execute(
        "insert into marts.mart_equipment_health (tenant_id, equipment_id, equipment_name, plant_id, "
        "last_reading_time, avg_metrics_24h, reading_count_24h, predicted_failure_prob, health_status, "
        "is_scored, window_end_at) values (%s, %s, %s, %s, %s, %s, 1440, %s, %s, %s, %s)",
        (
            tenant,
            machine.equipment_id,
            machine.name,
            machine.plant_id,
            NOW - timedelta(hours=machine.silent_hours),
            Jsonb({"temperature_c": 47.3125}),
            probability,
            state,
            probability is not None,
            NOW,
        ),
    )
    visits = [e[0] for e in EVENTS[tenant] if e[1] == machine.equipment_id and e[2] == "maintenance"]
    since = min(visits) / 24 if visits else None
    connection.execute(
        "insert into marts.mart_predictive_maintenance "
        "values (%s, %s, %s, %s, %s, %s, null, %s, %s, %s, 0, %s, %s, 0, %s)",
        (
            tenant,
            machine.equipment_id,
            machine.name,
            machine.plant_id,
            machine.model,
            probability,
            probability is not None,
            risk,
            "Inspect the drive" if risk else None,
            NOW - timedelta(days=since) if since else None,
            since,
            NOW,
        ),
    )
    if probability is None:
        return
    for as_of, value in ((NOW - timedelta(days=1), 0.9999), (NOW, probability)):
        connection.execute(
            "insert into ml.failure_predictions (tenant_id, equipment_id, horizon_hours, as_of, model_name, "
            "model_version, failure_probability, is_alert, risk_level, recommended_action, "
            "contributing_factors, source_vector) "
            "values (%s, %s, 24, %s, 'failure-24h', '3', %s, %s, %s, %s, %s, '{}')",
            (
                tenant,
                machine.equipment_id,
                as_of,
                value,
                value > 0.5,
                risk,
                "Inspect the drive within one shift",
                Jsonb(["vibration 31 % above normal", "52 days since the last maintenance"]),
            ),
        )


def _write_readings(
    connection: psycopg.Connection, plant: Plant, machine: Machine, rng: np.random.Generator
) -> None:
    columns: dict[str, np.ndarray] = {}
    for metric, (level, spread) in METRICS.items():
        drift = rng.normal(0, spread / 2) + np.linspace(rng.normal(0, spread), 0, len(plant.hours))
        columns[metric] = level + drift + rng.normal(0, spread, len(plant.hours))
        plant.series[machine.equipment_id, metric] = columns[metric]
    names = [f"{metric}_{kind}" for metric in METRICS for kind in ("mean", "min", "max")]
    statement = (
        "copy intermediate.int_equipment_metrics_hourly "
        f"(tenant_id, equipment_id, hour_at, reading_count, {', '.join(names)}, known_at) from stdin"
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row, hour in enumerate(plant.hours):
            values = [columns[m][row] + offset for m in METRICS for offset in (0.0, -0.5, 0.5)]
            copy.write_row((plant.tenant_id, machine.equipment_id, hour, 60, *map(float, values), NOW))


def _write_production(
    connection: psycopg.Connection, plant: Plant, machine: Machine, rng: np.random.Generator
) -> None:
    size = len(plant.days)
    planned = np.full(size, 16 * 3600.0)
    run = np.round(planned * rng.uniform(0.75, 0.98, size))
    produced = rng.integers(300, 500, size)
    defective = rng.binomial(produced, rng.uniform(0.01, 0.06))
    downtime = np.zeros(size)
    failures = np.zeros(size)
    for hours, name, kind, _, hours_down in EVENTS[plant.tenant_id]:
        day = plant.days.index((NOW - timedelta(hours=hours)).date())
        if name == machine.equipment_id and hours_down:
            downtime[day] += hours_down
            failures[day] += kind == "failure"
    figures: dict[str, np.ndarray] = {
        "produced_units": produced,
        "inspected_units": produced,
        "defective_units": defective,
        "planned_run_s": planned,
        "run_s": run,
        "rated_run_s": run,
        "ideal_run_s": np.round(run * 0.9),
        "downtime_h": downtime,
        "failure_count": failures,
    }
    plant.production[machine.equipment_id] = figures
    for row, day in enumerate(plant.days):
        values: list[Any] = [figures[name][row].item() for name in figures]
        connection.execute(
            "insert into marts.fact_production_metrics "
            f"(tenant_id, equipment_id, produced_on, {', '.join(figures)}, known_at) "
            f"values (%s, %s, %s, {', '.join(['%s'] * len(figures))}, %s)",
            (plant.tenant_id, machine.equipment_id, day, *values, NOW),
        )
        connection.execute(
            "insert into marts.fact_quality_inspections "
            "values (%s, %s, %s, %s, %s, 'Minor Defect', %s, %s, %s, %s, %s, %s)",
            (
                plant.tenant_id,
                f"{plant.tenant_id}-{machine.equipment_id}-{day}",
                machine.equipment_id,
                datetime(day.year, day.month, day.day, 5, tzinfo=UTC),
                day,
                ("burr", "crack")[row % 2],
                ("P-1", "P-2")[row % 3 == 0],
                "steel",
                int(produced[row]),
                int(defective[row]),
                NOW,
            ),
        )
