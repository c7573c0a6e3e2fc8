"""A tenant's inspections with how each lot was made: the rows that the quality model learns from.

Add an input in `FEATURES`' sources. Avoid readings of a standing machine: parts are made while it runs.
"""

# The Arrow driver has no stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from adbc_driver_postgresql import dbapi
from numpy.typing import NDArray
from psycopg import sql

from ml.features.metrics import contract_metrics

CLASSES = ("Good Quality", "Minor Defect", "Major Defect", "Reject")
# A lot is inspected when it is finished; what the machine showed longer before made another lot.
PERIOD = timedelta(hours=2)
# A machine draws a tenth of its power while it stands ready; a sixth is above that and below any load.
RUNNING_SHARE = 0.15
POWER = "power_kw"
CONDITIONS = ("ambient_temperature_c", "humidity_percent", "operator_experience_years", "run_s")


@dataclass(frozen=True)
class Inspections:
    """Inspected lots, in the order of their inspection.

    Attributes:
        keys: `inspection_id`, `equipment_id`, `event_at`, `quality_class`.
        values: Shape (lots, features), NaN where something was not measured.
        labels: Class of each lot, as index into `CLASSES`.
        features: Names of the columns.
    """

    keys: pl.DataFrame
    values: NDArray[np.float32]
    labels: NDArray[np.int64]
    features: tuple[str, ...]


def read_inspections(database_url: str, tenant_id: str, as_of: datetime | None = None) -> Inspections:
    """Read a tenant's inspections and the readings of the two hours before each.

    Args:
        database_url: The opsgraph database.
        tenant_id: Whose inspections.
        as_of: What became known after it is left out.
    """
    known = sql.SQL("") if as_of is None else sql.SQL(" and known_at <= {}").format(sql.Literal(as_of))
    metrics = [metric.name for metric in contract_metrics()]
    queries = {
        "lots": sql.SQL(
            "select inspection_id, quality.equipment_id, event_at, quality_class, material_grade,"
            " coalesce(equipment.equipment_model, '') as equipment_model,"
            " {conditions} from marts.fact_quality_inspections as quality"
            " left join marts.dim_equipment as equipment using (tenant_id, equipment_id)"
            " where tenant_id = {tenant}{known}"
        ).format(
            conditions=sql.SQL(", ").join(
                sql.SQL("{}::double precision").format(sql.Identifier(name)) for name in CONDITIONS
            ),
            tenant=sql.Literal(tenant_id),
            known=known,
        ),
        "readings": sql.SQL(
            "select equipment_id, event_at, {metrics} from marts.fact_sensor_readings"
            " where tenant_id = {tenant}{known} and equipment_id in"
            " (select distinct equipment_id from marts.fact_quality_inspections where tenant_id = {tenant})"
        ).format(
            metrics=sql.SQL(", ").join(map(sql.Identifier, metrics)),
            tenant=sql.Literal(tenant_id),
            known=known,
        ),
    }
    with dbapi.connect(database_url) as connection, connection.cursor() as cursor:
        frames: dict[str, pl.DataFrame] = {}
        for name, query in queries.items():
            cursor.execute(query.as_string())
            found = pl.from_arrow(cursor.fetch_arrow_table())
            assert isinstance(found, pl.DataFrame)
            frames[name] = found
    return inspections_of(frames["lots"], frames["readings"])


def inspections_of(lots: pl.DataFrame, readings: pl.DataFrame) -> Inspections:
    """Join each lot with the mean of its machine's running readings.

    Args:
        lots: Inspections with class, material, model and conditions.
        readings: `equipment_id`, `event_at` and metrics.
    """
    lots = lots.filter(pl.col("quality_class").is_in(CLASSES)).sort("event_at", "inspection_id")
    metrics = [
        name
        for name in readings.columns
        if name not in ("equipment_id", "event_at") and readings[name].null_count() < readings.height
    ]
    frame = lots.join(_while_made(lots, readings, metrics), on="inspection_id", how="left")
    levels = [
        (pl.col(metric) / pl.col(metric).median().over("equipment_model")).alias(f"{metric}_of_model")
        for metric in metrics
    ]
    grades = sorted(frame["material_grade"].drop_nulls().unique().to_list())
    models = sorted(frame["equipment_model"].unique().to_list())
    inputs = frame.select(
        *metrics,
        *levels,
        *(f"{metric}_max" for metric in metrics),
        "running_readings",
        *CONDITIONS,
        *(
            (pl.col("material_grade") == grade).cast(pl.Float64).alias(f"material_{grade}")
            for grade in grades
        ),
        *((pl.col("equipment_model") == model).cast(pl.Float64).alias(f"model_{model}") for model in models),
    )
    labels = lots["quality_class"].replace_strict(
        {name: index for index, name in enumerate(CLASSES)}, return_dtype=pl.Int64
    )
    return Inspections(
        keys=lots.select("inspection_id", "equipment_id", "event_at", "quality_class"),
        values=inputs.cast(pl.Float32).to_numpy(),
        labels=labels.to_numpy(),
        features=tuple(inputs.columns),
    )


def _while_made(lots: pl.DataFrame, readings: pl.DataFrame, metrics: list[str]) -> pl.DataFrame:
    running = readings
    if POWER in metrics:
        usual = pl.col(POWER).quantile(0.9).over("equipment_id")
        running = readings.filter(pl.col(POWER) > RUNNING_SHARE * usual)
    finished = lots.select("equipment_id", "inspection_id", pl.col("event_at").alias("finished_at"))
    made = running.sort("event_at").join_asof(
        finished.sort("finished_at"),
        left_on="event_at",
        right_on="finished_at",
        by="equipment_id",
        strategy="forward",
        tolerance=PERIOD,
        check_sortedness=False,
    )
    return (
        made.drop_nulls("inspection_id")
        .group_by("inspection_id")
        .agg(
            *(pl.col(metric).mean() for metric in metrics),
            *(pl.col(metric).max().alias(f"{metric}_max") for metric in metrics),
            pl.len().cast(pl.Float64).alias("running_readings"),
        )
    )
