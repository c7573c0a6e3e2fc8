"""Disks that are really full: small file systems of the test's own, which only root may mount."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
from landing_plant import Plant, running_service, wait_until
from psycopg.conninfo import conninfo_to_dict

from deployment.embedded import postgres
from orchestration.ingest.lake_files import UNFINISHED
from orchestration.ingest.lake_writer import FlushSettings
from orchestration.ingest.landing_service import FRESH
from orchestration.ingest.sink_states import lander_states

pytestmark = pytest.mark.integration

DISK_BYTES, FREE_BYTES = 32 * 1024 * 1024, 16 * 1024
"""A page and a half of Postgres' are left free: it can begin to write, not end."""
_service = partial(
    running_service, stops_within_s=60, settings=replace(FRESH, lake_flush=FlushSettings(age_s=0.2))
)


@dataclass(frozen=True)
class SmallDisk:
    """A file system of 32 MiB.

    Attributes:
        folder: Where it is mounted.
    """

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave nearly nothing free."""
        free = shutil.disk_usage(self.folder).free
        self._ballast.write_bytes(bytes(max(free - FREE_BYTES, 0)))

    def clear(self) -> None:
        """Free what `fill` took."""
        self._ballast.unlink()


@pytest.fixture
def small_disk(services_dir: Path) -> Iterator[SmallDisk]:
    """A small file system that everybody may write to."""
    folder = services_dir / f"disk-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0777", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("a file system of the test's own needs root's right to mount one")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_tablespace(small_disk: SmallDisk, postgres_port: int) -> Iterator[str]:
    """A tablespace on the small disk; its user's database must be gone before it."""
    folder, name = small_disk.folder / "tablespace", f"small_{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    if user := postgres.run_as():
        shutil.chown(folder, user=user)
    with psycopg.connect(postgres.server_url(postgres_port), autocommit=True) as connection:
        connection.execute(f"create tablespace {name} location '{folder}'")  # pyright: ignore[reportArgumentType, reportCallIssue]
        yield name
        connection.execute(f"drop tablespace {name}")  # pyright: ignore[reportArgumentType, reportCallIssue]


def _reason(plant: Plant) -> str:
    with psycopg.connect(plant.services.database_url) as connection:
        return " ".join(reason for item in lander_states(connection) for reason in item.open_sinks.values())


def test_rows_wait_for_a_full_disk_of_postgres(
    small_disk: SmallDisk, small_tablespace: str, plant: Plant
) -> None:
    """Forbids a lander that dies of a full disk, skips what it could not write, or writes it twice."""
    name = conninfo_to_dict(plant.services.database_url)["dbname"]
    with psycopg.connect(plant.services.database_url, autocommit=True) as connection:
        connection.execute(f"alter database {name} set default_tablespace = {small_tablespace}")  # pyright: ignore[reportArgumentType, reportCallIssue]
    plant.produce_readings(400)
    with _service(plant):
        wait_until(lambda: plant.row_count() == 400)  # the day's partition lies on the small disk
        small_disk.fill()
        plant.produce_readings(2_000, start=400)
        wait_until(lambda: "No space left" in _reason(plant))
        assert plant.row_count() < 2_400
        small_disk.clear()
        wait_until(lambda: plant.row_count() == 2_400)
        wait_until(lambda: not _reason(plant))
        wait_until(lambda: len(plant.lake_rows()) == 2_400)
    report = plant.check()
    assert report.is_balanced, report.faults


def test_the_lake_catches_up_when_its_full_disk_has_room_again(small_disk: SmallDisk, plant: Plant) -> None:
    """Forbids rows that wait for the lake's disk, half files that stay there, and rows that it never gets."""
    plant = replace(plant, services=replace(plant.services, lake_url=str(small_disk.folder / "lake")))
    plant.produce_readings(400)
    with _service(plant):
        wait_until(lambda: len(plant.lake_rows()) == 400)
        small_disk.fill()
        plant.produce_readings(2_000, start=400)
        wait_until(lambda: plant.row_count() == 2_400)
        wait_until(lambda: "No space left" in _reason(plant))
        small_disk.clear()
        wait_until(lambda: len(plant.lake_rows()) == 2_400)
        wait_until(lambda: not _reason(plant))
    report = plant.check()
    assert report.is_balanced, report.faults
    assert not [path for path in small_disk.folder.rglob("*") if path.name.endswith(UNFINISHED)]
