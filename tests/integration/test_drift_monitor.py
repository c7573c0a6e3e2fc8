"""The monitor on a real database: verdicts, what follows from them, and the incident calendar."""

from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from plant_warehouse import TENANT, write_plant

from ml.datasets import incident_calendar
from ml.datasets.warehouse import plant_now
from ml.drift.ledger import (
    Subject,
    drifted_slices,
    record,
    reference_starts,
    release,
    retraining_requests,
    verdicts,
)
from ml.drift.monitor import monitor_tenant
from ml.drift.tenant_readings import grid
from ml.drift.verdict import Judgement, Verdict, judge
from ml.features.history import EQUIPMENT_SCHEMA, EVENT_SCHEMA, INCIDENT_SCHEMA, INSTANT, PlantHistory
from ml.models.risk import risk_band
from ml.validation.quarantine import quarantines

pytestmark = pytest.mark.integration

END = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW_FROM = END - timedelta(days=10)


def said(verdict: Verdict, *metrics: str) -> Judgement:
    """A judgement with a word of evidence."""
    return Judgement(verdict, metrics, "because", {"reason": "because"})


def of_machine(window_to: datetime = END) -> Subject:
    """A machine's window that ends then."""
    return Subject("t", "M-1", None, window_to - timedelta(days=10), window_to)


def test_sensor_fault_quarantines_and_soundness_releases(database_url: str) -> None:
    """Forbids a quarantine that never ends, and a retraining asked for by a broken sensor."""
    with psycopg.connect(database_url) as connection:
        assert record(connection, of_machine(), said(Verdict.SENSOR_FAULT, "temperature_c")) is not None
        held = quarantines(connection, "t", END)
        assert [(one.metric, one.to_at) for one in held] == [("temperature_c", None)]
        assert retraining_requests(connection) == []
        later = of_machine(END + timedelta(days=12))
        assert release(connection, later, ["temperature_c"]) == 1
        assert quarantines(connection, "t", END + timedelta(days=12))[0].to_at == later.window_to
        # As known before the release, the quarantine still stood.
        assert quarantines(connection, "t", END)[0].to_at is None


def test_same_event_is_recorded_once(database_url: str) -> None:
    """Forbids a storm of retrainings: daily checks of one drift are one request in the cool-down."""
    with psycopg.connect(database_url) as connection:
        for day in range(5):
            end = END + timedelta(days=day)
            model = Subject("t", None, "failure-24h", end - timedelta(days=10), end)
            record(connection, model, said(Verdict.CONCEPT))
        asked = retraining_requests(connection)
        assert len(asked) == 1
        assert retraining_requests(connection, after=asked[0].verdict_id) == []
        assert [row.verdict for row in verdicts(connection, "t")] == ["CONCEPT"]
        assert record(connection, of_machine(), said(Verdict.NO_DRIFT)) is None


def test_a_weak_accusation_asks_when_it_is_made_again(database_url: str) -> None:
    """Forbids a training for what chance says a few times a year; its repetition within weeks asks.

    The training's challenger is then judged since the start of the second window, for that model alone.
    """
    weak = Judgement(Verdict.CONCEPT, (), "a little", {"reason": "a little", "is_clear": False})
    with psycopg.connect(database_url) as connection:
        for days in (0, 40):
            end = END + timedelta(days=days)
            record(connection, Subject("t", None, "failure-24h", end - timedelta(days=10), end), weak)
        assert retraining_requests(connection) == []
        end = END + timedelta(days=50)
        row = record(connection, Subject("t", None, "failure-24h", end - timedelta(days=10), end), weak)
        assert row is not None
        assert [asked.verdict_id for asked in retraining_requests(connection)] == [row.verdict_id]
        assert drifted_slices(connection, row.verdict_id) == {("t", "failure-24h"): end - timedelta(days=10)}
        assert drifted_slices(connection, 0) == {}


def test_a_new_mode_is_named_once_until_its_reference_stands(database_url: str) -> None:
    """Forbids a mode that is named every week until the old one has left the reference.

    Known from its window's start (day -10), its reference has 21 days from day 11 on: a window that starts
    later is compared with it, and then a mode is a new one.
    """
    with psycopg.connect(database_url) as connection:
        assert record(connection, of_machine(), said(Verdict.OPERATING_MODE)) is not None
        assert reference_starts(connection, "t", END) == {"M-1": WINDOW_FROM}
        assert reference_starts(connection, "t", END - timedelta(hours=1)) == {}
        for days in (8, 16):
            assert (
                record(connection, of_machine(END + timedelta(days=days)), said(Verdict.OPERATING_MODE))
                is None
            )
        # A broken sensor is told all the while.
        broken = record(connection, of_machine(END + timedelta(days=8)), said(Verdict.SENSOR_FAULT, "m"))
        assert broken is not None
        assert (
            record(connection, of_machine(END + timedelta(days=22)), said(Verdict.OPERATING_MODE)) is not None
        )


