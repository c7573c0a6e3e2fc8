"""A year of 100 machines, 876,000 machine-hours, from the warehouse to a version and its predictions.

`make bench ONLY=training`. Training runs in a process of its own, so that its peak memory is its own.
Postgres with fsync and a real MLflow server share the cores; the first MLflow call, which creates its
tables, is made before the clock starts.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np

from deployment.embedded import mlflow, postgres
from deployment.embedded.service import running
from ml.datasets.warehouse import read_history
from ml.features.build import build_features, feature_set_of
from ml.models.horizons import NEXT_DAY
from ml.predictions.batch import earliest_hour, predict_latest
from ml.registry.client import ModelRegistry
from ml.training.pipeline import train_tenant
from orchestration.environment import PROJECT_ROOT, Environment
from orchestration.figures import Figure, report
from orchestration.migrations import upgrade
from tests.benchmarks.simulated_fleet import fleet
from tests.conftest import free_port
from tests.integration.azure_warehouse import write_history

COMMAND = "make bench ONLY=training"
TENANT = "simulated"
BATCH_ROWS, EXPLAINED_ROWS = 100_000, 2_500


def main() -> None:
    """Measure, report, and fail when a bar is not held."""
    with tempfile.TemporaryDirectory(prefix="opsgraph-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres runs as another user when this process is root
        with _services(folder) as (database_url, tracking_uri):
            write_history(database_url, fleet())
            # Creates the tables of MLflow.
            ModelRegistry(tracking_uri).by_alias(NEXT_DAY.model_name, "champion", TENANT)
            trained = _in_own_process("train", database_url, tracking_uri)
            served = _in_own_process("serve", database_url, tracking_uri)
    bars = {
        "training_876k_to_registered": (trained["seconds"], "s", 45.0),
        "training_876k_features": (trained["features_seconds"], "s", 10.0),
        "training_876k_peak": (trained["peak_gib"], "GiB", 2.0),
        "features_of_a_new_day": (served["day_seconds"], "s", 2.0),
        "batch_of_100k_predictions": (served["batch_seconds"], "s", 2.0),
        "contributions_of_2500": (served["explain_seconds"], "s", 2.0),
    }
    figures = [
        Figure(name, value, unit, "lower", bar, command=COMMAND) for name, (value, unit, bar) in bars.items()
    ]
    figures.append(
        Figure(
            "simulated_fleet_event_f1_24h",
            trained["event_f1"],
            "F1",
            "higher",
            peer="an error in the last 24 h",
            peer_value=trained["rule_f1"],
            command=COMMAND,
        )
    )
    report("training", figures)
    if any(figure.holds is False for figure in figures):
        raise SystemExit("training: a bar is not held")


def train(database_url: str, tracking_uri: str) -> dict[str, float]:
    """Read, features, folds, fit, register; then the features alone, for their share."""
    registry = ModelRegistry(tracking_uri)
    begun = time.perf_counter()
    outcome = train_tenant(database_url, registry, TENANT, NEXT_DAY)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert outcome.version is not None, outcome.note
    history = read_history(database_url, TENANT).history
    features = feature_set_of(history)
    begun = time.perf_counter()
    build_features(history, features)
    return {
        "seconds": seconds,
        "features_seconds": time.perf_counter() - begun,
        "peak_gib": peak,
        "event_f1": outcome.metrics["event_f1"],
        "rule_f1": outcome.metrics["error_24h_event_f1"],
    }


def serve(database_url: str, tracking_uri: str) -> dict[str, float]:
    """A day's features from the warehouse, a big batch, and the reasons of the riskiest rows."""
    registry = ModelRegistry(tracking_uri)
    challenger = registry.by_alias(NEXT_DAY.model_name, "challenger", TENANT)
    assert challenger is not None
    model = registry.load(challenger)
    whole = read_history(database_url, TENANT).history
    assert whole.clock is not None
    begun = time.perf_counter()
    recent = read_history(
        database_url, TENANT, since=earliest_hour([whole.clock - timedelta(days=1)])
    ).history
    values = build_features(recent, model.features).values
    day_seconds = time.perf_counter() - begun
    assert len(predict_latest(recent, model, whole.clock)) == whole.equipment.height
    batch = np.resize(values, (BATCH_ROWS, values.shape[1]))
    begun = time.perf_counter()
    probability = model.probability(batch)
    batch_seconds = time.perf_counter() - begun
    riskiest = batch[np.argsort(-probability)[:EXPLAINED_ROWS]]
    begun = time.perf_counter()
    model.contributions(riskiest)
    return {
        "day_seconds": day_seconds,
        "batch_seconds": batch_seconds,
        "explain_seconds": time.perf_counter() - begun,
    }


def _in_own_process(task: str, database_url: str, tracking_uri: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_training", task, database_url, tracking_uri]
    # Threads that spin between parallel regions take the cores from Postgres and MLflow.
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    found = subprocess.run(
        command, env=environment, cwd=PROJECT_ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(found.stdout.splitlines()[-1])


@contextmanager
def _services(folder: Path) -> Iterator[tuple[str, str]]:
    port, mlflow_port = free_port(), free_port()
    environment = Environment(DATABASE_URL=f"postgresql://postgres@127.0.0.1:{port}/opsgraph")
    postgres.initialise(folder / "postgres")
    with running(postgres.service(folder / "postgres", port), folder / "logs"):
        postgres.create_databases(port, ["opsgraph", "mlflow"])
        upgrade(environment.database_url)
        database = environment.sibling_database_url("mlflow", driver="psycopg2")
        with running(mlflow.service(folder, mlflow_port, database), folder / "logs"):
            yield environment.database_url, f"http://127.0.0.1:{mlflow_port}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"train": train, "serve": serve}[sys.argv[1]](*sys.argv[2:])))
    else:
        main()
