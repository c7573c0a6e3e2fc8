"""The dbt project as Dagster reads it: its manifest, kept in the state folder.

Avoid parsing here: `ensure_manifest` parses only where the kept manifest is of other files, which
happens once after a checkout and never again while the project stays as it is.
"""

from functools import cache

from orchestration.dbt_invocation import (
    DBT_PROJECT_DIR,
    dbt_environment,
    ensure_manifest,
    process_environment,
    target_dir,
)
from orchestration.dbt_library import dagster_dbt
from orchestration.environment import Environment


@cache
def warehouse_project() -> dagster_dbt.DbtProject:
    """The project with a manifest that exists and is of the files on disk."""
    environment = Environment()
    target = target_dir(environment.state_dir)
    variables = dbt_environment(environment.database_url, environment.state_dir)
    ensure_manifest(process_environment(variables), target)
    return dagster_dbt.DbtProject(
        project_dir=DBT_PROJECT_DIR, profiles_dir=DBT_PROJECT_DIR, target_path=target
    )
