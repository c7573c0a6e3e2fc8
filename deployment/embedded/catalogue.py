"""The services of the stack: which are embedded and which are external, from the settings alone.

Add a service here in the order in which a person reads them. Avoid how one is run: that stands in its
own module.
"""

from dataclasses import dataclass

from deployment.embedded import api, dagster, kafka, mlflow, postgres, probes, watchers
from deployment.embedded.child_environment import state_dir
from deployment.embedded.service import Service
from orchestration.environment import Environment


@dataclass(frozen=True)
class ExternalService:
    """A service that the settings place elsewhere: it is probed, never started.

    Attributes:
        name: The name that the embedded one would have.
        url: Where it is.
        variable: The setting that placed it there.
    """

    name: str
    url: str
    variable: str

    def is_ready(self) -> bool:
        """Whether it answers its own protocol."""
        match self.name:
            case "postgres":
                return probes.database_answers(self.url)
            case "kafka":
                return kafka.is_ready(self.url)
            case "mlflow":
                return mlflow.answers(self.url)
            case _:
                return api.answers(self.url)


def external_services(environment: Environment) -> tuple[ExternalService, ...]:
    """The services that a setting places outside the stack."""
    places = (
        ExternalService("postgres", environment.database_url_setting or "", "DATABASE_URL"),
        ExternalService(
            "kafka", environment.kafka_bootstrap_servers_setting or "", "KAFKA_BOOTSTRAP_SERVERS"
        ),
        ExternalService("mlflow", environment.mlflow_tracking_uri_setting or "", "MLFLOW_TRACKING_URI"),
        ExternalService("api", environment.api_url_setting or "", "OPSGRAPH_API_URL"),
    )
    return tuple(place for place in places if place.url)


def embedded_services(environment: Environment) -> tuple[Service, ...]:
    """The services that `opsgraph up` starts, in the order in which they are listed and started."""
    state = state_dir(environment)
    cluster = postgres.data_dir(state, postgres.run_as())
    everything = (
        postgres.service(cluster, environment.postgres_port, environment.fsync),
        kafka.service(state / "kafka", environment.kafka_port, environment.kafka_port + 1),
        mlflow.service(
            state, environment.mlflow_port, environment.sibling_database_url("mlflow", "psycopg2")
        ),
        *dagster.services(
            state / "dagster",
            environment.sibling_database_url("dagster", "psycopg2"),
            environment.dagster_port,
            environment.dagster_code_port,
        ),
        api.service(environment.api_port),
        *watchers.services(environment.database_url),
    )
    elsewhere = {place.name for place in external_services(environment)}
    return tuple(service for service in everything if service.name not in elsewhere)
