"""`POST /predict`, `GET /metrics`, `GET /v1/models`: the routes that need nothing but a served model."""

import asyncio
from collections.abc import Callable

from fastapi import APIRouter, HTTPException, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field

from ml.serving.loaded import LoadedModel, NotServedError
from ml.serving.service import Answer, InferenceService, InvalidInputsError

# Above this a batch would hold the event loop for more than a few milliseconds.
ROWS_IN_LOOP = 64


class PredictRequest(BaseModel):
    """Rows to predict."""

    model_config = ConfigDict(
        protected_namespaces=(), json_schema_extra={"example": {"inputs": [[5.1, 3.5, 1.4, 0.2]]}}
    )

    inputs: list[list[float | None]] | list[dict[str, float | None]] = Field(
        description="Rows of values in the model's order, or of named features; null is a missing value."
    )
    tenant_id: str | None = Field(default=None, description="Whose model; needed where several are served.")
    model: str | None = Field(default=None, description="Registered model, `failure-24h` without it.")


class PredictResponse(BaseModel):
    """Predictions, the drift of the batch, and the version that answered."""

    model_config = ConfigDict(protected_namespaces=())

    predictions: list[int | float | str]
    drift_detected: bool
    drift_score: float
    probabilities: list[float] = Field(description="Calibrated; empty where the model has none.")
    drift_violations: list[str] = Field(description="Expectations that the batch violates, in words.")
    model: str
    model_version: str


class ServedVersion(BaseModel):
    """One version that serves, with what its input must look like."""

    model: str
    version: str
    tenant_id: str
    features: list[str]


def inference_router(service: Callable[[], InferenceService]) -> APIRouter:
    """The routes over the service that the application holds."""
    router = APIRouter(tags=["inference"])

    @router.post("/predict", summary="Predict rows", operation_id="predict")
    async def predict(request: PredictRequest) -> PredictResponse:
        """Score rows with the version that serves, and judge their drift against its training rows."""
        # Not a dependency of the route: those run in a thread, which costs as much as the prediction.
        served = service()
        try:
            if len(request.inputs) <= ROWS_IN_LOOP:
                return _response(served.predict(request.inputs, request.tenant_id, request.model))
            answer = await asyncio.to_thread(served.predict, request.inputs, request.tenant_id, request.model)
            return _response(answer)
        except NotServedError as error:
            raise HTTPException(503 if not served.models.served() else 404, str(error)) from error
        except InvalidInputsError as error:
            raise HTTPException(422, str(error)) from error

    @router.get("/v1/models", summary="What serves", operation_id="models")
    async def models(tenant_id: str | None = None) -> list[ServedVersion]:
        """Every version that serves, or those of one tenant, with its features in order."""
        served = service().models.served()
        return [_version(found) for found in served if tenant_id in (None, found.tenant_id)]

    @router.get("/metrics", summary="Prometheus metrics", operation_id="metrics", response_class=Response)
    async def metrics() -> Response:
        """Prometheus text."""
        served = service()
        # Aliases move in the background: the gauge is made new so that no old version stays at 1.
        served.metrics.served.clear()
        for found in served.models.served():
            served.metrics.served.labels(found.name, found.version).set(1)
        return Response(generate_latest(served.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _response(answer: Answer) -> PredictResponse:
    return PredictResponse(
        predictions=answer.scores.labels,
        drift_detected=answer.drift.detected,
        drift_score=answer.drift.score,
        probabilities=answer.scores.probabilities,
        drift_violations=list(answer.drift.violations),
        model=answer.model.name,
        model_version=answer.model.version,
    )


def _version(found: LoadedModel) -> ServedVersion:
    return ServedVersion(
        model=found.name, version=found.version, tenant_id=found.tenant_id, features=list(found.columns)
    )
