"""A tenant's history from the warehouse, as known at one instant, with the exact queries.

Add a column here when features need it. Avoid computing: windows are `ml.features`, hourly means are dbt.
"""

# The Arrow driver has no stubs; its tables become typed frames in `_fetch`.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, LiteralString

import polars as pl
import psycopg
from adbc_driver_postgresql import dbapi
from psycopg import sql

from ml.datasets.labels import label_hours
from ml.datasets.training_set import Provenance
from ml.features.history import EQUIPMENT_SCHEMA, EVENT_SCHEMA, INCIDENT_SCHEMA, INSTANT, PlantHistory
from ml.features.metrics import contract_metrics
from ml.validation.quarantine import masked, quarantines

SOURCE_TOPICS = ("equipment-sensors", "equipment-status", "maintenance-events")
_LABEL_COLUMN = {24: "is_failure_within_24h", 168: "is_failure_within_168h"}


class WarehouseNotBuiltError(RuntimeError):
    """The tables that models read are not there; the message says what to run."""


@dataclass(frozen=True)
class WarehouseHistory:
    """What was read, and how to read it again.

    Attributes:
        history: Rows known at `as_of`.
        as_of: The instant asked for; without one, when the last row became known.
        provenance: Queries and source vector.
    """

    history: PlantHistory
    as_of: datetime
    provenance: Provenance


def tenants(database_url: str) -> list[str]:
    """Tenants with at least one machine-hour, in order.

    Raises:
        WarehouseNotBuiltError: The hourly table does not exist.
    """
    rows = _rows(
        database_url,
        "select distinct tenant_id from intermediate.int_equipment_metrics_hourly order by tenant_id",
    )
    return [str(row[0]) for row in rows]


def plant_now(database_url: str, tenant_id: str) -> datetime | None:
    """The plant clock of a tenant; None before anything landed."""
    rows = _rows(database_url, "select plant_now_at from ops.plant_clock where tenant_id = %s", (tenant_id,))
    return rows[0][0] if rows else None


def tenants_of_machine(database_url: str, equipment_id: str) -> list[str]:
    """Tenants that have a machine of this id, in order."""
    rows = _rows(
        database_url,
        "select tenant_id from marts.dim_equipment where equipment_id = %s order by tenant_id",
        (equipment_id,),
    )
    return [str(row[0]) for row in rows]


def read_machine(database_url: str, tenant_id: str, equipment_id: str, since: datetime) -> PlantHistory:
    """All that is known of one machine since an instant, sensors in quarantine masked: for one answer.

    Raises:
        WarehouseNotBuiltError: A table does not exist.
    """
    known_at = _last_known(database_url, tenant_id)
    history, _ = _read(database_url, tenant_id, known_at, since, equipment_id)
    return _without_quarantined(database_url, history, known_at)


def read_history(
    database_url: str,
    tenant_id: str,
    as_of: datetime | None = None,
    since: datetime | None = None,
    masks_quarantined: bool = True,
) -> WarehouseHistory:
    """Read one tenant's hours, events, machines and incidents.

    Args:
        database_url: `postgresql://…` of the opsgraph database.
        tenant_id: Owner of all rows.
        as_of: What became known after it is left out; everything known by default.
        since: Hours before it are left out (events never are: what was replaced last may be old).
        masks_quarantined: Readings of sensors in quarantine are missing; off for who judges the sensors.

    Raises:
        WarehouseNotBuiltError: A table does not exist.
    """
    known_at = as_of or _last_known(database_url, tenant_id)
    history, queries = _read(database_url, tenant_id, known_at, since)
    if masks_quarantined:
        history = _without_quarantined(database_url, history, known_at)
    provenance = Provenance(
        query=";\n\n".join(queries.values()),
        source_vector=_source_vector(database_url, None if as_of is None else known_at, tenant_id),
    )
    return WarehouseHistory(history, known_at, provenance)


def _without_quarantined(database_url: str, history: PlantHistory, known_at: datetime) -> PlantHistory:
    with psycopg.connect(database_url) as connection:
        out_of_use = quarantines(connection, history.tenant_id, known_at)
    return replace(history, metrics=masked(history.metrics, out_of_use))


def _read(
    database_url: str,
    tenant_id: str,
    known_at: datetime,
    since: datetime | None,
    equipment_id: str | None = None,
) -> tuple[PlantHistory, dict[str, str]]:
    queries = _queries(tenant_id, known_at, since, equipment_id)
    try:
        with dbapi.connect(database_url) as connection, connection.cursor() as cursor:
            frames = {name: _fetch(cursor, query) for name, query in queries.items()}
    except Exception as error:
        if "does not exist" in str(error):
            raise WarehouseNotBuiltError(_not_built(str(error))) from error
        raise
    floats = [name for name in frames["hours"].columns if frames["hours"].schema[name].is_numeric()]
    history = PlantHistory(
        tenant_id=tenant_id,
        metrics=frames["hours"].with_columns(
            pl.col(floats).cast(pl.Float64), pl.col("hour_at", "known_at").cast(INSTANT)
        ),
        events=frames["events"].cast(EVENT_SCHEMA),
        equipment=frames["equipment"].cast(EQUIPMENT_SCHEMA),
        incidents=frames["incidents"].cast(INCIDENT_SCHEMA),
    )
    return history, queries


