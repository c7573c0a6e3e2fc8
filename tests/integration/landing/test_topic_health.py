"""Rows per hour, silent keys and lateness are judged by event time, each batch counted once."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from landing_plant import SENSORS, Plant, reading

from orchestration.ingest.producer import RecordProducer
from orchestration.ingest.topic_health import TopicHealth, judge, observe

pytestmark = pytest.mark.integration
BEGUN_AT = datetime(2026, 1, 5, tzinfo=UTC)
MACHINES = [f"CNC-A-{number}" for number in range(101, 107)]


def send_days(plant: Plant, days: range, machines: list[str], hours: range = range(24)) -> None:
    """Six readings per hour and machine, known ten seconds after they happened."""
    instants = [
        BEGUN_AT + timedelta(days=day, hours=hour, minutes=minute)
        for day in days
        for hour in hours
        for minute in range(0, 60, 10)
    ]
    with RecordProducer(
        plant.services.bootstrap_servers, plant.contracts, plant.services.schema_catalog(plant.contracts)
    ) as producer:
        for at in instants:
            for name in machines:
                record = reading(0, equipment_id=name, event_at=at)
                producer.send(plant.topic(SENSORS), record, at + timedelta(seconds=10))


def look(plant: Plant) -> TopicHealth:
    """Count and judge."""
    contract = plant.contract(SENSORS)
    with psycopg.connect(plant.services.database_url) as connection:
        observe(connection, contract)
        assert observe(connection, contract) == 0  # nothing is counted twice
        (health,) = judge(connection, contract)
    return health


def plan(connection: psycopg.Connection, machine: str, kind: str, begin: timedelta, end: timedelta) -> None:
    """An entry of the incident calendar; times count from the first day."""
    connection.execute(
        "insert into ops.incident_calendar values ('entry', 'demo-plant', %s, %s, %s, %s, %s, 'r', 's')",
        (machine, kind, BEGUN_AT + begin, BEGUN_AT + end, BEGUN_AT),
    )


def test_a_thin_hour_and_a_silent_machine_are_seen_and_an_outage_is_no_reference(plant: Plant) -> None:
    """Forbids a green run over data that silently went missing."""
    send_days(plant, range(9), MACHINES, hours=range(10, 13))
    plant.land()
    usual = look(plant)
    # The last reading is of 12:50, so the last complete hour begins at 11:00: 6 machines, 6 readings each.
    assert usual.volume is not None
    assert (usual.volume.row_count, usual.volume.usual, usual.volume.is_unusual) == (36, 36.0, False)
    assert usual.silent_keys == ()
    # Buckets are a quarter of an octave wide: 10 s are told as 10 s at most, and not below 8.4 s.
    assert 8.4 <= usual.lateness.p50_s <= 10.0 == usual.lateness.max_s

    send_days(plant, range(9, 10), MACHINES[:1], hours=range(10, 13))
    plant.land()
    thin = look(plant)

    assert thin.volume is not None
    assert (thin.volume.row_count, thin.volume.usual) == (6, 36.0)
    assert thin.volume.z == pytest.approx((6 - 36) / (0.05 * 36))  # all references are equal: 5 % of them
    assert thin.volume.is_unusual
    assert thin.new_keys == ()
    # Three hours a day make a mean interval of 75 minutes; 20 of them are more than the day of silence.
    assert thin.silent_keys == ()


def test_a_machine_that_stops_in_the_stream_is_named(plant: Plant) -> None:
    """Forbids silence that hides behind the others' volume."""
    send_days(plant, range(1), MACHINES, hours=range(12))
    send_days(plant, range(1), MACHINES[1:], hours=range(12, 18))
    plant.land()

    health = look(plant)

    # Every ten minutes before; 20 intervals are 200 minutes, and it has been silent for six hours.
    assert health.silent_keys == (f"demo-plant/{MACHINES[0]}",)
    assert health.keys == 6

    # 12:00 to 17:30 is planned: at 17:50 it is silent for 20 minutes that nothing explains.
    with psycopg.connect(plant.services.database_url) as connection:
        plan(connection, MACHINES[0], "maintenance", timedelta(hours=12), timedelta(hours=17.5))
    assert look(plant).silent_keys == ()


def test_hours_in_which_a_machine_had_an_incident_are_no_reference(plant: Plant) -> None:
    """Forbids a repaired machine that makes the hours after its long absence look unusual."""
    send_days(plant, range(16, 17), MACHINES, hours=range(10, 12))
    plant.land()
    look(plant)
    # Seven days as usual, then nine with one machine of six: 6 readings an hour instead of 36.
    with psycopg.connect(plant.services.database_url) as connection:
        connection.cursor().executemany(
            "insert into ops.topic_hours (tenant_id, topic, hour_at, row_count) "
            "values ('demo-plant', %s, %s, %s)",
            [
                (plant.topic(SENSORS), BEGUN_AT + timedelta(days=day, hours=10), 36 if day < 7 else 6)
                for day in range(16)
            ],
        )
    before = look(plant).volume
    with psycopg.connect(plant.services.database_url) as connection:
        plan(connection, MACHINES[1], "outage", timedelta(days=7), timedelta(days=16))
    after = look(plant).volume

    assert before is not None
    assert after is not None
    assert (before.row_count, before.usual) == (36, 6.0)
    assert (after.usual, after.is_unusual) == (36.0, False)
