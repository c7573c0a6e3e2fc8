"""A small plant's marts and predictions, written directly: what the copilot reads, without dbt and MLflow.

Column names and types are those of the dbt contracts. Avoid assertions here.
"""

from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

PLANT_NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)

MARTS = """
create schema if not exists marts;
create table marts.dim_equipment (
    tenant_id text, equipment_id text, equipment_name text, plant_id text, equipment_model text,
    age_years double precision, firmware_version text, registered_at timestamptz, is_registered boolean
);
create table marts.mart_equipment_health (
    tenant_id text, equipment_id text, equipment_name text, plant_id text, last_reading_time timestamptz,
    avg_temp_24h double precision, avg_vibration_24h double precision, max_temp_24h double precision,
    avg_pressure_24h double precision, avg_rotation_24h double precision, avg_metrics_24h jsonb,
    reading_count_24h bigint, predicted_failure_prob double precision,
    predicted_failure_prob_7d double precision, health_status text, is_scored boolean,
    predicted_for_at timestamptz, window_end_at timestamptz
);
create table marts.fact_equipment_events (
    equipment_event_id text, tenant_id text, equipment_id text, event_at timestamptz, event_type text,
    code text, description text, downtime_h double precision, technician_id text, known_at timestamptz,
    landed_at timestamptz, batch_id bigint
);
"""

MACHINES = {
    # machine: (tenant, model, firmware, probability in 24 h, risk level, health)
    "CNC-A-101": ("demo-plant", "HX-500", "4.2", 0.0412, "Low", "Normal"),
    "CNC-A-102": ("demo-plant", "HX-500", "4.2", 0.8731, "Critical", "Critical"),
    "CNC-A-103": ("demo-plant", "HX-500", "4.1", 0.2218, "Medium", "Normal"),
    "PRS-B-201": ("demo-plant", "HP-300", "2.6", 0.5519, "High", "Warning"),
    "azure-pdm-001": ("azure-pdm", "model3", None, 0.9174, "Critical", "Critical"),
}


def write_marts(database_url: str) -> None:
    """Create the marts and fill them and `ml.failure_predictions`."""
    with psycopg.connect(database_url) as connection:
        connection.execute(MARTS)
        for machine, (tenant, model, firmware, probability, risk, health) in MACHINES.items():
            connection.execute(
                "insert into marts.dim_equipment values (%s, %s, %s, 'plant-north', %s, 5, %s, %s, true)",
                (tenant, machine, f"Machine {machine}", model, firmware, PLANT_NOW),
            )
            connection.execute(
                "insert into marts.mart_equipment_health (tenant_id, equipment_id, equipment_name, "
                "plant_id, last_reading_time, avg_metrics_24h, reading_count_24h, predicted_failure_prob, "
                "health_status, is_scored, window_end_at) "
                "values (%s, %s, %s, 'plant-north', %s, %s, 1440, %s, %s, true, %s)",
                (
                    tenant,
                    machine,
                    f"Machine {machine}",
                    PLANT_NOW,
                    Jsonb({"temperature_c": 51.234, "vibration_mm_s": 3.456}),
                    probability,
                    health,
                    PLANT_NOW,
                ),
            )
            for as_of, value in ((PLANT_NOW - timedelta(days=1), 0.99), (PLANT_NOW, probability)):
                connection.execute(
                    "insert into ml.failure_predictions (tenant_id, equipment_id, horizon_hours, as_of, "
                    "model_name, model_version, failure_probability, is_alert, risk_level, "
                    "recommended_action, contributing_factors, source_vector) "
                    "values (%s, %s, 24, %s, 'failure-24h', '7', %s, %s, %s, %s, %s, '{}')",
                    (
                        tenant,
                        machine,
                        as_of,
                        value,
                        value > 0.5,
                        risk,
                        "Inspect the spindle bearing within one shift",
                        Jsonb(["vibration 38 % above normal", "45 days since the last maintenance"]),
                    ),
                )
        for hours, code in ((5, "E102"), (30, "E102"), (24 * 40, "E101")):
            connection.execute(
                "insert into marts.fact_equipment_events "
                "(equipment_event_id, tenant_id, equipment_id, event_at, event_type, code, known_at) "
                "values (%s, 'demo-plant', 'CNC-A-102', %s, 'error', %s, %s)",
                (f"event-{hours}", PLANT_NOW - timedelta(hours=hours), code, PLANT_NOW),
            )
