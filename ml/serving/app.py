"""The stand-alone inference application: a plain artefact folder behind `/predict`, `/metrics`, `/health`.

Run it with `uvicorn --factory ml.serving.app:create_app --port 8080`. The API on port 8000 mounts the same
router over the registry's champions instead.
"""

import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from ml.drift.webhook import DriftWebhook
from ml.serving.folder import FolderModels
from ml.serving.metrics import InferenceMetrics
from ml.serving.routes import inference_router
from ml.serving.service import InferenceService, log_calls_to_stdout
from ml.serving.settings import ServingSettings


def create_app(settings: ServingSettings | None = None) -> FastAPI:
    """The application over one folder.

    Raises:
        UnreadableModelError: There is no model, or it is a pickle and pickles are not allowed.
        WebhookRequiredError: REQUIRE_WEBHOOK is true without DRIFT_WEBHOOK.
    """
    given = settings or ServingSettings()
    webhook = DriftWebhook.from_settings(given.drift_webhook, given.require_webhook)
    models = FolderModels(given.model_path, given.baseline_path, given.expectations_path, given.allow_pickle)
    service = InferenceService(models, InferenceMetrics.on(CollectorRegistry()), webhook)
    log_calls_to_stdout()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        # Libraries and model stay for good: without this a full collection stops every request for 50 ms.
        gc.collect()
        gc.freeze()
        models.watch(given.reload_seconds)
        yield
        models.close()
        service.close()

    app = FastAPI(title="opsgraph inference", lifespan=lifespan)
    app.include_router(inference_router(lambda: service))

    @app.get("/health", summary="Readiness", tags=["service"])
    async def health() -> dict[str, str]:
        """Ready as soon as it answers: without a model the application does not start."""
        found = models.get(None, None)
        return {"status": "ready", "model": found.name, "model_version": found.version}

    assert health  # registered by its decorator
    return app
