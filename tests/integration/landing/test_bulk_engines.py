"""Bulk jobs over the lake: what they compute, and that Polars and Spark write equal rows.

Spark stands apart (`deployment/bootstrap peers` and a JDK 17); without it its two tests skip and say so.
"""

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from landing_plant import SENSORS, STARTED_AT, Plant, reading
from polars.testing import assert_frame_equal

from orchestration.environment import PROJECT_ROOT
from orchestration.ingest.bulk.plan import OUTPUTS, BulkError, plan_of
from orchestration.ingest.bulk.polars_engine import cleanse, features
from orchestration.ingest.bulk.silver import read_silver, run_with_polars
from orchestration.ingest.bulk.spark_process import Spark, SparkMissingError
from orchestration.ingest.lake import Lake

pytestmark = pytest.mark.integration


def history(count: int = 2_000, seed: int = 11) -> list[dict[str, object]]:
    """Readings of six machines over nine days in no order, with gaps, spikes and repeated instants."""
    draw = random.Random(seed)
    rows: list[dict[str, object]] = []
    for number in range(count):
        at = STARTED_AT + timedelta(seconds=draw.randrange(9 * 86_400))
        value = 40 + draw.gauss(0, 2) + (60 if draw.random() < 0.005 else 0)
        rows.append(reading(number, event_at=at, temperature_c=value))
        if draw.random() < 0.05:
            rows.append(reading(number, event_at=at, temperature_c=value + 1))
    return rows


@pytest.fixture
def lake(plant: Plant) -> Lake:
    """The plant's lake with the readings landed."""
    plant.produce(SENSORS, [plant.datum(SENSORS, row) for row in history()])
    plant.land()
    return Lake(plant.services.lake_url, plant.services.catalog_uri)


def spark(plant: Plant) -> Spark:
    """Spark over the plant's lake; skips where there is none."""
    try:
        return Spark(PROJECT_ROOT / ".tools", plant.services.lake_url, plant.services.catalog_uri, "1g")
    except SparkMissingError as error:
        pytest.skip(str(error))


def test_cleansing_keeps_the_first_copy_and_drops_spikes(plant: Plant) -> None:
    """Forbids a mean over a spike, a doubled instant, and a slow excursion taken for a spike."""
    values = [40.0, 40.5, 39.5, 41.0, 39.0, 40.2, 39.8, 44.0, 99.0]
    rows = pl.DataFrame(
        {
            "tenant_id": ["demo-plant"] * 10,
            "equipment_id": ["CNC-A-101"] * 10,
            "event_at": [STARTED_AT + timedelta(minutes=m) for m in (*range(9), 8)],
            "known_at": [STARTED_AT + timedelta(minutes=m) for m in range(10)],
            "kafka_partition": [0] * 10,
            "kafka_offset": list(range(10)),
            "temperature_c": [*values, 40.0],
            "vibration_mm_s": [None] * 10,
        },
        schema_overrides={"vibration_mm_s": pl.Float64},
    )
    plan = plan_of(plant.contract(SENSORS))
    plan = replace(plan, metrics=("temperature_c", "vibration_mm_s"))

    found = cleanse(rows, plan)

    # Median 40.2, median absolute deviation 0.7 (of .2 .3 .7 .8 1.2 0 .4 3.8 58.8): limit 8 × 1.4826 × .7
    # = 8.3. So 44.0 stays and 99.0 goes; its row has no other value and goes too, and the second copy of
    # its instant (40.0) was known later.
    assert found["temperature_c"].to_list() == values[:8]
    hours = features(found, plan)
    assert hours["hour_at"].to_list() == [
        STARTED_AT,
        STARTED_AT + timedelta(hours=1),
    ]  # (hour_at - 1 h, hour_at]
    assert hours["day_of_week"].to_list() == [1, 1]  # 2026-01-05 is a Monday


def test_polars_and_spark_write_equal_rows(plant: Plant, lake: Lake) -> None:
    """Forbids an engine that counts, rounds, truncates or breaks ties in its own way."""
    engine = spark(plant)
    contract = plant.contract(SENSORS)
    plan = plan_of(contract)
    counts = run_with_polars(lake, contract, plan)
    names = [f"{plan.table}_{output}" for output in OUTPUTS]
    by_polars = {name: read_silver(lake, name) for name in names}

    assert engine.bulk(plan) == counts

    for name in names:
        by_spark = read_silver(lake, name)
        order = by_polars[name].columns[:3]  # machine and instant
        assert_frame_equal(
            by_spark.sort(order), by_polars[name].sort(order), check_dtypes=False, rel_tol=1e-9, abs_tol=1e-9
        )
    assert by_polars[names[0]]["dropped_values"].sum() > 0
    # And back: Polars replaces what Spark wrote.
    assert run_with_polars(lake, contract, plan) == counts


def test_spark_streams_what_landing_lands(plant: Plant, lake: Lake, tmp_path: Path) -> None:
    """Forbids a streaming landing that differs in a field, loses a refused message or lands twice."""
    engine, contract = spark(plant), plant.contract(SENSORS)
    bad = [plant.datum(SENSORS, reading(1, temperature_c=20.0))[:9], b"not avro", None]
    plant.produce(SENSORS, bad, partition=1)
    plant.land()
    schema = plant.services.schema_catalog(plant.contracts).latest(contract.topic)

    first, again = [
        engine.stream(contract, {schema.schema_id: schema}, plant.services.bootstrap_servers, tmp_path)
        for _ in range(2)
    ]

    landed = pl.DataFrame(plant.lake_rows()).drop("batch_id", "topic_id", "known_at", "landed_at")
    streamed = pl.DataFrame(lake.named("streamed", contract.table).scan().to_arrow())
    kept = streamed.filter(pl.col("refused").is_null()).drop("refused", "payload")
    refused = streamed.filter(pl.col("refused").is_not_null()).sort("kafka_offset")
    assert first == again == {contract.table: landed.height, "refused": 2}
    order = ["kafka_partition", "kafka_offset"]
    assert_frame_equal(
        kept.sort(order).select(landed.columns), landed.sort(order), check_dtypes=False, rel_tol=0, abs_tol=0
    )
    assert refused["payload"].to_list() == bad[:2]


def test_a_topic_without_metrics_or_with_personal_fields_is_refused(plant: Plant) -> None:
    """Forbids a job that runs on the wrong topic, and personal values in clear in a second lake table."""
    with pytest.raises(BulkError, match="has no primary key"):
        plan_of(plant.contract("raw_logs"))
    engine = spark(plant)
    with pytest.raises(BulkError, match="which only `opsgraph land` tokenises"):
        engine.stream(plant.contract("maintenance-events"), {}, plant.services.bootstrap_servers, Path("/x"))
