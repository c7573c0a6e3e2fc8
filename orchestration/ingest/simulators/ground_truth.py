"""What really happened in the simulated plant: the file that scores detectors and models.

It stands beside the data and never enters a topic. Add a truth here when a later measurement needs
it. Avoid reading it in anything but tests, evals and benchmarks.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from orchestration.ingest.simulators.clock import DAY_S, PLANT_START, to_microseconds
from orchestration.ingest.simulators.faults import faults_of
from orchestration.ingest.simulators.fleet import COMPONENTS, FLEET
from orchestration.ingest.simulators.plant import PlantSimulator


def ground_truth_folder(state_dir: Path, tenant_id: str, seed: int) -> Path:
    """Folder of one plant's `ground_truth.json` and `ground_truth.parquet`."""
    return state_dir / "simulator" / f"{tenant_id}-{seed}"


def write_ground_truth(
    state_dir: Path,
    simulator: PlantSimulator,
    through: datetime,
    totals: Mapping[str, Mapping[str, int]],
) -> Path:
    """Write the truth from the start of plant time to `through`, replacing what was there.

    Args:
        state_dir: State folder of the stack.
        simulator: The plant.
        through: First instant that has not been produced.
        totals: Produced messages, late ones and duplicates by topic.

    Returns:
        Folder with `ground_truth.json` (failures with onset, services, sensor faults, counts) and
        `ground_truth.parquet` (hourly wear of every component).
    """
    folder = ground_truth_folder(state_dir, simulator.config.tenant_id, simulator.seed)
    folder.mkdir(parents=True, exist_ok=True)
    document = {**describe(simulator, through), "produced": totals}
    partial = folder / "ground_truth.json.partial"
    partial.write_text(json.dumps(document, indent=1) + "\n")
    partial.replace(folder / "ground_truth.json")
    partial = folder / "ground_truth.parquet.partial"
    wear_by_hour(simulator, through).write_parquet(partial)
    partial.replace(folder / "ground_truth.parquet")
    return folder


def describe(simulator: PlantSimulator, through: datetime) -> dict[str, Any]:
    """Failures, services and sensor faults that began before `through`, as JSON values."""
    end_s = to_microseconds(through) // 1_000_000
    days = range(-(-end_s // DAY_S))
    life = simulator.life
    life.day(max(days.stop - 1, 0))
    return {
        "tenant_id": simulator.config.tenant_id,
        "seed": simulator.seed,
        "starts_at": PLANT_START.isoformat(),
        "through_at": through.isoformat(),
        "failures": [
            {
                "equipment_id": FLEET[failure.machine].equipment_id,
                "component": failure.component.value,
                "signs_from_at": _instant(failure.onset_s),
                "failed_at": _instant(failure.started_at_s),
                "repaired_at": _instant(failure.ended_at_s),
                "is_noticed_by_controller": failure.has_codes,
                "gain": round(failure.gain, 3),
            }
            for failure in life.failures
            if failure.started_at_s < end_s
        ],
        "services": [
            {
                "equipment_id": FLEET[service.machine].equipment_id,
                "started_at": _instant(service.started_at_s),
                "ended_at": _instant(service.ended_at_s),
                "replaced": [component.value for component in service.replaced],
            }
            for service in life.services
            if service.started_at_s < end_s
        ],
        "sensor_faults": [
            {
                "equipment_id": FLEET[fault.machine].equipment_id,
                "metric": fault.metric,
                "kind": fault.kind.value,
                "started_at": _instant(fault.started_at_s),
                "ended_at": _instant(fault.ended_at_s),
            }
            for day in days
            for fault in faults_of(simulator.seed, day)
            if fault.started_at_s < end_s
        ],
    }


def wear_by_hour(simulator: PlantSimulator, through: datetime) -> pl.DataFrame:
    """True wear before `through`: equipment_id, component, hour_at, wear (1 is failure), signs."""
    hours = to_microseconds(through) // 3_600_000_000
    lives = [simulator.life.day(day) for day in range(-(-hours // 24))]
    if not lives:
        return pl.DataFrame(
            schema={
                "equipment_id": pl.String,
                "component": pl.String,
                "hour_at": pl.Datetime("us", "UTC"),
                "wear": pl.Float64,
                "signs": pl.Float64,
            }
        )
    wear = np.concatenate([life.wear for life in lives], axis=2)[:, :, :hours]
    signs = np.concatenate([life.signs for life in lives], axis=2)[:, :, :hours]
    instants = pl.datetime_range(
        PLANT_START, PLANT_START + timedelta(hours=hours - 1), "1h", time_unit="us", eager=True
    )
    return pl.concat(
        pl.DataFrame(
            {
                "equipment_id": pl.repeat(machine.equipment_id, hours, eager=True),
                "component": pl.repeat(component.value, hours, eager=True),
                "hour_at": instants,
                "wear": wear[index, COMPONENTS.index(component)],
                "signs": signs[index, COMPONENTS.index(component)],
            }
        )
        for index, machine in enumerate(FLEET)
        for component in machine.model.life_days
    )


def _instant(seconds: int) -> str:
    return (PLANT_START + timedelta(seconds=seconds)).isoformat()
