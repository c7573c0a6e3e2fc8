"""Days leave the hot store when the lake has them and nobody needs them there; the ledger counts on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from landing_plant import SENSORS, Plant, reading

from orchestration.ingest import lake_upkeep
from orchestration.ingest.dead_letters import Selection, replay
from orchestration.ingest.lake_upkeep import keep_up
from orchestration.ingest.ledger import Counts
from orchestration.ingest.reland import Window, reland
from orchestration.ingest.reland_sources import Source
from orchestration.ingest.retention import place_hold, release_hold
from orchestration.ingest.temperature import Move, move_days

pytestmark = pytest.mark.integration

IN_40_DAYS = datetime.now(UTC) + timedelta(days=40)
HOT = timedelta(days=30)
MODEL = "int_sensor_readings_deduplicated"


def _move(plant: Plant, is_dry_run: bool = False, **ages: Any) -> list[Move]:
    ages = {"hot": HOT, "warm": None, **ages}
    contracts = {plant.topic(SENSORS): plant.contract(SENSORS)}
    return move_days(plant.services, contracts, is_dry_run=is_dry_run, now=IN_40_DAYS, **ages)


def _do(plant: Plant, statement: str) -> None:
    with psycopg.connect(plant.services.database_url) as connection:
        connection.execute(statement)


def _build(plant: Plant, without: int = 0) -> None:
    """What the warehouse remembers after a build, leaving the last batches out."""
    _do(
        plant,
        f"""
        create schema if not exists intermediate;
        create table if not exists intermediate.processed_batches (model_name text, batch_id bigint);
        delete from intermediate.processed_batches;
        insert into intermediate.processed_batches
        select '{MODEL}', batch_id from ops.landing_ledger order by batch_id
        limit (select count(*) - {without} from ops.landing_ledger);
        """,
    )


def test_a_day_leaves_when_nothing_holds_it_and_comes_back_on_demand(plant: Plant) -> None:
    """Forbids rows that leave raw unseen by the ledger, twice, or for good."""
    plant.produce_readings(1_000)
    plant.land()
    rows = plant.query("select to_jsonb(r) from raw.equipment_sensors as r order by 1")
    _build(plant)

    (planned,) = _move(plant, is_dry_run=True)
    assert (planned.rows, planned.held, planned.is_done) == (1_000, (), False)
    assert len(plant.query("select 1 from raw.equipment_sensors")) == 1_000
    (moved,) = _move(plant)
    assert moved.is_done
    assert _move(plant) == []

    assert plant.query("select count(*) from raw.equipment_sensors") == [(0,)]
    report = plant.check()
    assert report.is_balanced, report.faults
    assert report.counts == Counts(landed=1_000)
    plant.produce_readings(100, start=1_000)
    assert plant.land().counts == Counts(landed=100)
    assert plant.check().is_balanced
    again = reland(plant.services, plant.contracts, Window(plant.topic(SENSORS), until=IN_40_DAYS))
    assert again.restored == 1_000
    of_first = "select to_jsonb(r) from raw.equipment_sensors as r where event_at < %s order by 1"
    came_back = plant.query(of_first, _end_of_first(rows))
    assert came_back == rows
    assert plant.check().is_balanced


def test_what_came_by_a_replay_or_a_correction_becomes_hot_again_too(plant: Plant) -> None:
    """Forbids a day that comes back without its transfers, and a correction that is made a second time."""
    readings = [plant.datum(SENSORS, reading(number)) for number in range(3)]
    early = plant.datum(SENSORS, reading(3, event_at=datetime(1999, 1, 1, tzinfo=UTC)))
    plant.produce(SENSORS, [*readings, early])
    limit = plant.contract(SENSORS).field("event_at")
    plant.land()
    assert len(plant.dead_letters()) == 1
    wider = replace(limit, minimum=datetime(1990, 1, 1, tzinfo=UTC))
    fixed = plant.with_contract(
        SENSORS,
        fields=tuple(wider if f.name == limit.name else f for f in plant.contract(SENSORS).fields),
    )
    replay(fixed.services, fixed.contracts, Selection(topic=plant.topic(SENSORS)))
    fixed.land()  # the lake has the transfer now
    rows = plant.query("select to_jsonb(r) from raw.equipment_sensors as r order by 1")
    assert len(rows) == 4
    _build(plant)
    (moved,) = _move(plant)
    assert moved.is_done, moved.held

    for source in (Source.LAKE, None):
        again = reland(
            fixed.services, fixed.contracts, Window(plant.topic(SENSORS), until=IN_40_DAYS, source=source)
        )
        assert (again.restored, again.unreachable) == (4 if source else 0, [])
        assert plant.query("select to_jsonb(r) from raw.equipment_sensors as r order by 1") == rows
        assert plant.query("select count(*) from ops.landing_ledger where retired_at is not null") == [(0,)]
        report = plant.check()
        assert report.is_balanced, report.faults


def _end_of_first(rows: list[tuple[Any, ...]]) -> datetime:
    last = max(datetime.fromisoformat(row[0]["event_at"]) for row in rows)
    return last + timedelta(microseconds=1)


def test_what_is_needed_is_held_and_the_reason_is_said(plant: Plant) -> None:
    """Forbids a day that goes while a reader, the lake, a hold or the ledger says otherwise."""
    plant.produce_readings(400)
    plant.land()
    reasons = {"no warehouse": _move(plant)[0].held}
    _build(plant, without=1)
    reasons["unfinished model"] = _move(plant)[0].held
    _build(plant)
    with psycopg.connect(plant.services.database_url) as connection:
        hold = place_hold(connection, "case 7", "legal", "demo-plant")
        place_hold(connection, "another tenant's case", "legal", "other")
    reasons["hold"] = _move(plant)[0].held
    with psycopg.connect(plant.services.database_url) as connection:
        release_hold(connection, hold)
    _do(plant, "delete from raw.equipment_sensors where kafka_partition = 0 and kafka_offset = 3")
    reasons["raw lacks a row"] = _move(plant)[0].held

    assert {what: held[0].split(" ", 2)[:2] for what, held in reasons.items()} == {
        "no warehouse": ["the", "warehouse"],
        "unfinished model": [MODEL, "has"],
        "hold": ["legal", "hold"],
        "raw lacks a row": ["raw", "holds"],
    }
    assert all(len(held) == 1 for held in reasons.values())
    assert plant.query("select count(*) from raw.equipment_sensors") == [(399,)]


def test_what_the_lake_lacks_stays_hot(plant: Plant) -> None:
    """Forbids the worst: rows that leave Postgres before the lake has them."""
    plant.produce_readings(400)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.ingest.lake_writer.LakeWriter.flush", lambda _: 0)
        plant.land()
    _build(plant)
    (move,) = _move(plant)
    assert "the lake holds 0 rows" in move.held[0]
    assert plant.query("select count(*) from raw.equipment_sensors") == [(400,)]


def test_cold_files_lie_below_the_archived_prefix_and_are_read_as_before(plant: Plant) -> None:
    """Forbids an archive that changes rows or offsets, is done again every night, or is undone by upkeep."""
    plant.produce_readings(400)
    plant.land()
    before = sorted(plant.lake_rows(), key=str)

    (cold,) = _move(plant, hot=None, warm=HOT)
    keep_up(plant.services, plant.contracts, [plant.topic(SENSORS)])

    assert (cold.target, cold.rows, cold.is_done) == ("cold", 400, True)
    assert _move(plant, hot=None, warm=HOT) == []
    assert sorted(plant.lake_rows(), key=str) == before
    assert [path.parent.parent.name for path in (plant.lake_dir() / "archive").rglob("*.parquet")] == [
        "archive"
    ]
    plant.produce_readings(100, start=400)
    plant.land()
    report = plant.check()
    assert report.is_balanced, report.faults


def test_a_day_during_whose_archiving_a_lander_commits_is_held(plant: Plant) -> None:
    """Forbids a move on a live table that ends in a traceback and leaves the days of other topics."""
    plant.produce_readings(40)
    plant.land()
    before = sorted(plant.lake_rows(), key=str)
    runs, landed = lake_upkeep._sorted_runs, []

    def land_in_between(*arguments: object) -> object:
        yield from runs(*arguments)  # type: ignore[arg-type]
        if not landed:
            landed.append(True)
            plant.produce_readings(8, start=1_000)
            plant.land()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake_upkeep, "_sorted_runs", land_in_between)
        (cold,) = _move(plant, hot=None, warm=HOT)

    assert not cold.is_done
    assert "a lander committed" in cold.held[0]
    assert len(plant.lake_rows()) == len(before) + 8
    (cold,) = _move(plant, hot=None, warm=HOT)
    assert (cold.rows, cold.is_done) == (48, True)
    assert plant.check().is_balanced
