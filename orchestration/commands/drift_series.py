"""The simulated plant's series for the scenario bank, and all series that a machine has data for.

`ml` does not know the simulator; the series cross over here as arrays. Avoid changes: the bank injects them.
"""

from pathlib import Path

import numpy as np

from ml.drift.scenarios.bases import Base, azure_base, drawn_base, ett_base, machine_base, skab_base
from ml.drift.scenarios.draft import DAYS
from orchestration.ingest.simulators.clock import SLOTS_PER_HOUR
from orchestration.ingest.simulators.fleet import FLEET, METRICS
from orchestration.ingest.simulators.life import PlantLife
from orchestration.ingest.simulators.signals import readings

# Until early March: later the hall warms up with the season, which is drift and not quiet.
_DAYS_SIMULATED = DAYS + 12
_WEAR_STEP_H = 12


def simulator_base(seed: int) -> Base:
    """Fault-free hourly means of the simulated machines, NaN while they stand failed or in service.

    Args:
        seed: Of the plant; another one has other machines, days and failures.
    """
    life = PlantLife(seed)
    days: list[np.ndarray] = []
    for day in range(_DAYS_SIMULATED):
        today = life.day(day)
        values = readings(seed, life, day)
        values[np.broadcast_to((today.is_failed | today.is_serviced)[:, None], values.shape)] = np.nan
        hours = values.reshape(len(FLEET), len(METRICS), 24, SLOTS_PER_HOUR)
        counted = (~np.isnan(hours)).sum(axis=-1)
        sums = np.where(np.isnan(hours), 0.0, hours).sum(axis=-1)
        days.append(np.where(counted > 0, sums / np.maximum(counted, 1), np.nan))
    whole = np.concatenate(days, axis=2)
    machines = [whole[index].T for index in range(len(FLEET))]
    # A part wears for up to a fortnight before it fails: none of that is quiet.
    failed = [
        np.concatenate(
            [
                np.arange(failure.onset_s // 3600, failure.started_at_s // 3600 + 1, _WEAR_STEP_H)
                for failure in life.failures
                if failure.machine == index
            ]
            or [np.empty(0, dtype=np.int64)]
        )
        for index in range(len(FLEET))
    ]
    return machine_base("simulator", METRICS, machines, failed)


def series_for(data_dir: Path, seed: int) -> list[Base]:
    """Every series that there is: drawn and simulated ones always, public sets where their folder exists."""
    found = [drawn_base(), simulator_base(seed)]
    for folder, read in (("azure_pdm", azure_base), ("skab", skab_base), ("ett", ett_base)):
        if (data_dir / folder).is_dir():
            found.append(read(data_dir / folder))
    return found
