"""`POST /v1/predict`: one machine by its id, with features made from the warehouse on the way."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from ml.datasets.warehouse import WarehouseNotBuiltError, plant_now, read_machine, tenants_of_machine
from ml.models.horizons import HORIZONS, Horizon
from ml.predictions.batch import earliest_hour, predict_latest
from ml.serving.loaded import FailureScores, NotServedError
from ml.serving.service import InferenceService


class MachineRequest(BaseModel):
    """Which machine, and how far ahead."""

    equipment_id: str = Field(examples=["CNC-A-102"])
    prediction_type: Literal["failure_risk"] = "failure_risk"
    time_horizon: str = Field(default="7_days", examples=["7_days", "24_hours"])
    tenant_id: str | None = Field(default=None, description="Needed where two plants use the same id.")


class MachineResponse(BaseModel):
    """The mission's answer, with the version and the instant behind it."""

    model_config = ConfigDict(protected_namespaces=())

    failure_probability: float
    risk_level: str
    contributing_factors: list[str]
    recommended_action: str
    is_alert: bool
    equipment_id: str
    tenant_id: str
    horizon_hours: int
    as_of: datetime
    model: str
    model_version: str


def machine_router(
    service: Callable[[], InferenceService], database_url: str, data_delay: timedelta = timedelta(0)
) -> APIRouter:
    """The route over the service's champions and the warehouse, `data_delay` behind the plant clock."""
    router = APIRouter(tags=["inference"])

    @router.post("/v1/predict", summary="Failure risk of a machine", operation_id="predict_machine")
    def predict_machine(
        request: MachineRequest, served: Annotated[InferenceService, Depends(service)]
    ) -> MachineResponse:
        """Score a machine at its plant's clock, with reasons and advice."""
        horizon = _horizon(request.time_horizon)
        try:
            tenant_id = request.tenant_id or one_tenant(database_url, request.equipment_id)
            loaded = served.models.get(tenant_id, horizon.model_name)
            as_of = plant_clock(database_url, tenant_id) - data_delay
            found = read_machine(database_url, tenant_id, request.equipment_id, earliest_hour([as_of]))
        except (NotServedError, WarehouseNotBuiltError) as error:
            raise HTTPException(503, str(error)) from error
        assert isinstance(loaded.predictor, FailureScores)  # the registry holds nothing else
        predictions = predict_latest(found, loaded.predictor.model, as_of)
        if not predictions:
            raise HTTPException(
                404,
                f"{request.equipment_id} of tenant {tenant_id} sent nothing in the 24 h before "
                f"{as_of:%Y-%m-%d %H:%M} UTC, so nothing can be said about it now.",
            )
        said = predictions[0]
        return MachineResponse(
            failure_probability=said.failure_probability,
            risk_level=said.risk_level.value,
            contributing_factors=list(said.contributing_factors),
            recommended_action=said.recommended_action,
            is_alert=said.is_alert,
            equipment_id=said.equipment_id,
            tenant_id=tenant_id,
            horizon_hours=horizon.hours,
            as_of=said.as_of,
            model=loaded.name,
            model_version=loaded.version,
        )

    return router


def parse_horizon_hours(text: str) -> int | None:
    """Hours of `7_days` or `24_hours`; None where it is neither.

    >>> parse_horizon_hours("7_days"), parse_horizon_hours("24_hours"), parse_horizon_hours("soon")
    (168, 24, None)
    """
    number, _, unit = text.partition("_")
    factor = {"hour": 1, "hours": 1, "day": 24, "days": 24}.get(unit)
    return int(number) * factor if number.isdecimal() and factor else None


def _horizon(text: str) -> Horizon:
    hours = parse_horizon_hours(text)
    for horizon in HORIZONS:
        if horizon.hours == hours:
            return horizon
    shipped = ", ".join(f"{horizon.hours}_hours" for horizon in HORIZONS)
    raise HTTPException(422, f"time_horizon {text!r} has no model; there are {shipped} (or 7_days).")


def one_tenant(database_url: str, equipment_id: str) -> str:
    """The tenant that has a machine of this id.

    Raises:
        HTTPException: 404 where nobody has it, 422 where several have.
    """
    found = tenants_of_machine(database_url, equipment_id)
    if not found:
        raise HTTPException(404, f"No machine {equipment_id} is known. GET /v1/models lists the tenants.")
    if len(found) > 1:
        # Whose they are is nobody's business who has to ask.
        raise HTTPException(422, f"{len(found)} tenants have a machine {equipment_id}: name tenant_id.")
    return found[0]


def plant_clock(database_url: str, tenant_id: str) -> datetime:
    """The plant clock of a tenant.

    Raises:
        HTTPException: 404 where nothing of the tenant has landed.
    """
    clock = plant_now(database_url, tenant_id)
    if clock is None:
        raise HTTPException(
            404, f"Nothing of tenant {tenant_id} has landed, so nothing can be said about it."
        )
    return clock
