"""Replays the Azure predictive-maintenance set into the plant's topics, in the order of its events.

Machines 1 to 20 over the 90 days of their telemetry. What happened after the last telemetry reading
is left out (it would tell failures that no reading precedes); maintenance of 2014 is history that a
plant knows, and goes in. Avoid file checks here: `azure_pdm_files` has them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.replay.azure_pdm_files import AzurePdmFiles, ReplayFileError, read_azure_pdm
from orchestration.ingest.sources import (
    FrameProducer,
    OnProgress,
    SourcePosition,
    SourceProgress,
    SourceReport,
)
from orchestration.ingest.topics import ensure_topics

TENANT = "azure-pdm"
PLANT = "azure-pdm-plant"
SENSORS, STATUS, MAINTENANCE = "equipment-sensors", "equipment-status", "maintenance-events"
TOPICS = (SENSORS, STATUS, MAINTENANCE)
LAST_MACHINE = 20
_CHUNK = timedelta(days=7)
_PACED_CHUNK = timedelta(hours=1)  # the cadence of the set
_HALF_OPEN = timedelta(microseconds=1)


@dataclass(frozen=True)
class ReplayFrames:
    """The set as messages.

    Attributes:
        frames: By topic: fields of the contract and `known_at`, ordered by `known_at`.
        start: First `known_at`.
        end: First instant after the last telemetry reading.
    """

    frames: dict[str, pl.DataFrame]
    start: datetime
    end: datetime

    def next_at(self, start: datetime) -> datetime:
        """The first `known_at` from `start` on; `end` when there is none."""
        waiting = [frame["known_at"].filter(frame["known_at"] >= start) for frame in self.frames.values()]
        return min((known_at[0] for known_at in waiting if len(known_at)), default=self.end)

    def window(self, start: datetime, end: datetime) -> dict[str, pl.DataFrame]:
        """Messages with `known_at` in [start, end)."""
        inside = pl.col("known_at").is_between(start, end, closed="left")
        return {topic: frame.filter(inside) for topic, frame in self.frames.items()}


def to_frames(files: AzurePdmFiles) -> ReplayFrames:
    """Map the set to the contracts: which row becomes which message.

    Raises:
        ReplayFileError: The telemetry holds none of the machines 1 to 20.
    """
    telemetry = files.telemetry.filter(pl.col("machine") <= LAST_MACHINE)
    if telemetry.is_empty():
        raise ReplayFileError(
            f"The telemetry holds no machine from 1 to {LAST_MACHINE}: nothing to replay. Nothing was sent. "
            "Use the telemetry file of machines 1 to 20."
        )
    first, last = telemetry.select(first=pl.col("at").min(), last=pl.col("at").max()).row(0)
    machines = telemetry["machine"].unique().to_list()
    known = pl.col("machine").is_in(machines) & (pl.col("at") <= last)

    registrations = files.machines.filter(pl.col("machine").is_in(machines)).select(
        at=pl.lit(first),
        machine="machine",
        event_type=pl.lit("registration"),
        plant_id=pl.lit(PLANT),
        equipment_name=pl.format("Machine {}", "machine"),
        equipment_model="model",
        age_years="age",
    )
    replacements = files.maintenance.filter(known).with_columns(event_type=pl.lit("component_replacement"))
    failures = files.failures.filter(known).with_columns(event_type=pl.lit("failure"))
    errors = files.errors.filter(known).with_columns(status=pl.lit("error"))
    orders = pl.concat([registrations, failures, replacements], how="diagonal")
    frames = {SENSORS: _messages(telemetry), STATUS: _messages(errors), MAINTENANCE: _messages(orders)}
    start = min(frame["known_at"][0] for frame in frames.values() if frame.height)
    return ReplayFrames(frames, start, last + _HALF_OPEN)


def _messages(rows: pl.DataFrame) -> pl.DataFrame:
    """Add identity and `known_at`, in the order of time; rows of one instant keep their order."""
    return (
        rows.sort("at", "machine", maintain_order=True)
        .select(
            tenant_id=pl.lit(TENANT),
            equipment_id=pl.format("azure-pdm-{}", pl.col("machine").cast(pl.String).str.zfill(3)),
            event_at="at",
            fields=pl.struct(pl.exclude("at", "machine")),
            known_at="at",
        )
        .unnest("fields")
    )


def replay_azure_pdm(
    path: Path,
    *,
    database_url: str,
    bootstrap_servers: str,
    speed: float | None = None,
    until: datetime | None = None,
    schema_registry_url: str | None = None,
    on_progress: OnProgress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> SourceReport:
    """Send the set's messages from the position on; a complete replay sends nothing more.

    A run that was cut off between the broker's acknowledgement and the move of the position sends
    the last chunk again (at most a week of the set); the repeats are identical and are resolved as
    duplicates downstream.

    Args:
        path: Folder with the files of the set.
        database_url: Database with the position.
        bootstrap_servers: Kafka brokers.
        speed: Times real time, an hour of the set at once, hours without messages skipped; None sends
            as fast as the broker takes it.
        until: Stop before this instant of the set; the next call continues there.
        schema_registry_url: Confluent-compatible registry; None takes the pinned schema ids.
        on_progress: Told after each chunk.
        sleep: Waits between chunks when there is a speed.

    Raises:
        ReplayFileError: The files are not the set.
        SourceError: Another process is replaying it.
        ValueError: `speed` is not positive or `until` has no time zone.
    """
    if speed is not None and speed <= 0.0:
        raise ValueError(f"speed {speed} is not positive: give 'max' or a factor of real time such as 3600")
    if until is not None and until.tzinfo is None:
        raise ValueError(f"until {until.isoformat()} has no time zone: write it like 2015-02-01T00:00:00Z")
    messages = to_frames(read_azure_pdm(path))
    contracts = load_contracts()
    ensure_topics(bootstrap_servers, contracts)
    source = f"replay/{TENANT}"
    with SourcePosition.held(database_url, source) as position:
        start = position.produced_through_at or messages.start
        end = min(until, messages.end) if until else messages.end
        totals: dict[str, int] = dict.fromkeys(TOPICS, 0)
        if end > start:
            producer = FrameProducer(
                bootstrap_servers, contracts, SchemaCatalog(contracts, schema_registry_url)
            )
            low = start
            while low < end:
                # A stretch without messages is not waited for: 2014 has a work order every few days.
                high = min(messages.next_at(low) + (_PACED_CHUNK if speed else _CHUNK), end)
                sent = producer.send(messages.window(low, high))
                position.move(high, {"messages": sent})
                totals = {topic: totals[topic] + sent[topic] for topic in TOPICS}
                if on_progress:
                    on_progress(SourceProgress((high - start) / (end - start), high, sum(totals.values())))
                if speed and high < end:
                    sleep(_PACED_CHUNK.total_seconds() / speed)
                low = high
        return SourceReport(source, TENANT, start, max(start, end), totals)
