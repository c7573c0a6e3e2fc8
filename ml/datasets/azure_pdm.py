"""Azure predictive-maintenance files as a plant's history: to judge models without a warehouse.

Any folder of this form is read; no machine, date or label of a known set is named here. Telemetry files
may hold case-control windows: hours that were picked because a failure followed. Those are marked,
so that no base rate, and no test, is ever taken from them.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ml.datasets.tables import TableFormatError, instants, read_table
from ml.features.history import EQUIPMENT_SCHEMA, EVENT_SCHEMA, INCIDENT_SCHEMA, INSTANT, PlantHistory

METRICS = ("volt", "rotate", "pressure", "vibration")


class AzurePdmFormatError(ValueError):
    """The folder does not hold the files of this form; the message names what is missing."""


@dataclass(frozen=True)
class AzurePdm:
    """The replay period, which is tested on, and what else was recorded, which is only trained on.

    Attributes:
        replay: Unbroken telemetry with all its events.
        elsewhere: Case-control telemetry of machines that the replay does not have; None without it.
    """

    replay: PlantHistory
    elsewhere: PlantHistory | None


def read_azure_pdm(folder: Path, tenant_id: str = "azure-pdm") -> AzurePdm:
    """Read a folder of `PdM_*.csv` or `PdM_*.csv.gz` files.

    Args:
        folder: Holds `PdM_machines`, `PdM_errors`, `PdM_maint`, `PdM_failures` and `PdM_telemetry*`.
            A telemetry file with a `source` column has case-control windows.
        tenant_id: Tenant of the histories.

    Raises:
        AzurePdmFormatError: A file is missing.
    """
    telemetry = [_read(path) for path in sorted(folder.glob("PdM_telemetry*.csv*"))]
    plain = [frame for frame in telemetry if "source" not in frame.columns]
    windows = [frame for frame in telemetry if "source" in frame.columns]
    if not plain:
        raise AzurePdmFormatError(
            f"{folder} has no unbroken telemetry: a PdM_telemetry*.csv file without a `source` column."
        )
    columns = ["datetime", "machineID", *METRICS]
    hours = pl.concat([frame.select(columns) for frame in plain]).unique(["machineID", "datetime"])
    replay = _history(folder, tenant_id, hours)
    if not windows:
        return AzurePdm(replay=replay, elsewhere=None)
    tested = hours["machineID"].unique()
    others = pl.concat([frame.select(columns) for frame in windows]).unique(["machineID", "datetime"])
    others = others.filter(~pl.col("machineID").is_in(tested.implode()))
    return AzurePdm(replay=replay, elsewhere=_history(folder, tenant_id, others) if others.height else None)


def _history(folder: Path, tenant_id: str, telemetry: pl.DataFrame) -> PlantHistory:
    machines = telemetry["machineID"].unique()
    end = telemetry["datetime"].max()
    equipment_id = pl.format(f"{tenant_id}-{{}}", pl.col("machineID").cast(pl.String).str.zfill(3))
    hours = telemetry.select(
        equipment_id.alias("equipment_id"),
        pl.col("datetime").alias("hour_at"),
        pl.col("datetime").alias("known_at"),
        *(
            pl.col(metric).alias(f"{metric}_{statistic}")
            for metric in METRICS
            for statistic in ("mean", "min", "max")
        ),
    ).sort("equipment_id", "hour_at")

    def of(name: str, event_type: str, code: str) -> pl.DataFrame:
        found = _read(_find(folder, name)).filter(
            pl.col("machineID").is_in(machines.implode()) & (pl.col("datetime") <= end)
        )
        return found.select(
            equipment_id.alias("equipment_id"),
            pl.col("datetime").alias("event_at"),
            pl.lit(event_type).alias("event_type"),
            pl.col(code).alias("code"),
            pl.col("datetime").alias("known_at"),
        )

    events = pl.concat(
        [
            of("PdM_errors", "error", "errorID"),
            of("PdM_maint", "component_replacement", "comp"),
            of("PdM_failures", "failure", "failure"),
        ]
    ).sort("equipment_id", "event_at")
    equipment = (
        _read(_find(folder, "PdM_machines"))
        .filter(pl.col("machineID").is_in(machines.implode()))
        .select(
            equipment_id.alias("equipment_id"),
            pl.col("model").alias("equipment_model"),
            pl.col("age").cast(pl.Float64).alias("age_years"),
        )
    )
    return PlantHistory(
        tenant_id=tenant_id,
        metrics=hours,
        events=events.cast(EVENT_SCHEMA),
        equipment=equipment.cast(EQUIPMENT_SCHEMA),
        incidents=pl.DataFrame(schema=INCIDENT_SCHEMA),
    )


def _find(folder: Path, name: str) -> Path:
    for suffix in (".csv.gz", ".csv"):
        if (folder / f"{name}{suffix}").exists():
            return folder / f"{name}{suffix}"
    raise AzurePdmFormatError(f"{folder} has no {name}.csv or {name}.csv.gz")


def _read(path: Path) -> pl.DataFrame:
    try:
        frame = read_table(path)
        if "datetime" not in frame.columns:
            return frame
        at = instants(path, frame["datetime"], ("%Y-%m-%d %H:%M:%S",)).dt.replace_time_zone("UTC")
    except TableFormatError as error:
        raise AzurePdmFormatError(str(error)) from error
    return frame.with_columns(at.cast(INSTANT))
