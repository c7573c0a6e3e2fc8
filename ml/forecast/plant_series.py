"""Series of a tenant from the warehouse: hourly metrics of machines, daily production of plants.

Add a production metric in `PRODUCTION`. Avoid forecasting here.
"""

# The Arrow driver has no stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import polars as pl
import psycopg

from ml.features.history import PlantHistory
from ml.forecast.series import DAY, HOUR, Series, regular

SubjectKind = Literal["equipment", "plant"]
# Thirteen weeks: enough for a weekly rhythm, and a machine's older behaviour is no guide.
MEMORY = timedelta(days=91)
LEAST_STEPS = {"equipment": 14 * 24, "plant": 28}
# A sensor that was silent for a day is a fault to be found, not a metric to be forecast.
MOST_SILENT_STEPS = 24
HORIZON = {"equipment": 24, "plant": 7}
STEP = {"equipment": HOUR, "plant": DAY}

# Daily sums per plant. The last day is left out: it is not over yet.
PRODUCTION = """
select
    equipment.plant_id,
    production.produced_on,
    sum(production.produced_units)::double precision as throughput_units,
    100.0 * sum(production.defective_units)::double precision
        / nullif(sum(production.inspected_units), 0)::double precision as defect_rate_percent
from marts.fact_production_metrics as production
inner join marts.dim_equipment as equipment using (tenant_id, equipment_id)
where production.tenant_id = %s and production.known_at <= %s and production.produced_on < %s::date
group by equipment.plant_id, production.produced_on
having sum(production.produced_units) is not null
order by equipment.plant_id, production.produced_on
"""
PRODUCTION_METRICS = ("throughput_units", "defect_rate_percent")


@dataclass(frozen=True)
class SubjectSeries:
    """A series and what it is of."""

    subject_kind: SubjectKind
    subject_id: str
    metric: str
    equipment_model: str
    series: Series

    @property
    def key(self) -> str:
        """Kind, subject and metric as one text."""
        return f"{self.subject_kind}/{self.subject_id}/{self.metric}"


def machine_series(history: PlantHistory, clock: datetime) -> Iterator[SubjectSeries]:
    """Every metric that a machine measures, hours until the clock, outside incident values.

    An hour in an incident of the calendar counts as a gap, so that nothing learns from it.
    """
    from ml.datasets.labels import in_incidents

    hours = history.metrics.filter((pl.col("hour_at") <= clock) & (pl.col("hour_at") > clock - MEMORY)).sort(
        "equipment_id", "hour_at"
    )
    excluded = in_incidents(hours.select("equipment_id", "hour_at"), history.incidents)
    models = dict(history.equipment.select("equipment_id", "equipment_model").iter_rows())
    columns = [name for name in hours.columns if name.endswith("_mean")]
    hours = hours.with_columns(pl.when(~excluded).then(pl.col(name)).alias(name) for name in columns)
    for (equipment_id,), rows in hours.group_by("equipment_id", maintain_order=True):
        for name in columns:
            series = regular(rows["hour_at"], rows[name], HOUR, until=clock)
            if series is None or not series.is_observed[-MOST_SILENT_STEPS:].any():
                continue
            if len(series) >= LEAST_STEPS["equipment"]:
                machine = str(equipment_id)
                metric = name.removesuffix("_mean")
                yield SubjectSeries("equipment", machine, metric, models.get(machine) or "", series)


def production_series(
    connection: psycopg.Connection, tenant_id: str, clock: datetime, known_by: datetime
) -> Iterator[SubjectSeries]:
    """Daily throughput and defect rate of each plant, until the day before the clock's."""
    rows = connection.execute(PRODUCTION, (tenant_id, known_by, clock)).fetchall()
    frame = pl.DataFrame(
        rows, schema=["plant_id", "produced_on", *PRODUCTION_METRICS], orient="row", infer_schema_length=None
    )
    for (plant_id,), days in frame.group_by("plant_id", maintain_order=True):
        instants = days["produced_on"].cast(pl.Datetime("us", "UTC"))
        for metric in PRODUCTION_METRICS:
            series = regular(instants, days[metric], DAY)
            if series is not None and len(series) >= LEAST_STEPS["plant"]:
                yield SubjectSeries("plant", str(plant_id), metric, "", series)
