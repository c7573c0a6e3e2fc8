"""The environment variables of the stack's processes, as a pure function of the settings.

Add a variable here when every process of the stack needs it (settings, telemetry switches, thread
policies). Avoid variables of one service: those stand in the service's own module.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from orchestration.environment import Environment

# A variable that every process of a stack inherits, whatever its depth: it finds what a supervisor
# that was killed left behind, including processes whose id no file could know (restarts, run workers).
STACK_VARIABLE = "OPSGRAPH_STACK"

# No tool of the stack reports home unless its owner switches that on.
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
}

PROCESS_POLICY = {
    "PYTHONUNBUFFERED": "1",  # log lines appear when they are written
    # OpenMP threads that spin while they wait treble the training time on two busy cores.
    "OMP_WAIT_POLICY": "passive",
}

# Without compiled bytecode each start of a process takes 2 to 3 times as long.
DROPPED = ("PYTHONDONTWRITEBYTECODE",)


def state_dir(environment: Environment) -> Path:
    """The stack's state folder as an absolute path: children run in other working folders."""
    return environment.state_dir.absolute()


def settings_variables(environment: Environment) -> dict[str, str]:
    """The settings as the variables that give the same `Environment` back; unset ones are left out."""
    variables: dict[str, str] = {}
    for name, definition in Environment.model_fields.items():
        value = getattr(environment, name)
        if value is None:
            continue
        match value:
            case Path():
                text = str(value.absolute())
            case SecretStr():
                text = value.get_secret_value()
            case bool():
                text = "true" if value else "false"
            case _:
                text = str(value)
        variables[str(definition.validation_alias)] = text
    return variables


def child_environment(environment: Environment, parent: Mapping[str, str]) -> dict[str, str]:
    """All variables of a process of the stack.

    Args:
        environment: The settings that the process must see.
        parent: The caller's variables; settings among them that `environment` leaves unset are dropped.
    """
    aliases = {str(field.validation_alias) for field in Environment.model_fields.values()}
    kept = {name: value for name, value in parent.items() if name not in aliases and name not in DROPPED}
    return {
        **kept,
        **TELEMETRY_OFF,
        **PROCESS_POLICY,
        **settings_variables(environment),
        "DAGSTER_HOME": str(state_dir(environment) / "dagster"),
        STACK_VARIABLE: str(state_dir(environment)),
    }
