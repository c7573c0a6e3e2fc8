"""Thin Dagster resources over the domain packages: addresses in, plain connections out.

Add a resource when assets of two stages need the same connection. Avoid logic: it belongs to the
domain packages, which get plain values.
"""

from typing import Any

from orchestration.environment import Environment
from orchestration.resources.dbt import dbt_resource
from orchestration.resources.drop_folder import DropFolderResource
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.lake import LakeResource
from orchestration.resources.mlflow import MlflowResource
from orchestration.resources.postgres import PostgresResource
from orchestration.resources.vector_store import VectorStoreResource


def build_resources(environment: Environment | None = None) -> dict[str, Any]:
    """Every resource of the code location, bound to the services of the environment."""
    env = environment or Environment()
    return {
        "postgres": PostgresResource(url=env.database_url),
        "kafka": KafkaResource(bootstrap_servers=env.kafka_bootstrap_servers),
        "lake": LakeResource(url=env.lake_url, catalog_uri=env.lake_catalog_uri),
        "mlflow": MlflowResource(tracking_uri=env.mlflow_tracking_uri, promotion_mode=env.promotion_mode),
        "vector_store": VectorStoreResource(
            index_dir=str(env.index_dir),
            qdrant_url=env.qdrant_url,
            api_url=env.api_url,
            api_client_keys=env.api_client_keys,
            embedder_choice=env.embedder,
            embedding_base_url=env.embedding_base_url,
        ),
        "drop_folder": DropFolderResource(path=env.drop_folder),
        "dbt": dbt_resource(env),
    }