def label_disagreements(database_url: str, found: WarehouseHistory, horizon: timedelta) -> int:
    """Machine-hours whose label in `int_failure_labels` is another than the one computed here.

    The warehouse labels what is known now; training needs labels as known at T. Both are computed from the
    same failures, so for a history of everything known now they must agree wherever both have a label.
    """
    history, clock = found.history, found.history.clock
    if clock is None:
        return 0
    column = _LABEL_COLUMN[int(horizon / timedelta(hours=1))]
    query = _composed(
        "select equipment_id, hour_at, {column} as in_warehouse from intermediate.int_failure_labels"
        " where tenant_id = {tenant} and {column} is not null",
        column=sql.Identifier(column),
        tenant=sql.Literal(history.tenant_id),
    )
    with dbapi.connect(database_url) as connection, connection.cursor() as cursor:
        stored = _fetch(cursor, query).with_columns(pl.col("hour_at").cast(INSTANT))
    keys = history.metrics.select("equipment_id", "hour_at").sort("equipment_id", "hour_at")
    labels = label_hours(keys, history, horizon, min(clock, found.as_of)).drop_nulls("is_failure")
    both = labels.join(stored, on=["equipment_id", "hour_at"])
    return both.filter(pl.col("is_failure") != pl.col("in_warehouse")).height


def _queries(
    tenant_id: str, known_at: datetime, since: datetime | None, equipment_id: str | None
) -> dict[str, str]:
    tenant, instant = sql.Literal(tenant_id), sql.Literal(known_at.isoformat())
    machine = (
        sql.SQL("")
        if equipment_id is None
        else sql.SQL(" and equipment_id = {}").format(sql.Literal(equipment_id))
    )
    statistics = [
        sql.Identifier(f"{metric.name}_{statistic}")
        for metric in contract_metrics()
        for statistic in ("mean", "min", "max")
    ]
    window = (
        sql.SQL("") if since is None else sql.SQL(" and hour_at >= {}").format(sql.Literal(since.isoformat()))
    )
    return {
        "hours": _composed(
            "select equipment_id, hour_at, known_at, {statistics}"
            " from intermediate.int_equipment_metrics_hourly"
            " where tenant_id = {tenant} and known_at <= {known_at}{window}{machine}",
            statistics=sql.SQL(", ").join(statistics),
            machine=machine,
            tenant=tenant,
            known_at=instant,
            window=window,
        ),
        "events": _composed(
            "select equipment_id, event_at, event_type, code, known_at from marts.fact_equipment_events"
            " where tenant_id = {tenant} and known_at <= {known_at}{machine}",
            machine=machine,
            tenant=tenant,
            known_at=instant,
        ),
        "equipment": _composed(
            "select equipment_id, equipment_model, age_years from marts.dim_equipment"
            " where tenant_id = {tenant}{machine}",
            machine=machine,
            tenant=tenant,
        ),
        "incidents": _composed(
            "select equipment_id, kind, starts_at, ends_at, known_at from ops.incident_calendar"
            " where tenant_id = {tenant} and known_at <= {known_at}",
            tenant=tenant,
            known_at=instant,
        ),
    }


def _last_known(database_url: str, tenant_id: str) -> datetime:
    rows = _rows(
        database_url,
        "select greatest("
        " (select plant_now_at from ops.plant_clock where tenant_id = %(tenant)s),"
        " (select max(known_at) from intermediate.int_equipment_metrics_hourly"
        " where tenant_id = %(tenant)s))",
        {"tenant": tenant_id},
    )
    if rows[0][0] is None:
        raise WarehouseNotBuiltError(_not_built(f"Tenant {tenant_id} has no machine-hours yet."))
    return rows[0][0]


def _source_vector(database_url: str, as_of: datetime | None, tenant_id: str) -> dict[str, int]:
    """Topic/partition → highest offset included.

    The ledger knows it for everything landed. For an earlier instant the rows themselves do, because a
    batch may hold rows on both sides of it.
    """
    if as_of is None:
        rows = _rows(
            database_url,
            "select topic, kafka_partition, max(offset_hi) - 1 from ops.landing_ledger"
            " where topic = any(%s) group by topic, kafka_partition",
            (list(SOURCE_TOPICS),),
        )
        return {f"{topic}/{partition}": int(offset) for topic, partition, offset in sorted(rows)}
    vector: dict[str, int] = {}
    for topic in SOURCE_TOPICS:
        query = _composed(
            "select kafka_partition, max(kafka_offset) from raw.{table}"
            " where tenant_id = {tenant} and known_at <= {known_at} group by kafka_partition",
            table=sql.Identifier(topic.replace("-", "_")),
            tenant=sql.Literal(tenant_id),
            known_at=sql.Literal(as_of.isoformat()),
        )
        vector |= {
            f"{topic}/{partition}": int(offset) for partition, offset in sorted(_rows(database_url, query))
        }
    return vector


def _fetch(cursor: dbapi.Cursor, query: str) -> pl.DataFrame:
    cursor.execute(query)
    found = pl.from_arrow(cursor.fetch_arrow_table())
    assert isinstance(found, pl.DataFrame)
    return found


def _rows(database_url: str, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    try:
        with psycopg.connect(database_url) as connection:
            return connection.execute(query.encode(), parameters).fetchall()
    except psycopg.errors.UndefinedTable as error:
        raise WarehouseNotBuiltError(_not_built(str(error))) from error


def _composed(query: LiteralString, **values: sql.Composable) -> str:
    return sql.SQL(query).format(**values).as_string()


def _not_built(reason: str) -> str:
    return f"{reason.strip()} Land data and build the warehouse first (job `warehouse`, or `make demo`)."
