"""dbt as a Dagster resource, pointed at the opsgraph database.

Add what every dbt call from Dagster needs. Avoid arguments of single calls: they are built by
`orchestration.dbt_invocation`.
"""

import os
from functools import cached_property
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import dagster_dbt
from packaging import version
from pydantic import Field

from orchestration.dbt_invocation import (
    DBT_EXECUTABLE,
    DBT_PROJECT_DIR,
    dbt_environment,
    prune_runs,
    target_dir,
)
from orchestration.environment import Environment


class WarehouseDbt(dagster_dbt.DbtCliResource):
    """`DbtCliResource` that knows its database, and starts 2 s sooner.

    dagster-dbt hands its own process's environment on to dbt and offers no other way in, so the
    variables of `profiles.yml` are set there when dbt is called. Its `dbt --version` process, which
    also asks a package registry for the newest release, is replaced by the installed version.
    """

    variables: dict[str, str] = Field(description="Variables that `dbt_project/profiles.yml` reads.")

    def cli(self, *args: Any, **kwargs: Any) -> dagster_dbt.DbtCliInvocation:
        """Start dbt; arguments as in `DbtCliResource.cli`."""
        os.environ.update(self.variables)
        prune_runs(Path(self.variables["DBT_TARGET_PATH"]))
        return super().cli(*args, **kwargs)

    @cached_property
    def _cli_version(self) -> version.Version:
        return version.parse(installed_version("dbt-core"))


def dbt_resource(environment: Environment) -> WarehouseDbt:
    """The resource for the database and the state folder of an environment."""
    target = target_dir(environment.state_dir)
    return WarehouseDbt(
        project_dir=str(DBT_PROJECT_DIR),
        profiles_dir=str(DBT_PROJECT_DIR),
        dbt_executable=DBT_EXECUTABLE,
        variables={
            **dbt_environment(environment.database_url, environment.state_dir),
            "DBT_TARGET_PATH": str(target),
        },
    )
