"""Replay of dead letters after a fix: landed once, with the first offset and a new known time."""

import json
from dataclasses import replace

import pytest
from landing_plant import LOGS, Plant, log_line

from orchestration.ingest.dead_letters import Selection, replay
from orchestration.ingest.ledger import Counts

pytestmark = pytest.mark.integration


def test_replay_lands_what_passes_now_and_keeps_the_ledger_balanced(plant: Plant) -> None:
    """Forbids a replay that loses the offset, repeats a row, or leaves the ledger or the lake unbalanced."""
    lines = [log_line(0), log_line(1, level="LOUD"), log_line(2, level="LOUD"), log_line(3, level="SILENT")]
    header = [("known_at", b"2026-01-05T06:00:00+00:00")]
    plant.produce(LOGS, [json.dumps(line).encode() for line in lines], headers=header)
    plant.land(LOGS)
    assert plant.dead_letters() == {1: "NotInEnum", 2: "NotInEnum", 3: "NotInEnum"}
    level = plant.contract(LOGS).field("level")
    fields = tuple(
        replace(field, enum=(*level.enum, "LOUD")) if field.name == "level" else field
        for field in plant.contract(LOGS).fields
    )
    fixed = plant.with_contract(LOGS, fields=fields)

    report = replay(plant.services, fixed.contracts, Selection(topic=plant.topic(LOGS)))
    again = replay(plant.services, fixed.contracts, Selection(topic=plant.topic(LOGS)))

    assert (report.landed, report.discarded, len(report.refused)) == (2, 0, 1)
    assert "SILENT" in report.refused[0][1]
    assert (again.landed, again.batch_ids) == (0, ())
    rows = plant.query("select kafka_offset, known_at = landed_at, batch_id from raw.raw_logs order by 1")
    assert [row[:2] for row in rows] == [(0, False), (1, True), (2, True)]
    assert {row[2] for row in rows[1:]} == set(report.batch_ids)
    balance = fixed.check(LOGS)
    assert balance.is_balanced, balance.faults
    assert balance.counts == Counts(landed=3, dead_lettered=1)
    assert len(plant.lake_rows(LOGS)) == 1  # the lake takes them with its next landing

    fixed.land(LOGS)

    assert sorted(row["kafka_offset"] for row in plant.lake_rows(LOGS)) == [0, 1, 2]
    balance = fixed.check(LOGS)
    assert balance.is_balanced, balance.faults
    assert balance.balances[0].lake_rows == 3
