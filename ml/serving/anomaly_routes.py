"""`POST /v1/anomaly`: the score of one machine's hour, row by row, equal to what the batch writes for it.

The hour is the last one landed, or one that the caller sends before it has. A machine's model is fitted on
the way as the batch fits it (normal hours until two weeks before the plant clock) and kept for that hour.
"""

import threading
from collections import OrderedDict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import psycopg
from fastapi import APIRouter, HTTPException
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ml.anomaly.machine_model import MachineModel
from ml.anomaly.machine_rows import MachineRows, machine_rows
from ml.anomaly.model_version import MODEL_NAME, load_choices
from ml.anomaly.scoring import LOOK_BACK, fit_until, score_hour
from ml.datasets.warehouse import WarehouseNotBuiltError, read_machine
from ml.features.history import HOUR
from ml.registry.client import ModelRegistry
from ml.registry.promotions import serving
from ml.serving.machine_routes import one_tenant, plant_clock

_EVER = datetime(1970, 1, 1, tzinfo=UTC)
# Fitted machines in memory, the least recently asked for leave first; each is some hundred kB.
MOST_KEPT = 256
_Key = tuple[str, str, str, datetime]
_Machine = tuple[MachineRows, MachineModel]


class AnomalyRequest(BaseModel):
    """Which machine; and its next hour, where it has not landed yet."""

    equipment_id: str = Field(examples=["CNC-A-102"])
    tenant_id: str | None = Field(default=None, description="Needed where two plants use the same id.")
    hour_at: AwareDatetime | None = Field(
        default=None,
        description="End of the hour to score; the last landed one by default.",
    )
    readings: dict[str, float] | None = Field(
        default=None,
        description="Hourly means by metric of an hour that has not landed; else a landed one is scored.",
        examples=[{"temperature_c": 71.5, "vibration_mm_s": 2.1}],
    )


class AnomalyResponse(BaseModel):
    """Score of one hour, with what it rests on."""

    model_config = ConfigDict(protected_namespaces=())

    equipment_id: str
    tenant_id: str
    hour_at: datetime
    anomaly_score: float
    is_anomalous: bool
    threshold: float
    contributing_sensors: dict[str, float]
    detector: str
    model: str
    model_version: str


class _Fitted:
    """Machines' rows and models of the last hours asked for, by tenant, machine, version and instant."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, _Machine] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _Key) -> _Machine | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: _Key, found: _Machine) -> None:
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)


def anomaly_router(database_url: str, tracking_uri: str, data_delay: timedelta = timedelta(0)) -> APIRouter:
    """The route over the warehouse and the registry's detectors, `data_delay` behind the plant clock."""
    router = APIRouter(tags=["inference"])
    fitted, methods = _Fitted(), dict[tuple[str, str], dict[str, str]]()

    def machine(tenant_id: str, equipment_id: str, version: str) -> _Machine:
        instant = plant_clock(database_url, tenant_id) - data_delay
        key = (tenant_id, equipment_id, version, instant)
        found = fitted.get(key)
        if found is None:
            if (tenant_id, version) not in methods:
                methods[tenant_id, version] = _detectors(tracking_uri, tenant_id)
            history = read_machine(database_url, tenant_id, equipment_id, _EVER)
            rows = next(iter(machine_rows(history)), None)
            model = None if rows is None else fit_until(rows, methods[tenant_id, version], instant)
            if rows is None or model is None:
                raise HTTPException(
                    404,
                    f"{equipment_id} of tenant {tenant_id} has not yet two weeks of normal hours before "
                    f"{instant - LOOK_BACK:%Y-%m-%d %H:%M} UTC, so nothing tells what is normal for it.",
                )
            # The hour that still runs is scored when it is over, as in the batch.
            found = (_until(rows, instant), model)
            fitted.put(key, found)
        return found

    @router.post("/v1/anomaly", summary="Anomaly score of a machine's hour", operation_id="score_anomaly")
    def score_anomaly(request: AnomalyRequest) -> AnomalyResponse:
        """Score an hour that landed, or the next one as it is sent."""
        try:
            tenant_id = request.tenant_id or one_tenant(database_url, request.equipment_id)
            version = _version(database_url, tenant_id)
            rows, model = machine(tenant_id, request.equipment_id, version)
        except WarehouseNotBuiltError as error:
            raise HTTPException(503, str(error)) from error
        rows, index = _hour(rows, request)
        said = score_hour(rows, model, index)
        if np.isnan(said.score):
            raise HTTPException(404, f"Fewer than {model.context} hours stand before this one: no score.")
        return AnomalyResponse(
            equipment_id=request.equipment_id,
            tenant_id=tenant_id,
            hour_at=said.hour_at,
            anomaly_score=said.score,
            is_anomalous=said.is_anomalous,
            threshold=0.5,
            contributing_sensors=dict(said.shares),
            detector=model.method,
            model=MODEL_NAME,
            model_version=version,
        )

    assert score_anomaly  # registered by its decorator
    return router


def _until(rows: MachineRows, instant: datetime) -> MachineRows:
    kept = int((rows.hour_at <= instant).sum())
    return replace(
        rows,
        hour_at=rows.hour_at[:kept],
        readings=rows.readings[:kept],
        is_normal=rows.is_normal[:kept],
    )


def _hour(rows: MachineRows, request: AnomalyRequest) -> tuple[MachineRows, int]:
    """The rows with the hour to score, and its place."""
    last: datetime = rows.hour_at[-1]
    if request.readings is None:
        wanted = request.hour_at or last
        place = rows.hour_at.search_sorted(wanted)
        if place >= len(rows.hour_at) or rows.hour_at[place] != wanted:
            raise HTTPException(
                404,
                f"{request.equipment_id} has no complete hour that ends at {wanted:%Y-%m-%d %H:%M} UTC; "
                f"the last one ends at {last:%Y-%m-%d %H:%M}.",
            )
        return rows, int(place)
    missing = [name for name in rows.metrics if name not in request.readings]
    if missing:
        raise HTTPException(422, f"readings lack {', '.join(missing)}: this machine usually has them.")
    hour_at = request.hour_at or last + HOUR
    if hour_at <= last:
        raise HTTPException(
            422, f"hour_at {hour_at:%Y-%m-%d %H:%M} has landed already: leave readings out to score it."
        )
    sent = np.array([[request.readings[name] for name in rows.metrics]])
    return replace(
        rows,
        hour_at=rows.hour_at.clone().append(pl.Series([hour_at]).cast(rows.hour_at.dtype)),
        readings=np.concatenate([rows.readings, sent]),
        is_normal=np.append(rows.is_normal, True),
    ), len(rows.readings)


def _version(database_url: str, tenant_id: str) -> str:
    with psycopg.connect(database_url) as connection:
        for row in serving(connection):
            if (row.tenant_id, row.model_name) == (tenant_id, MODEL_NAME):
                return row.model_version
    raise HTTPException(
        503,
        f"Tenant {tenant_id} has no champion of {MODEL_NAME}. Materialize model/anomaly, then "
        "model/signal_promotions.",
    )


def _detectors(tracking_uri: str, tenant_id: str) -> dict[str, str]:
    registry = ModelRegistry(tracking_uri)
    champion = registry.by_alias(MODEL_NAME, "champion", tenant_id)
    if champion is None:
        raise HTTPException(503, f"MLflow knows no champion of {MODEL_NAME} for tenant {tenant_id}.")
    return load_choices(registry, champion)
