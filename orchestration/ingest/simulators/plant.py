"""The simulated plant: messages of any window of plant time, in the order in which they become known.

`PlantSimulator.window(start, end)` gives what the plant sends in that window, late messages included
and repeated ones too. A window is exact: it has the same bytes whether it is asked for alone or as
part of a longer one. Avoid Kafka here: `production` sends what this makes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import numpy as np
import polars as pl

from orchestration.ingest.simulators.clock import (
    DAY_S,
    DAY_US,
    SLOT_S,
    START_US,
    Floats,
    to_microseconds,
)
from orchestration.ingest.simulators.delivery import deliver
from orchestration.ingest.simulators.draws import delivery_rng
from orchestration.ingest.simulators.events import StatusChange, WorkOrder, status_changes, work_orders
from orchestration.ingest.simulators.faults import LONGEST_DAYS, with_faults
from orchestration.ingest.simulators.fleet import FLEET, METRICS
from orchestration.ingest.simulators.life import PlantLife
from orchestration.ingest.simulators.quality import inspections
from orchestration.ingest.simulators.signals import readings

SENSORS, STATUS = "equipment-sensors", "equipment-status"
QUALITY, MAINTENANCE = "quality-metrics", "maintenance-events"
TOPICS = (SENSORS, STATUS, QUALITY, MAINTENANCE)
DEFAULT_SEED = 7
DEFAULT_TENANT = "demo-plant"
_DECIMALS = 3  # resolution of the sensors
_INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class SimulatorConfig:
    """What a plant can be told.

    Attributes:
        tenant_id: Tenant of every message.
        late_share: Probability of a message to be held up for 3 minutes to 12 hours.
        duplicate_share: Probability of a message to be sent twice.
    """

    tenant_id: str = DEFAULT_TENANT
    late_share: float = 0.02
    duplicate_share: float = 0.01


@dataclass(frozen=True)
class SimulatedWindow:
    """What the plant sends in [start, end), measured by the time at which messages become known.

    Attributes:
        start: First instant.
        end: First instant after the window.
        frames: By topic: the contract's fields and `known_at`, in sending order.
        late: Late messages by topic.
        duplicates: Repeated messages by topic; they are in `frames` as well.
    """

    start: datetime
    end: datetime
    frames: dict[str, pl.DataFrame]
    late: dict[str, int]
    duplicates: dict[str, int]

    @property
    def messages(self) -> dict[str, int]:
        """Messages by topic."""
        return {topic: frame.height for topic, frame in self.frames.items()}


class PlantSimulator:
    """A plant of 20 machines under a seed.

    >>> monday, noon = (datetime.fromisoformat(f"2026-01-05T{hour}:00Z") for hour in ("00:00", "12:00"))
    >>> PlantSimulator(seed=7).window(monday, noon).messages["maintenance-events"]
    20
    """

    def __init__(self, seed: int = DEFAULT_SEED, config: SimulatorConfig | None = None) -> None:
        self.seed = seed
        self.config = config or SimulatorConfig()
        self.life = PlantLife(seed)
        # A window needs a day's readings again for the faults of the days after it.
        self._true_readings = lru_cache(maxsize=LONGEST_DAYS + 2)(self._readings)
        self._day_messages = lru_cache(maxsize=3)(self._messages_of_day)

    def window(self, start: datetime, end: datetime) -> SimulatedWindow:
        """What the plant sends from `start` to before `end`.

        Args:
            start: UTC instant, not before the start of plant time.
            end: UTC instant after `start`.

        Raises:
            ValueError: The window is empty or begins before the start of plant time.
        """
        start_us, end_us = to_microseconds(start), to_microseconds(end)
        if start_us < 0 or end_us <= start_us:
            raise ValueError(f"No such window: {start.isoformat()} to {end.isoformat()}")
        # A message is known at most 12 hours after its event: the day before may still send.
        days = range(max(start_us // DAY_US - 1, 0), (end_us - 1) // DAY_US + 1)
        low, high = start_us + START_US, end_us + START_US
        parts: dict[str, list[pl.DataFrame]] = {topic: [] for topic in TOPICS}
        for day in days:
            for topic, frame in self._day_messages(day).items():
                known_at = frame["known_at"].to_physical().to_numpy()
                first, last = np.searchsorted(known_at, (low, high))
                parts[topic].append(frame[int(first) : int(last)])
        frames: dict[str, pl.DataFrame] = {}
        late: dict[str, int] = {}
        duplicates: dict[str, int] = {}
        for topic, pieces in parts.items():
            whole = pl.concat(pieces).sort("known_at", maintain_order=True)
            late[topic] = int(whole["is_late"].sum())
            duplicates[topic] = int(whole["is_duplicate"].sum())
            frames[topic] = whole.drop("is_late", "is_duplicate")
        return SimulatedWindow(start, end, frames, late, duplicates)

    def _readings(self, day: int) -> Floats:
        return readings(self.seed, self.life, day)

    def _messages_of_day(self, day: int) -> dict[str, pl.DataFrame]:
        """Every message whose event falls on a day (inspections: whose lot does), as it arrives."""
        makers = {
            SENSORS: self._sensor_frame,
            STATUS: self._status_frame,
            QUALITY: self._quality_frame,
            MAINTENANCE: self._maintenance_frame,
        }
        return {topic: self._arrive(day, topic, make(day)) for topic, make in makers.items()}

    def _arrive(self, day: int, topic: str, frame: pl.DataFrame) -> pl.DataFrame:
        # The register of machines is loaded before the plant starts: none of its rows is late.
        is_register = topic == MAINTENANCE and day == 0
        arrivals = deliver(
            frame["event_at"].to_physical().to_numpy(),
            delivery_rng(self.seed, day, TOPICS.index(topic)),
            late_share=0.0 if is_register else self.config.late_share,
            duplicate_share=self.config.duplicate_share,
        )
        known_at = pl.Series("known_at", arrivals.known_at_us).cast(_INSTANT)
        is_late = pl.Series("is_late", arrivals.is_late)
        is_duplicate = pl.Series("is_duplicate", arrivals.is_duplicate)
        return frame[arrivals.row].hstack([known_at, is_late, is_duplicate])

    def _sensor_frame(self, day: int) -> pl.DataFrame:
        """One row per slot in which a machine neither lies failed nor is being serviced."""
        today = self.life.day(day)
        true = {each: self._true_readings(each) for each in range(day - LONGEST_DAYS, day + 1)}
        reported = with_faults(self.seed, day, true)
        reported[:, 1:] = np.maximum(reported[:, 1:], 0.0)
        # Slots first: messages leave in the order of time, all machines of a slot together.
        slot, machine = np.nonzero(~(today.is_failed | today.is_serviced).T)
        values = np.round(reported[machine, :, slot], _DECIMALS)
        metrics = {metric: pl.Series(values[:, index]).fill_nan(None) for index, metric in enumerate(METRICS)}
        return self._frame(pl.Series(machine), pl.Series(day * DAY_S + slot * SLOT_S), metrics)

    def _status_frame(self, day: int) -> pl.DataFrame:
        changes = status_changes(self.seed, self.life, day)
        columns = _columns(changes, _STATUS_FIELDS)
        return self._frame(columns.pop("machine"), columns.pop("at_s"), columns)

    def _quality_frame(self, day: int) -> pl.DataFrame:
        columns = inspections(self.seed, self.life, day, self._true_readings(day))
        frame = self._frame(columns.pop("machine"), columns.pop("at_s"), columns)
        ids = frame["equipment_id"] + "-" + frame["event_at"].dt.strftime("%Y%m%dT%H%M")
        return frame.insert_column(1, ids.alias("inspection_id"))

    def _maintenance_frame(self, day: int) -> pl.DataFrame:
        columns = _columns(work_orders(self.life, day), _MAINTENANCE_FIELDS)
        return self._frame(columns.pop("machine"), columns.pop("at_s"), columns)

    def _frame(self, machine: pl.Series, at_s: pl.Series, columns: dict[str, pl.Series]) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "tenant_id": pl.repeat(self.config.tenant_id, len(machine), dtype=pl.String, eager=True),
                "equipment_id": _EQUIPMENT_IDS.gather(machine),
                "event_at": (at_s * 1_000_000 + START_US).cast(_INSTANT),
                **columns,
            }
        )


_EQUIPMENT_IDS = pl.Series([machine.equipment_id for machine in FLEET])
_PLACE = {"machine": pl.Int64(), "at_s": pl.Int64()}
_STATUS_FIELDS = {
    **_PLACE,
    "status": pl.String(),
    "error_code": pl.String(),
    "operating_hours_h": pl.Float64(),
}
_MAINTENANCE_FIELDS = {
    **_PLACE,
    "event_type": pl.String(),
    "component": pl.String(),
    "description": pl.String(),
    "downtime_h": pl.Float64(),
    "technician_id": pl.String(),
    "plant_id": pl.String(),
    "equipment_name": pl.String(),
    "equipment_model": pl.String(),
    "age_years": pl.Float64(),
    "firmware_version": pl.String(),
}


def _columns(
    events: Sequence[StatusChange | WorkOrder], fields: Mapping[str, pl.DataType]
) -> dict[str, pl.Series]:
    return {
        name: pl.Series([getattr(event, name) for event in events], dtype=dtype)
        for name, dtype in fields.items()
    }
