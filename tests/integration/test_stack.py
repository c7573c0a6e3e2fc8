"""The whole stack for real: up, every process killed once, the supervisor killed, down without a trace.

One stack for the module, in a folder and on ports of its own. The tests build on one another in the
order of the file, as the life of a stack does.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.utils import make_new_run_id

from deployment.embedded import processes, stack
from deployment.embedded.child_environment import child_environment
from deployment.embedded.jars import fetch_jars
from deployment.embedded.supervisor import Supervisor
from orchestration.commands.stack import prepare_database
from orchestration.environment import Environment
from tests.conftest import free_port

OPSGRAPH = Path(sys.executable).with_name("opsgraph")
RECOVERY_S = 90.0  # MLflow imports for 4 s of a core's time, and a test machine may be busy

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def two_free_ports() -> int:
    """A free port whose successor is free too: Kafka's controller takes it."""
    while True:
        port = free_port()
        if processes.is_free(port + 1):
            return port


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    fetch_jars()
    with tempfile.TemporaryDirectory(prefix="opsgraph-stack-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        environment = Environment(
            state_dir=Path(folder) / "state",
            postgres_port=free_port(),
            kafka_port=two_free_ports(),
            dagster_port=free_port(),
            dagster_code_port=free_port(),
            mlflow_port=free_port(),
            api_port=free_port(),
        )
        yield environment
        stack.down(environment)


def up(environment: Environment) -> list[stack.StartedService]:
    return stack.up(environment, hooks={"postgres": lambda: prepare_database(environment)})


def pids(environment: Environment) -> dict[str, int]:
    return {name: state.pid for name, state in Supervisor(environment.state_dir).states().items()}


def verb(environment: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = child_environment(environment, os.environ)
    variables.pop("OPSGRAPH_STACK")  # the verb is the person's process, not the stack's
    return subprocess.run([OPSGRAPH, *arguments], env=variables, capture_output=True, text=True, timeout=120)


def until(holds: Callable[[], bool], timeout_s: float = RECOVERY_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not recover in time"
        time.sleep(0.2)


def is_healthy(environment: Environment, killed: dict[str, int]) -> bool:
    """Every service answers, and the killed ones with another process."""
    now = pids(environment)
    if any(now[name] in (0, pid) for name, pid in killed.items()):
        return False
    return all(service.health is stack.Health.READY for service in stack.health(environment))


def kill(environment: Environment, *names: str) -> None:
    """`kill -9` the services and wait until the whole stack is well again."""
    before = pids(environment)
    killed = {name: before[name] for name in names}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: is_healthy(environment, killed))


def count_messages(environment: Environment) -> int:
    consumer = Consumer({"bootstrap.servers": environment.kafka_bootstrap_servers, "group.id": "none"})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition("kept", 0), timeout=10)
        return high - low
    finally:
        consumer.close()


def test_comes_up_and_says_so(environment: Environment) -> None:
    """Forbids "up" before a service answers, and a second `up` that starts anything."""
    started = up(environment)
    assert {service.name for service in started} >= {"postgres", "kafka", "mlflow", "dagster-daemon"}
    assert all(service.pid and service.seconds > 0 for service in started)
    until(lambda: is_healthy(environment, {}))  # nobody waits for the watchers, but they come
    first = pids(environment)
    assert all(service.seconds == 0 for service in up(environment))
    assert pids(environment) == first


