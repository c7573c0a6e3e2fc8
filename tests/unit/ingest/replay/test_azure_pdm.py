"""The Azure PdM files as messages: which rows, in which order, and what is refused."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from orchestration.ingest.replay.azure_pdm import MAINTENANCE, SENSORS, STATUS, replay_azure_pdm, to_frames
from orchestration.ingest.replay.azure_pdm_files import ReplayFileError, read_azure_pdm

TELEMETRY = """datetime,machineID,volt,rotate,pressure,vibration
2015-01-01 07:00:00,1,162.9,402.7,95.5,43.4
2015-01-01 06:00:00,1,176.2,418.5,113.1,45.1
2015-01-01 06:00:00,2,170.1,410.0,100.2,40.0
2015-01-01 06:00:00,21,170.1,410.0,100.2,40.0
"""
FILES = {
    "PdM_telemetry.csv": TELEMETRY,
    "PdM_errors.csv": """"datetime","machineID","errorID"
2015-01-01 07:00:00,1,"error1"
2015-01-01 08:00:00,1,"error2"
""",
    "PdM_maint.csv": """"datetime","machineID","comp"
2014-06-01 06:00:00,2,"comp2"
2015-01-01 06:00:00,3,"comp1"
""",
    "PdM_failures.csv": '"datetime","machineID","failure"\n2015-01-01 07:00:00,2,"comp4"\n',
    "PdM_machines.csv": '"machineID","model","age"\n1,"model3",18\n2,"model4",7\n21,"model1",3\n',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small set in plain files."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def instant(text: str) -> datetime:
    """UTC instant of 1 January 2015."""
    return datetime.fromisoformat(f"2015-01-01T{text}+00:00")


def test_rows_become_messages_in_the_order_of_time(folder: Path) -> None:
    """Forbids rows of other machines, rows after the telemetry's end, and the order of the file."""
    replay = to_frames(read_azure_pdm(folder))

    assert replay.frames[SENSORS].select("equipment_id", "event_at", "volt").rows() == [
        ("azure-pdm-001", instant("06:00"), 176.2),
        ("azure-pdm-002", instant("06:00"), 170.1),
        ("azure-pdm-001", instant("07:00"), 162.9),
    ]
    # The error at 08:00 is after the last reading; machine 3 has no telemetry.
    assert replay.frames[STATUS].select("equipment_id", "status", "error_code").rows() == [
        ("azure-pdm-001", "error", "error1")
    ]
    orders = replay.frames[MAINTENANCE]
    assert orders.select("equipment_id", "event_type", "component").rows() == [
        ("azure-pdm-002", "component_replacement", "comp2"),
        ("azure-pdm-001", "registration", None),
        ("azure-pdm-002", "registration", None),
        ("azure-pdm-002", "failure", "comp4"),
    ]
    assert orders.filter(pl.col("event_type") == "registration").select(
        "equipment_name", "equipment_model", "age_years", "plant_id", "event_at"
    ).row(0) == ("Machine 1", "model3", 18.0, "azure-pdm-plant", instant("06:00"))
    for frame in replay.frames.values():
        assert (frame["known_at"] == frame["event_at"]).all()
        assert frame["known_at"].is_sorted()


def test_windows_are_half_open_and_cover_the_set(folder: Path) -> None:
    """Forbids a message that is sent twice or never where a replay stops."""
    replay = to_frames(read_azure_pdm(folder))
    cut = instant("07:00")
    before, after = replay.window(replay.start, cut), replay.window(cut, replay.end)
    assert before[SENSORS].height == 2
    assert after[SENSORS].height == 1
    for topic, frame in replay.frames.items():
        assert before[topic].height + after[topic].height == frame.height
    assert replay.next_at(datetime(2014, 6, 2, tzinfo=UTC)) == instant("06:00")
    assert replay.next_at(instant("12:00")) == replay.end


def test_compressed_and_plain_files_are_the_same(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Forbids a set that is read in one of its two published forms alone."""
    packed = tmp_path_factory.mktemp("packed")
    for name, text in FILES.items():
        (packed / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    plain, compressed = to_frames(read_azure_pdm(folder)), to_frames(read_azure_pdm(packed))
    assert all(plain.frames[topic].equals(compressed.frames[topic]) for topic in plain.frames)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("PdM_telemetry.csv", "402.7", "fast", r"line 2, column rotate: 'fast' is not a number"),
        ("PdM_telemetry.csv", "100.2,40.0", "100.2,nan", r"line 4, column vibration: 'nan' is not a number"),
        (
            "PdM_errors.csv",
            "2015-01-01 08",
            "01/01/2015 08",
            r"line 3, column datetime: .* is not an instant",
        ),
        ("PdM_failures.csv", "00,2,", "00,two,", r"line 2, column machineID: 'two' is not a whole number"),
        ("PdM_maint.csv", '"comp"', '"part"', r"line 1: column comp is missing; found datetime, machineID"),
    ],
)
def test_wrong_file_is_refused_with_its_line(
    folder: Path, name: str, old: str, new: str, message: str
) -> None:
    """Forbids half a replay of a broken file, and an error that leaves a person searching."""
    path = folder / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ReplayFileError, match=message) as refused:
        read_azure_pdm(folder)
    assert str(path) in str(refused.value)
    assert "Nothing was sent." in str(refused.value)


def test_missing_file_is_named(folder: Path) -> None:
    """Forbids a replay without labels because a file was not copied."""
    (folder / "PdM_failures.csv").unlink()
    with pytest.raises(ReplayFileError, match=r"found none of PdM_failures\.csv\.gz, PdM_failures\.csv"):
        read_azure_pdm(folder)


def test_speed_and_until_are_checked_before_anything_is_sent(folder: Path) -> None:
    """Forbids a replay backwards in time, or until an instant of an unknown zone."""
    nowhere = {"database_url": "postgresql://127.0.0.1:1/none", "bootstrap_servers": "127.0.0.1:1"}
    with pytest.raises(ValueError, match="speed 0 is not positive"):
        replay_azure_pdm(folder, speed=0, **nowhere)
    with pytest.raises(ValueError, match="has no time zone"):
        replay_azure_pdm(folder, until=datetime(2015, 2, 1), **nowhere)


@pytest.mark.data
def test_real_set_has_the_rows_of_its_files(azure_pdm_dir: Path) -> None:
    """Forbids rows that are lost between the files and the topics."""
    replay = to_frames(read_azure_pdm(azure_pdm_dir))
    sensors = replay.frames[SENSORS]
    # 20 machines × 24 readings × 90 days.
    assert sensors.height == 43_200
    assert sensors.group_by("equipment_id").len()["len"].unique().to_list() == [2_160]
    assert replay.end - timedelta(microseconds=1) == datetime(2015, 4, 1, 5, tzinfo=UTC)
    for name, topic, kind in (
        ("errors", STATUS, "error"),
        ("maint", MAINTENANCE, "component_replacement"),
        ("failures", MAINTENANCE, "failure"),
    ):
        with gzip.open(azure_pdm_dir / f"PdM_{name}.csv.gz", "rt") as lines:
            rows = [line.split(",") for line in lines][1:]
        expected = sum(int(row[1]) <= 20 and row[0] <= "2015-04-01 05:00:00" for row in rows)
        column = "status" if topic == STATUS else "event_type"
        assert (replay.frames[topic][column] == kind).sum() == expected > 0
