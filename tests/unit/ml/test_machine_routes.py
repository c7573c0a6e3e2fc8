"""Requests about one machine: its tenant, its clock, and the metric that is meant."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ml.serving import forecast_routes, machine_routes
from ml.serving.forecast_routes import forecast_router, metrics_called


def test_a_name_without_unit_means_the_metric_that_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids that `vibration` is another plant's column, which this machine never fills."""
    measured = [SimpleNamespace(metric=name) for name in ("temperature_c", "vibration_mm_s")]
    monkeypatch.setattr(machine_routes, "plant_now", lambda *_: datetime(2026, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(forecast_routes, "read_machine", lambda *_: None)
    monkeypatch.setattr(forecast_routes, "machine_series", lambda *_: measured)

    found = forecast_routes._series("", "plant", "CNC-A-102", metrics_called("vibration"))

    assert metrics_called("vibration")[0] == "vibration"  # the Azure replay's own
    assert found.metric == "vibration_mm_s"


@pytest.fixture
def api() -> TestClient:
    """The forecast route alone."""
    app = FastAPI()
    app.include_router(forecast_router("postgresql://nowhere"))
    return TestClient(app)


def test_a_tenant_without_data_is_not_found(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a 500 for a tenant that has only been named."""
    monkeypatch.setattr(machine_routes, "plant_now", lambda *_: None)
    body = {"equipment_id": "CNC-A-102", "metric": "temperature", "tenant_id": "nobody"}

    found = api.post("/v1/forecast", json=body)

    assert found.status_code == 404
    assert "Nothing of tenant nobody has landed" in found.json()["detail"]


def test_whose_machines_they_are_is_not_told(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids an error that lists the other tenants."""
    monkeypatch.setattr(machine_routes, "tenants_of_machine", lambda *_: ["mill-one", "mill-two"])

    found = api.post("/v1/forecast", json={"equipment_id": "M1", "metric": "temperature"})

    assert found.status_code == 422
    assert "name tenant_id" in found.text
    assert "mill" not in found.text
