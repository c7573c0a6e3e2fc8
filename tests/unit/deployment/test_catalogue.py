"""Which services the stack starts, and in which order."""

from pathlib import Path

import pytest

from deployment.embedded.catalogue import embedded_services, external_services
from orchestration.environment import Environment

EVERY_SERVICE = {
    "postgres",
    "kafka",
    "mlflow",
    "dagster-code",
    "dagster-webserver",
    "dagster-daemon",
    "api",
    "log-windows",
    "incidents",
}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(state_dir=tmp_path, postgres_port=15432, kafka_port=19092, mlflow_port=15000)


def test_everything_is_embedded_by_default(environment: Environment) -> None:
    """Forbids a service that is forgotten, or started twice."""
    names = [service.name for service in embedded_services(environment)]
    assert sorted(names) == sorted(EVERY_SERVICE)


@pytest.mark.parametrize(
    ("setting", "url", "name"),
    [
        ("database_url_setting", "postgresql://u@db:5432/opsgraph", "postgres"),
        ("kafka_bootstrap_servers_setting", "broker:9092", "kafka"),
        ("mlflow_tracking_uri_setting", "https://mlflow.example", "mlflow"),
    ],
)
def test_external_service_is_probed_and_not_started(
    environment: Environment, setting: str, url: str, name: str
) -> None:
    """Forbids an embedded service beside the external one that the settings name."""
    moved = environment.model_copy(update={setting: url})
    assert {service.name for service in embedded_services(moved)} == EVERY_SERVICE - {name}
    assert [(place.name, place.url) for place in external_services(moved)] == [(name, url)]


def test_starts_after_and_stops_before_what_it_needs(environment: Environment) -> None:
    """Forbids a web UI that starts without its code server, and a database that stops under a client."""
    services = {service.name: service for service in embedded_services(environment)}
    needs = [
        ("kafka", "postgres"),
        ("mlflow", "postgres"),
        ("dagster-code", "postgres"),
        ("dagster-webserver", "dagster-code"),
        ("dagster-daemon", "dagster-code"),
        ("api", "mlflow"),
        ("api", "kafka"),
    ]
    for client, server in needs:
        assert services[client].start_order > services[server].start_order, (client, server)
    for client, server in [*needs, ("dagster-code", "kafka"), ("mlflow", "kafka")]:
        if client != "kafka":
            assert services[client].stop_order < services[server].stop_order, (client, server)


def test_nobody_waits_for_the_watchers(environment: Environment) -> None:
    """Forbids an `up` that takes longer for services that a person does not need first, or that race it."""
    watchers = [service for service in embedded_services(environment) if not service.is_waited_for]
    assert [service.name for service in watchers] == ["log-windows", "incidents"]
    assert all(service.niceness > 0 and service.stop_order == 0 for service in watchers)


def test_ports_come_from_the_settings(environment: Environment) -> None:
    """Forbids two services on one port, and a default port where the settings name another."""
    ports = [port.number for service in embedded_services(environment) for port in service.ports]
    assert len(ports) == len(set(ports))
    assert {15432, 19092, 19093, 15000} <= set(ports)
    assert not {54329, 9092, 5000} & set(ports)
