"""The series that changes are injected into: real ones from public data sets, and one that is drawn.

Spans with known failures near the window are left out, as the incident calendar would. Add a set here
with its reader. Avoid simulating a plant: whoever has a simulator passes its series in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ml.datasets.azure_pdm import read_azure_pdm
from ml.drift.autoregression import coloured
from ml.drift.scenarios.draft import DAYS, WINDOW_DAYS

_AZURE_METRICS = ("volt", "rotate", "pressure", "vibration")
_SKAB_STEPS_PER_DAY = 24
_STANDS_STILL = 6


@dataclass(frozen=True)
class Base:
    """A source of undisturbed spans.

    Attributes:
        name: For reports.
        metrics: Sensor names.
        steps_per_day: Steps in a day.
        draw: From a generator to a span of `DAYS` days, shape (steps, metrics), NaN where silent.
    """

    name: str
    metrics: tuple[str, ...]
    steps_per_day: int
    draw: Callable[[np.random.Generator], np.ndarray]


def drawn_base() -> Base:
    """Four autocorrelated sensors that share a load: needs no data."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        steps = DAYS * 24
        noise = rng.standard_normal((5, steps + 200))
        wander = coloured(0.44 * noise, 0.9)[:, 200:]
        shared = np.array([0.9, 0.7, -0.6, 0.3])
        values = shared[:, None] * wander[0] + np.sqrt(1 - shared**2)[:, None] * wander[1:]
        return (np.array([60.0, 2.0, 180.0, 1500.0]) + values.T * np.array([3.0, 0.2, 6.0, 25.0])).copy()

    return Base("drawn", ("temperature", "vibration", "pressure", "rotation"), 24, draw)


def machine_base(
    name: str, metrics: Sequence[str], machines: Sequence[np.ndarray], failed: Sequence[np.ndarray]
) -> Base:
    """Spans of whole machines.

    Args:
        name: For reports.
        metrics: Sensor names.
        machines: Hourly values of each machine, shape (hours, metrics).
        failed: Hours with a failure of each machine.

    Raises:
        ValueError: No machine has a span without failures around its window.
    """
    hours, window = DAYS * 24, WINDOW_DAYS * 24
    spans = [
        (machine, start)
        for machine, values in enumerate(machines)
        for start in range(0, len(values) - hours + 1, 24)
        if not _is_near(failed[machine], start + hours - window - 24, start + hours + 120)
    ]
    if not spans:
        raise ValueError(
            f"{name}: no span of {DAYS} days without a failure around its last {WINDOW_DAYS} days"
        )

    def draw(rng: np.random.Generator) -> np.ndarray:
        machine, start = spans[int(rng.integers(len(spans)))]
        return machines[machine][start : start + hours].copy()

    return Base(name, tuple(metrics), 24, draw)


def block_base(name: str, metrics: Sequence[str], values: np.ndarray, steps_per_day: int, block: int) -> Base:
    """Spans of real blocks in random order: nothing drifts by construction, all within a block is real.

    For series that wander by season or warm up, where nobody knows which real span is quiet.

    Args:
        name: For reports.
        metrics: Sensor names.
        values: Shape (steps, metrics).
        steps_per_day: Steps that are called a day.
        block: Steps of a block, whole days.
    """
    steps = DAYS * steps_per_day
    # The blocks of one span come from a pool of neighbouring time, about as long as the span.
    pool = min(len(values), 30 * block)

    def draw(rng: np.random.Generator) -> np.ndarray:
        first = int(rng.integers(0, (len(values) - pool) // steps_per_day + 1)) * steps_per_day
        starts = (
            first + rng.integers(0, (pool - block) // steps_per_day + 1, -(-steps // block)) * steps_per_day
        )
        return np.concatenate([values[start : start + block] for start in starts])[:steps].copy()

    return Base(name, tuple(metrics), steps_per_day, draw)


def azure_base(folder: Path) -> Base:
    """Machines of the Azure predictive-maintenance set that report without a gap.

    Args:
        folder: With the set's files, as `read_azure_pdm` takes it.
    """
    history = read_azure_pdm(folder).replay
    failures = history.failures
    machines: list[np.ndarray] = []
    failed: list[np.ndarray] = []
    for (equipment_id,), rows in history.metrics.sort("hour_at").group_by(
        "equipment_id", maintain_order=True
    ):
        if rows.height < DAYS * 24 or rows["hour_at"].diff().drop_nulls().n_unique() != 1:
            continue
        machines.append(rows.select(pl.col(f"{name}_mean") for name in _AZURE_METRICS).to_numpy())
        first = rows["hour_at"][0]
        own = failures.filter(pl.col("equipment_id") == equipment_id)["failure_at"]
        failed.append(((own - first).dt.total_hours()).to_numpy())
    return machine_base("azure", _AZURE_METRICS, machines, failed)


def skab_base(folder: Path) -> Base:
    """The anomaly-free run of the SKAB pump, 24 seconds called a day, in blocks of 2."""
    frame = _read(folder / "anomaly-free", "anomaly-free", ";")
    names = [name for name in frame.columns if name not in ("datetime", "anomaly", "changepoint")]
    values = frame.select(pl.col(names).cast(pl.Float64)).to_numpy()
    return block_base("skab", names, values, _SKAB_STEPS_PER_DAY, 2 * _SKAB_STEPS_PER_DAY)


def ett_base(folder: Path) -> Base:
    """A real transformer (ETT), hourly, in blocks of two days."""
    frame = _read(folder, "ETT", ",")
    names = [name for name in frame.columns if name != "date"]
    values = frame.select(pl.col(names).cast(pl.Float64)).to_numpy()
    days = values[: len(values) // 24 * 24].reshape(-1, 24, len(names))
    # The logger stood still on some days: those are real faults, and here the truth must be known.
    stands = (np.diff(days, axis=1) == 0).sum(axis=1).max(axis=1) >= _STANDS_STILL
    return block_base("ett", names, days[~stands].reshape(-1, len(names)), 24, 2 * 24)


def _read(folder: Path, stem: str, separator: str) -> pl.DataFrame:
    for path in sorted(folder.glob(f"{stem}*.csv*")):
        return pl.read_csv(path, separator=separator)
    raise FileNotFoundError(f"{folder} has no file {stem}*.csv or {stem}*.csv.gz")


def _is_near(failed: np.ndarray, first: int, last: int) -> bool:
    return bool(((failed >= first) & (failed < last)).any())
