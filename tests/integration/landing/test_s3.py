"""The lake and the drop folder on a real S3 server."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
from landing_plant import SENSORS, Plant, reading
from s3_server import BUCKET, client, s3_server

from orchestration.ingest.intake.drop_folder import s3_folder, take_files
from orchestration.ingest.lake_upkeep import MAX_FILES_PER_DAY, keep_up

pytestmark = pytest.mark.integration


def test_a_lake_on_s3_is_as_complete_as_one_on_a_disk(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids S3 that works by construction only: dropped files land, the lake balances, compacts."""
    with s3_server(tmp_path / "s3") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        s3 = client(environment["AWS_ENDPOINT_URL"])
        on_s3 = replace(plant, services=replace(plant.services, lake_url=f"s3://{BUCKET}/lake"))
        for number in range(MAX_FILES_PER_DAY + 1):
            rows = [reading(number * 4 + row) for row in range(4)]
            key = f"drop/{plant.topic(SENSORS)}/{number}.csv"
            s3.put_object(Bucket=BUCKET, Key=key, Body=pl.DataFrame(rows).write_csv().encode())
            with psycopg.connect(plant.services.database_url, autocommit=True) as connection:
                outcomes = take_files(
                    s3_folder(s3, BUCKET, "drop"), connection, plant.services.bootstrap_servers,
                    plant.contracts, plant.services.schema_catalog(plant.contracts),
                )  # fmt: skip
            assert [item.intake.sent for item in outcomes if item.intake] == [4]
            on_s3.land()
        before = on_s3.lake_rows()

        (done,) = keep_up(
            on_s3.services,
            plant.contracts,
            [plant.topic(SENSORS)],
            now=datetime.now(UTC) + timedelta(days=30),
        )

        assert done.files_before == MAX_FILES_PER_DAY + 1
        assert done.files_after == 1
        assert len(before) == 4 * (MAX_FILES_PER_DAY + 1)
        assert sorted(row["temperature_c"] for row in on_s3.lake_rows()) == sorted(
            row["temperature_c"] for row in before
        )
        assert on_s3.check().is_balanced
