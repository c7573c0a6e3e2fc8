"""From the warehouse to registered versions and stored predictions, on the Azure replay.

`make bench ONLY=training`. Postgres with fsync and a real MLflow server share the machine's cores; the first
MLflow call, which creates its 40 tables, is made before the clock starts.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployment.embedded import mlflow, postgres
from deployment.embedded.service import running
from ml.features.build import build_features, feature_set_of
from ml.models.horizons import HORIZONS
from ml.predictions.run import predict_tenants
from ml.registry.client import ModelRegistry
from ml.registry.decide import decide_pending
from ml.training.pipeline import train_tenant
from orchestration.environment import Environment
from orchestration.figures import Figure, report
from orchestration.migrations import upgrade
from tests.conftest import free_port
from tests.integration.azure_warehouse import write_warehouse

COMMAND = "make bench ONLY=training"
TENANT = "azure-pdm"


def main() -> None:
    """Measure, report, and fail when a bar is not held."""
    import psycopg

    with tempfile.TemporaryDirectory(prefix="opsgraph-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres runs as another user when this process is root
        with _services(folder) as (database_url, registry):
            history = write_warehouse(database_url, Environment().data_dir / "azure_pdm")
            registry.by_alias("failure-24h", "champion", TENANT)
            begun = time.perf_counter()
            features = build_features(history, feature_set_of(history))
            featured = time.perf_counter()
            outcomes = [train_tenant(database_url, registry, TENANT, horizon) for horizon in HORIZONS]
            trained = time.perf_counter()
            with psycopg.connect(database_url) as connection:
                decide_pending(connection, registry, [TENANT], HORIZONS)
            deciding = time.perf_counter()
            predict_tenants(database_url, registry, HORIZONS)
            predicted = time.perf_counter()
    served = outcomes[0].metrics
    figures = [
        Figure(
            "training_feature_rate",
            features.keys.height / (featured - begun),
            "rows/s",
            "higher",
            command=COMMAND,
        ),
        Figure("training_both_horizons", trained - featured, "s", "lower", bar=20.0, command=COMMAND),
        Figure("prediction_both_horizons", predicted - deciding, "s", "lower", bar=5.0, command=COMMAND),
        Figure(
            "failure_event_f1_24h",
            served["event_f1"],
            "F1",
            "higher",
            peer="an error in the last 24 h",
            peer_value=served["error_24h_event_f1"],
            command=COMMAND,
        ),
    ]
    report("training", figures)
    if any(figure.holds is False for figure in figures):
        raise SystemExit("training: a bar is not held")


@contextmanager
def _services(folder: Path) -> Iterator[tuple[str, ModelRegistry]]:
    port, mlflow_port = free_port(), free_port()
    environment = Environment(DATABASE_URL=f"postgresql://postgres@127.0.0.1:{port}/opsgraph")
    postgres.initialise(folder / "postgres")
    with running(postgres.service(folder / "postgres", port), folder / "logs"):
        postgres.create_databases(port, ["opsgraph", "mlflow"])
        upgrade(environment.database_url)
        database = environment.sibling_database_url("mlflow", driver="psycopg2")
        with running(mlflow.service(folder, mlflow_port, database), folder / "logs"):
            yield environment.database_url, ModelRegistry(f"http://127.0.0.1:{mlflow_port}")


if __name__ == "__main__":
    main()
