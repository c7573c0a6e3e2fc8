"""The forecast model of a tenant as a registered version: which candidate forecasts which series.

A version holds the winners of the backtest. Weights are solved from a series when it forecasts, so a
version does not age; what it fixes is the choice, and the figures that it was chosen by.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

import numpy as np
import polars as pl
import psycopg

from ml.datasets.warehouse import plant_now, read_history
from ml.forecast.forecast import Forecast, forecast
from ml.forecast.plant_series import HORIZON, MEMORY, SubjectSeries, machine_series, production_series
from ml.forecast.prophet import ProphetCandidate
from ml.forecast.selection import SeriesTooShortError
from ml.registry.client import ModelRegistry, RegisteredVersion, VersionKey
from ml.registry.signal_versions import (
    Bar,
    SignalCandidate,
    SignalOutcome,
    read_file,
    source_digest,
    train_once,
)

MODEL_NAME = "forecast"
CHOICES_FILE = "choices.json"
LARGEST_MAPE = 10.0
# numpy lets go of Python's lock in its products and solves; series are independent.
AT_ONCE = 2


@dataclass(frozen=True)
class SeriesForecast:
    """A series with its forecast."""

    subject: SubjectSeries
    forecast: Forecast


def tenant_series(
    database_url: str, tenant_id: str, as_of: datetime | None = None
) -> tuple[list[SubjectSeries], datetime | None]:
    """Every series of a tenant that is long enough, and the instant that they end at."""
    clock = as_of or plant_now(database_url, tenant_id)
    if clock is None:
        return [], None
    found = read_history(database_url, tenant_id, as_of, since=clock - MEMORY)
    series = list(machine_series(found.history, clock))
    with psycopg.connect(database_url) as connection:
        series += production_series(connection, tenant_id, clock, found.as_of)
    return series, clock


def forecast_all(
    subjects: Iterable[SubjectSeries],
    with_prophet: bool = False,
    choices: Mapping[str, str] | None = None,
) -> list[SeriesForecast]:
    """Forecast many series side by side; one that is too short is left out.

    Args:
        subjects: Series.
        with_prophet: Try Prophet too, on the plants' daily series; it takes seconds per series.
        choices: Candidate by series, as a version holds them; a series without one is chosen for anew.
    """

    def one(subject: SubjectSeries) -> SeriesForecast | None:
        series = subject.series
        only = (choices or {}).get(subject.key)
        tries_prophet = (with_prophet and subject.subject_kind == "plant") or only == "prophet"
        more = (ProphetCandidate(series.start, series.step),) if tries_prophet else ()
        try:
            found = forecast(
                series,
                HORIZON[subject.subject_kind],
                subject.subject_id,
                subject.metric,
                subject.equipment_model,
                more,
                only,
            )
        except SeriesTooShortError:
            return None
        return SeriesForecast(subject, found)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [found for found in pool.map(one, subjects) if found is not None]


def train_forecasts(
    database_url: str,
    registry: ModelRegistry,
    tenant_id: str,
    as_of: datetime | None = None,
    with_prophet: bool = False,
    tags: Mapping[str, str] | None = None,
) -> SignalOutcome:
    """Choose a candidate for every series of a tenant and register the choice as challenger."""
    series, _ = tenant_series(database_url, tenant_id, as_of)
    if not series:
        note = f"no series of {tenant_id} is two weeks long yet"
        return SignalOutcome(tenant_id, MODEL_NAME, None, False, {}, (), note)
    key = VersionKey(
        name=MODEL_NAME,
        tenant_id=tenant_id,
        data_digest=_digest(series),
        code_version=source_digest("forecast"),
        params_hash=f"prophet={with_prophet}",
    )
    return train_once(registry, key, lambda: _candidate(key, forecast_all(series, with_prophet), tags or {}))


def _candidate(
    key: VersionKey, forecasts: Sequence[SeriesForecast], tags: Mapping[str, str]
) -> SignalCandidate:
    rows = [
        {
            "series": found.subject.key,
            "kind": found.subject.subject_kind,
            "metric": found.subject.metric,
            "method": found.forecast.method,
            **vars(found.forecast.selection.judgement),
        }
        for found in forecasts
    ]
    judged = pl.DataFrame(rows, infer_schema_length=None)
    machines = judged.filter(pl.col("kind") == "equipment")

    def mean(name: str) -> float:
        values = machines[name].to_numpy() if machines.height else np.array([np.nan])
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    metrics = {
        "mape_percent": mean("mape_percent"),
        "mase": mean("mase"),
        "coverage_percent": mean("coverage_percent"),
        "series": float(judged.height),
    }
    held = [
        Bar(
            "better_than_seasonal_naive",
            bool(metrics["mase"] < 1.0),
            f"mean MASE {metrics['mase']:.3f} over {machines.height} machine series, below 1 is needed",
        )
    ]
    losses = pl.concat(_losses(found) for found in forecasts)
    return SignalCandidate(
        key=key,
        files={CHOICES_FILE: json.dumps({row["series"]: row["method"] for row in rows}, indent=1)},
        params={"series": judged.height, "horizons": json.dumps(HORIZON)},
        metrics=metrics,
        losses=losses,
        card=_card(key.tenant_id, judged, held),
        bars=held,
        tags=tags,
    )


def _losses(found: SeriesForecast) -> pl.DataFrame:
    series = found.subject.series
    seconds = series.step.total_seconds()
    judged = found.forecast.selection.judged
    return judged.select(
        pl.lit(found.subject.key).alias("subject"),
        (pl.lit(series.start) + pl.duration(seconds=pl.col("step") * seconds)).alias("at"),
        "loss",
    )


def load_choices(registry: ModelRegistry, version: RegisteredVersion) -> dict[str, str]:
    """Candidate by series."""
    return json.loads(read_file(registry, version, CHOICES_FILE))


def _card(tenant_id: str, judged: pl.DataFrame, held: Sequence[Bar]) -> str:
    by_metric = (
        judged.group_by("kind", "metric", maintain_order=True)
        .agg(
            pl.len().alias("series"),
            pl.col("method").mode().first(),
            pl.col("mape_percent", "mase", "coverage_percent").fill_nan(None).mean(),
            (pl.col("mse").sum() / pl.col("mse_of_naive").sum()).alias("mse_ratio"),
        )
        .iter_rows()
    )
    lines = [
        f"# Forecast model of {tenant_id}",
        "",
        "The candidate of each series won a rolling-origin backtest; the figures are from later origins than "
        "those that chose. MAPE counts steps in which the machine ran.",
        "",
        "| of | metric | series | most chosen | MAPE % | MASE | coverage % (90 nominal) | MSE / last value |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in by_metric:
        cells = [f"{cell:.2f}" if isinstance(cell, float) else str(cell or "") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {bar.words}: {'held' if bar.is_held else 'not held'}" for bar in held)]
    lines += [
        "",
        "Limits: an unplanned stop is not foreseen; the forecast says what the metric will be if the machine "
        "runs as planned at that hour of its week.",
    ]
    return "\n".join(lines)


def _digest(series: Sequence[SubjectSeries]) -> str:
    digest = blake2b(digest_size=16)
    for subject in series:
        digest.update(f"{subject.key} {subject.series.start.isoformat()}".encode())
        digest.update(np.round(subject.series.values, 6).astype("<f4").tobytes())
    return digest.hexdigest()
