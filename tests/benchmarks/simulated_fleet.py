"""A made-up fleet with a year of hours, errors, repairs and failures, as a plant's history.

Wear raises one metric before each failure, errors come before some failures and at random: enough structure
that a model has something to learn. Avoid assertions and measurements here.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from ml.features.history import EQUIPMENT_SCHEMA, EVENT_SCHEMA, INCIDENT_SCHEMA, INSTANT, PlantHistory

START = datetime(2025, 1, 1, tzinfo=UTC)
METRICS = ("temperature_c", "vibration_mm_s", "pressure_bar", "rotation_rpm", "power_kw")
USUAL = (60.0, 4.0, 6.0, 1500.0, 30.0)
SPREAD = (2.0, 0.3, 0.2, 30.0, 1.5)
COMPONENTS = ("bearing", "seal", "motor", "gearbox")


def fleet(machines: int = 100, hours: int = 8_760, seed: int = 11) -> PlantHistory:
    """Machines × hours rows; each machine fails about eight times a year."""
    rng = np.random.default_rng(seed)
    names = [f"SIM-{number:03d}" for number in range(machines)]
    events: list[tuple[str, datetime, str, str, datetime]] = []
    frames: list[pl.DataFrame] = []
    at = pl.datetime_range(START, START + timedelta(hours=hours - 1), "1h", time_zone="UTC", eager=True)
    for name in names:
        values = _smooth_noise(rng, hours) * np.asarray(SPREAD) + np.asarray(USUAL)
        for failure in np.cumsum(rng.exponential(1_100, size=30)).astype(int).tolist():
            if not 240 < failure < hours:
                continue
            metric = int(rng.integers(len(METRICS)))
            wear = np.linspace(0.0, 3.5, 96)
            values[failure - 96 : failure, metric] += wear * SPREAD[metric]
            component = COMPONENTS[metric % len(COMPONENTS)]
            events += [_event(name, failure, "failure", component)]
            events += [_event(name, failure + 2, "component_replacement", component)]
            if rng.random() < 0.7:
                events += [_event(name, failure - int(rng.integers(4, 20)), "error", f"E{metric}01")]
        for hour in rng.integers(0, hours, size=15):
            events += [_event(name, int(hour), "error", f"E{int(rng.integers(5))}01")]
        frames.append(_hours(name, at.cast(INSTANT), values))
    return PlantHistory(
        tenant_id="simulated",
        metrics=pl.concat(frames),
        events=pl.DataFrame(events, schema=EVENT_SCHEMA, orient="row").sort("equipment_id", "event_at"),
        equipment=pl.DataFrame(
            [(name, f"model{index % 4}", float(index % 20)) for index, name in enumerate(names)],
            schema=EQUIPMENT_SCHEMA,
            orient="row",
        ),
        incidents=pl.DataFrame(schema=INCIDENT_SCHEMA),
    )


def _smooth_noise(rng: np.random.Generator, hours: int) -> np.ndarray:
    """Noise with a memory of some hours and a daily swing, shape (hours, metrics)."""
    noise = rng.normal(size=(hours, len(METRICS)))
    for hour in range(1, hours):
        noise[hour] += 0.6 * noise[hour - 1]
    day = np.sin(2 * np.pi * np.arange(hours) / 24)
    return 0.8 * noise + 0.3 * day[:, None]


def _hours(name: str, at: pl.Series, values: np.ndarray) -> pl.DataFrame:
    columns = {
        f"{metric}_{statistic}": values[:, index] + offset * SPREAD[index]
        for index, metric in enumerate(METRICS)
        for statistic, offset in (("mean", 0.0), ("min", -1.0), ("max", 1.0))
    }
    return pl.DataFrame({"equipment_id": [name] * len(at), "hour_at": at, "known_at": at, **columns})


def _event(name: str, hour: int, kind: str, code: str) -> tuple[str, datetime, str, str, datetime]:
    instant = START + timedelta(hours=hour)
    return (name, instant, kind, code, instant)