def plant(incidents: list[tuple[int, int]], disturbed: list[tuple[int, int]]) -> PlantHistory:
    """55 days of one machine; `disturbed` days are 6 deviations off in all sensors."""
    import polars as pl

    rng = np.random.default_rng(1)
    hours = 55 * 24
    values = rng.standard_normal((hours, 3))
    for first, last in disturbed:
        values[first * 24 : last * 24] += 6.0
    begin = END - timedelta(days=55)
    at = [begin + timedelta(hours=hour + 1) for hour in range(hours)]
    metrics = pl.DataFrame(
        {
            "equipment_id": ["M-1"] * hours,
            "hour_at": at,
            "known_at": at,
            **{f"m{column}_mean": values[:, column] for column in range(3)},
        }
    ).with_columns(pl.col("hour_at", "known_at").cast(INSTANT))
    rows = [
        ("M-1", "outage", begin + timedelta(days=first), begin + timedelta(days=last), begin)
        for first, last in incidents
    ]
    return PlantHistory(
        tenant_id="t",
        metrics=metrics,
        events=pl.DataFrame(schema=EVENT_SCHEMA),
        equipment=pl.DataFrame({"equipment_id": ["M-1"], "equipment_model": ["X"], "age_years": [1.0]}).cast(
            EQUIPMENT_SCHEMA
        ),
        incidents=pl.DataFrame(rows, schema=INCIDENT_SCHEMA, orient="row"),
    )


def test_second_occurrence_of_an_incident_is_still_detected() -> None:
    """Forbids an incident in the reference that teaches the monitor to call the next one usual.

    The same disturbance of 12 days stands in the reference (days 20 to 32) and in the window. With the
    first in the calendar the second is seen.
    """
    twice = [(20, 32), (45, 55)]
    found = grid(plant([(20, 32)], twice), END)
    assert not isinstance(found, str)
    assert judge(found.machines["M-1"], None).verdict is Verdict.OPERATING_MODE
    quiet = grid(plant([(20, 32)], [(20, 32)]), END)
    assert not isinstance(quiet, str)
    assert judge(quiet.machines["M-1"], None).verdict is Verdict.NO_DRIFT


def test_calendar_rows_are_added_once_and_removed(database_url: str) -> None:
    """Forbids an import that doubles its rows, and a period without an end."""
    row = incident_calendar.incident("t", None, "holiday", WINDOW_FROM, END, END, "closed", "test")
    with psycopg.connect(database_url) as connection:
        assert incident_calendar.add(connection, [row]) == 1
        assert incident_calendar.add(connection, [row]) == 0
        assert [one.incident_id for one in incident_calendar.incidents(connection, "t")] == [row.incident_id]
        assert incident_calendar.remove(connection, [row.incident_id]) == 1
    with pytest.raises(incident_calendar.CalendarFormatError, match="not after"):
        incident_calendar.incident("t", None, "holiday", END, END, END, "", "")


def test_the_monitor_judges_a_whole_plant(module_database_url: str) -> None:
    """Forbids a monitor whose parts fit and whose whole doesn't: reading, judging, ranking, recording.

    40 days of the simulated plant, and predictions of one model for every machine and day whose outcome is
    known but for the last day's.
    """
    write_plant(module_database_url, 40)
    clock = plant_now(module_database_url, TENANT)
    assert clock is not None
    with psycopg.connect(module_database_url) as connection:
        connection.execute(
            "insert into ml.failure_predictions (tenant_id, equipment_id, horizon_hours, as_of, model_name,"
            " model_version, failure_probability, is_alert, risk_level, recommended_action,"
            " contributing_factors, source_vector)"
            " select %(tenant)s, equipment_id, 24, %(clock)s - make_interval(days => day), 'failure-24h',"
            " '1', 0.05, false, %(risk)s, '', '[]', '{}'"
            " from marts.dim_equipment, generate_series(0, 38) as day where tenant_id = %(tenant)s",
            {"tenant": TENANT, "clock": clock, "risk": risk_band(0.05).level.value},
        )
    found = monitor_tenant(module_database_url, TENANT)
    assert found.note == ""
    assert len({grade.equipment_id for grade in found.grades}) == 20
    assert {segment.machines for segment in found.segments} == {4, 5, 6}
    assert all(one.score_effect is not None for one in found.features)
    (performance,) = found.performance
    assert performance.happened.rows < performance.promised.rows
    again = monitor_tenant(module_database_url, TENANT)
    assert again.recorded == ()
