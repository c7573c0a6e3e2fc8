"""What opsgraph can do about an incident after approval: an executor per allowed action.

Add an executor for an action of `orchestration.ingest.incidents.actions.ALLOWED`. Avoid deciding: a person
has, before anything here runs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.environment import Environment
from orchestration.ingest.incidents.actions import Executor

Parameters = Mapping[str, str]


def executors_of(environment: Environment) -> Mapping[str, Executor]:
    """Everything that this machine has the means for."""
    return {
        "restart_service": RestartService(environment),
        "start_sensor": StartInstigator(environment, "sensor"),
        "start_schedule": StartInstigator(environment, "schedule"),
        "replay_dead_letters": ReplayDeadLetters(environment),
        "roll_back_index": RollBackIndex(environment),
        "roll_back_model": RollBackModel(environment),
    }


@dataclass(frozen=True)
class RestartService:
    """Lets the supervisor of the embedded stack restart one process."""

    environment: Environment

    def dry_run(self, parameters: Parameters) -> str:
        """Which process, and whether the supervisor knows it."""
        from deployment.embedded.stack import health

        name = _named(parameters, "service")
        known = {item.name: item for item in health(self.environment)}
        if name not in known:
            return f"the stack has no process {name}; it has {', '.join(known)}"
        return f"the supervisor would restart {name}, which is {known[name].health.value}"

    def run(self, parameters: Parameters) -> str:
        """Restart it and wait until it answers."""
        from deployment.embedded.stack import restart

        name = _named(parameters, "service")
        started = restart(self.environment, name)
        return f"{name} was restarted and answered after {started.seconds:.1f} s"


@dataclass(frozen=True)
class StartInstigator:
    """Switches a sensor or schedule of Dagster on, over its GraphQL."""

    environment: Environment
    kind: str

    def dry_run(self, parameters: Parameters) -> str:
        """What would be switched on."""
        return f"{self.kind} {_named(parameters, self.kind)} would be switched on in Dagster"

    def run(self, parameters: Parameters) -> str:
        """Switch it on."""
        import httpx

        name = _named(parameters, self.kind)
        mutation = "startSensor" if self.kind == "sensor" else "startSchedule"
        selector = "sensorSelector" if self.kind == "sensor" else "scheduleSelector"
        query = (
            f"mutation Start($s: {selector[0].upper()}{selector[1:]}!) "
            f"{{ {mutation}({selector}: $s) {{ __typename ... on PythonError {{ message }} }} }}"
        )
        variables = {
            "s": {
                "repositoryLocationName": "orchestration",
                "repositoryName": "__repository__",
                f"{self.kind}Name": name,
            }
        }
        response = httpx.post(
            f"{self.environment.dagster_url}/graphql",
            json={"query": query, "variables": variables},
            timeout=10,
        )
        response.raise_for_status()
        answer = response.json()
        result = (answer.get("data") or {}).get(mutation) or {}
        if answer.get("errors") or "Error" in result.get("__typename", "Error"):
            raise RuntimeError(json.dumps(answer)[:300])
        return f"{self.kind} {name} is on"


@dataclass(frozen=True)
class ReplayDeadLetters:
    """Lands the dead letters of a topic again."""

    environment: Environment

    def dry_run(self, parameters: Parameters) -> str:
        """How many letters wait, by reason."""
        import psycopg

        topic = _named(parameters, "topic")
        with psycopg.connect(self.environment.database_url) as connection:
            rows = connection.execute(
                """
                select error_class, count(*) from ops.dead_letters
                where topic = %s and replayed_at is null group by 1 order by 2 desc
                """,
                (topic,),
            ).fetchall()
        waiting = ", ".join(f"{count} of {reason}" for reason, count in rows) or "none"
        return f"dead letters of {topic} that would be tried again: {waiting}"

    def run(self, parameters: Parameters) -> str:
        """Try them again; those that still don't fit stay."""
        from orchestration.commands.landing import landing_services
        from orchestration.ingest.contracts import load_contracts
        from orchestration.ingest.dead_letters import Selection, replay

        topic = _named(parameters, "topic")
        report = replay(landing_services(self.environment), load_contracts(), Selection(topic=topic))
        return f"{report.landed} landed, {len(report.refused)} still refused"


@dataclass(frozen=True)
class RollBackIndex:
    """Lets the index answer that answered before."""

    environment: Environment

    def dry_run(self, parameters: Parameters) -> str:
        """Which build would answer."""
        import psycopg

        with psycopg.connect(self.environment.database_url) as connection:
            row = connection.execute(
                "select build_id, previous_build_id from rag.index_aliases limit 1"
            ).fetchone()
        if row is None or row[1] is None:
            return "there is no earlier build to go back to"
        return f"{row[1]} would answer in place of {row[0]}"

    def run(self, parameters: Parameters) -> str:
        """Move the alias back."""
        import psycopg

        from rag_assets.index.builds import roll_back

        with psycopg.connect(self.environment.database_url) as connection:
            return f"{roll_back(connection).build_id} answers now"


@dataclass(frozen=True)
class RollBackModel:
    """Lets the model version serve that served before."""

    environment: Environment

    def dry_run(self, parameters: Parameters) -> str:
        """Which version would serve."""
        import psycopg

        tenant_id, model = _named(parameters, "tenant"), _named(parameters, "model")
        with psycopg.connect(self.environment.database_url) as connection:
            row = connection.execute(
                """
                select model_version, previous_version from ml.promotions
                where tenant_id = %s and model_name = %s and decision in ('promoted', 'rolled_back')
                order by promotion_id desc limit 1
                """,
                (tenant_id, model),
            ).fetchone()
        if row is None or row[1] is None:
            return f"{model} of {tenant_id} has no earlier version to go back to"
        return f"{model} version {row[1]} would serve {tenant_id} in place of {row[0]}"

    def run(self, parameters: Parameters) -> str:
        """Move the alias and write the ledger."""
        import psycopg

        from ml.registry.client import ModelRegistry
        from ml.registry.decide import roll_back

        tenant_id, model = _named(parameters, "tenant"), _named(parameters, "model")
        registry = ModelRegistry(self.environment.mlflow_tracking_uri)
        with psycopg.connect(self.environment.database_url) as connection:
            decision = roll_back(connection, registry, tenant_id, model, "opsgraph incidents", "an incident")
        return f"{model} of {tenant_id}: {decision}"


def _named(parameters: Parameters, name: str) -> str:
    if name not in parameters:
        raise ValueError(f"the proposal names no {name}: {dict(parameters)}")
    return parameters[name]