def test_status_and_logs_as_a_person_reads_them(environment: Environment) -> None:
    """Forbids a status that only looks at process ids, and a process without a log file."""
    result = verb(environment, "status", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    assert {row["name"]: row["health"] for row in report["services"]} == dict.fromkeys(
        pids(environment), "ready"
    )
    assert all(row["latency_ms"] > 0 for row in report["services"])
    assert report["rows_per_layer"]["ml"]["failure_predictions"] == 0
    logs = {path.stem for path in (environment.state_dir / "logs").glob("*.log")}
    assert logs >= {*pids(environment), "supervisord"}
    refused = verb(environment, "logs", "nonsense")
    assert refused.returncode == 1
    assert "postgres" in refused.stderr


def test_runs_are_forked_from_a_process_that_has_the_code(environment: Environment) -> None:
    """Forbids a Dagster that, after an update, quietly imports everything again for each run."""
    children = psutil.Process(pids(environment)["dagster-code"]).children()
    assert any("forkserver" in argument for child in children for argument in child.cmdline())


def test_killed_database_and_broker_lose_nothing(environment: Environment) -> None:
    """Forbids a stack that stays down, or comes back without what was confirmed before the kill."""
    with psycopg.connect(environment.database_url) as connection:
        connection.execute("create table kept (value int)")
        connection.execute("insert into kept values (42)")
    admin = AdminClient({"bootstrap.servers": environment.kafka_bootstrap_servers})
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result()
    producer = Producer({"bootstrap.servers": environment.kafka_bootstrap_servers, "acks": "all"})
    producer.produce("kept", b"42")
    assert producer.flush(30) == 0
    kill(environment, "postgres")
    kill(environment, "kafka")
    with psycopg.connect(environment.database_url) as connection:
        assert connection.execute("select value from kept").fetchone() == (42,)
    assert count_messages(environment) == 1


def test_every_other_process_comes_back(environment: Environment) -> None:
    """Forbids a process that is not restarted, or whose remains hold its port."""
    kill(environment, *(name for name in pids(environment) if name not in ("postgres", "kafka")))


def test_killed_supervisor_is_cleaned_up_after(environment: Environment) -> None:
    """Forbids orphans beside a second set of services after `kill -9` of the supervisor itself.

    Also forbids a run that died with the stack and holds its place in the queue for ever.
    """
    run = DagsterRun(job_name="cut_off", run_id=make_new_run_id(), status=DagsterRunStatus.STARTED)
    with DagsterInstance.from_config(str(environment.dagster_home)) as instance:
        instance.add_run(run)
    before = processes.stack_processes(environment.state_dir)
    orphans = pids(environment)
    os.kill(Supervisor(environment.state_dir).pid(), signal.SIGKILL)
    said: list[str] = []
    stack.up(environment, say=said.append)
    assert any("left processes behind" in line for line in said)
    assert not [process for process in before if processes.is_alive(process)]
    assert not set(orphans.values()) & set(pids(environment).values())
    with DagsterInstance.from_config(str(environment.dagster_home)) as instance:
        found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status == DagsterRunStatus.CANCELED
    with psycopg.connect(environment.database_url) as connection:
        assert connection.execute("select value from kept").fetchone() == (42,)


def test_down_leaves_no_process(environment: Environment) -> None:
    """Forbids a process that outlives `down`, and a port that stays taken."""
    members = processes.stack_processes(environment.state_dir)
    children: list[psutil.Process] = []
    for member in members:
        with suppress(psutil.NoSuchProcess):  # a worker that ended between the two lists
            children += member.children(recursive=True)
    assert stack.down(environment) >= len(pids(environment))
    assert not [process for process in {*members, *children} if processes.is_alive(process)]
    assert processes.stack_processes(environment.state_dir) == []
    assert stack.down(environment) == 0
    assert verb(environment, "status").returncode == 1


def test_busy_port_stops_the_start(environment: Environment) -> None:
    """Forbids a half-started stack when one port belongs to somebody else."""
    with socket.socket() as holder:
        # The stack's own connections to this port may still be closing.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", environment.mlflow_port))
        holder.listen()
        result = verb(environment, "up")
    assert result.returncode == 1
    for part in (str(environment.mlflow_port), f"process {os.getpid()}", "OPSGRAPH_MLFLOW_PORT"):
        assert part in result.stderr, result.stderr
    assert processes.stack_processes(environment.state_dir) == []
