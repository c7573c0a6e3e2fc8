"""The inference service inside the API: the registry's champions behind `/predict` and `/v1/predict`.

Avoid predicting here: that is `ml.serving`, which also runs alone over a plain folder.
"""

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from orchestration.environment import Environment


class Inference:
    """The service of one API process; other routers may put their metrics on its registry."""

    def __init__(self, settings: Environment) -> None:
        from ml.drift.webhook import DriftWebhook
        from ml.models.horizons import HORIZONS
        from ml.serving.champions import ChampionModels
        from ml.serving.metrics import InferenceMetrics
        from ml.serving.service import InferenceService

        names = [horizon.model_name for horizon in HORIZONS]
        webhook = DriftWebhook.from_settings(settings.drift_webhook, settings.require_webhook)
        self.metrics_registry = CollectorRegistry()
        self._database_url = settings.database_url
        self._tracking_uri, self._data_delay = settings.mlflow_tracking_uri, settings.data_delay
        self._champions = ChampionModels(settings.database_url, settings.mlflow_tracking_uri, names)
        self._service = InferenceService(self._champions, InferenceMetrics.on(self.metrics_registry), webhook)

    def mount(self, app: FastAPI) -> None:
        """Add the routes."""
        from ml.serving.anomaly_routes import anomaly_router
        from ml.serving.forecast_routes import forecast_router
        from ml.serving.machine_routes import machine_router
        from ml.serving.routes import inference_router

        app.include_router(inference_router(lambda: self._service))
        app.include_router(machine_router(lambda: self._service, self._database_url, self._data_delay))
        app.include_router(anomaly_router(self._database_url, self._tracking_uri, self._data_delay))
        app.include_router(forecast_router(self._database_url))

    def open(self) -> None:
        """Load the champions in the background, and look for new ones."""
        from ml.serving.service import log_calls_to_stdout

        log_calls_to_stdout()
        self._champions.watch()

    def close(self) -> None:
        """Stop looking; finish what runs behind answers."""
        self._champions.close()
        self._service.close()
