"""The settings of every opsgraph process: which service is embedded, which is external, and where.

Add a setting here when a process needs to be told where something is or which port it takes.
Avoid domain settings (batch sizes, thresholds): those stand beside the function that they tune.
Nothing else in the project reads the environment.
"""

from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent


class Environment(BaseSettings):
    """Where each service is. An unset URL means: the embedded one, started by `opsgraph up`.

    Every field can be set by the environment variable of its alias or by a `.env` file in the
    project's root.
    """

    model_config = SettingsConfigDict(
        env_file=PROJECT_ROOT / ".env", extra="ignore", populate_by_name=True, frozen=True
    )

    state_dir: Path = Field(
        default=PROJECT_ROOT / ".opsgraph",
        validation_alias="OPSGRAPH_HOME",
        description="State of the embedded stack: data folders, logs, lake, indexes.",
    )
    data_dir: Path = Field(
        default=PROJECT_ROOT.parent / "shared" / "data",
        validation_alias="OPSGRAPH_DATA_DIR",
        description="Folder of the public data sets that tests, evals and replays read.",
    )
    database_url_setting: str | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="External Postgres, `postgresql://user@host:port/database`.",
    )
    kafka_bootstrap_servers_setting: str | None = Field(
        default=None,
        validation_alias="KAFKA_BOOTSTRAP_SERVERS",
        description="External Kafka brokers, `host:port,host:port`.",
    )
    mlflow_tracking_uri_setting: str | None = Field(
        default=None,
        validation_alias="MLFLOW_TRACKING_URI",
        description="External MLflow server, `http://host:port`.",
    )
    lake_url_setting: str | None = Field(
        default=None,
        validation_alias="LAKE_URL",
        description="Warehouse root of the Iceberg tables: a folder, `file://…` or `s3://bucket/prefix`.",
    )
    drop_folder: str | None = Field(
        default=None,
        validation_alias="OPSGRAPH_DROP_FOLDER",
        description="Folder or `s3://bucket/prefix` where plants put files, each below its topic's name.",
    )
    qdrant_url: str | None = Field(
        default=None,
        validation_alias="QDRANT_URL",
        description="External Qdrant server; unset means the embedded engine in process.",
    )
    embedder: str = Field(
        default="local",
        validation_alias="OPSGRAPH_EMBEDDER",
        description="local, local-int8, openai:MODEL:DIMENSION or gemini:MODEL:DIMENSION.",
    )
    embedding_base_url: str = Field(
        default="",
        validation_alias="OPSGRAPH_EMBEDDING_URL",
        description="OpenAI-compatible endpoint of embeddings, up to and with `/v1`.",
    )
    embedding_api_key: str = Field(
        default="",
        validation_alias="OPSGRAPH_EMBEDDING_API_KEY",
        description="Key of that endpoint, or of Gemini.",
    )
    schema_registry_url: str | None = Field(
        default=None,
        validation_alias="SCHEMA_REGISTRY_URL",
        description="Confluent-compatible schema registry; unset means the pinned ids in the repository.",
    )
    api_url_setting: str | None = Field(
        default=None,
        validation_alias="OPSGRAPH_API_URL",
        description="The opsgraph API that the command line and Dagster ask; unset means the local one.",
    )
    api_keys_required: bool = Field(
        default=False,
        validation_alias="OPSGRAPH_API_KEYS_REQUIRED",
        description="Whether the API refuses requests without a key; set it wherever it leaves loopback.",
    )
    api_requests_per_minute: int = Field(
        default=60_000,
        gt=0,
        validation_alias="OPSGRAPH_API_REQUESTS_PER_MINUTE",
        description="Requests per minute of each tenant, where its key says nothing else.",
    )
    api_client_keys: dict[str, str] = Field(
        default_factory=dict,
        validation_alias="OPSGRAPH_API_CLIENT_KEYS",
        description='Keys that the command line and Dagster send, by tenant, as JSON: {"tenant": "ogk_…"}.',
    )
    llm_provider: Literal["openai", "anthropic", "google"] = Field(
        default="openai",
        validation_alias="OPSGRAPH_LLM_PROVIDER",
        description="Protocol of the language model; `openai` is any OpenAI-compatible endpoint.",
    )
    llm_model: str | None = Field(
        default=None,
        validation_alias="OPSGRAPH_LLM_MODEL",
        description="Model that writes answers; unset means the extractive copilot, without any model.",
    )
    llm_url: str | None = Field(
        default=None,
        validation_alias="OPSGRAPH_LLM_URL",
        description="Base URL of the endpoint, for example `http://127.0.0.1:11434/v1`.",
    )
    llm_api_key: SecretStr = Field(
        default=SecretStr("none"),
        validation_alias="OPSGRAPH_LLM_API_KEY",
        description="Key of the endpoint; local servers take any.",
    )
    llm_timeout_s: float = Field(
        default=300.0,
        gt=0,
        validation_alias="OPSGRAPH_LLM_TIMEOUT_S",
        description="After this many seconds the extractive answer is given (s).",
    )
    llm_max_tokens: int = Field(
        default=20_000,
        gt=0,
        validation_alias="OPSGRAPH_LLM_MAX_TOKENS",
        description="Tokens that one answer may use in all, read and written.",
    )
    llm_max_cost: float = Field(
        default=0.25,
        ge=0,
        validation_alias="OPSGRAPH_LLM_MAX_COST",
        description="What one answer may cost, in the currency of the prices; no cap without prices.",
    )
    llm_price_in: float = Field(
        default=0.0,
        ge=0,
        validation_alias="OPSGRAPH_LLM_PRICE_IN",
        description="Price of a million tokens read.",
    )
    llm_price_out: float = Field(
        default=0.0,
        ge=0,
        validation_alias="OPSGRAPH_LLM_PRICE_OUT",
        description="Price of a million tokens written.",
    )
    postgres_port: int = Field(
        default=54329,
        validation_alias="OPSGRAPH_POSTGRES_PORT",
        description="Port of the embedded Postgres.",
    )
    kafka_port: int = Field(
        default=9092,
        validation_alias="OPSGRAPH_KAFKA_PORT",
        description="Port of the embedded Kafka broker; its controller takes the next one.",
    )
    dagster_port: int = Field(
        default=3000,
        validation_alias="OPSGRAPH_DAGSTER_PORT",
        description="Port of the Dagster web UI.",
    )
    dagster_code_port: int = Field(
        default=4266,
        validation_alias="OPSGRAPH_DAGSTER_CODE_PORT",
        description="Port of the Dagster code server.",
    )
    mlflow_port: int = Field(
        default=5000,
        validation_alias="OPSGRAPH_MLFLOW_PORT",
        description="Port of the embedded MLflow server.",
    )
    api_port: int = Field(
        default=8000,
        validation_alias="OPSGRAPH_API_PORT",
        description="Port of the opsgraph API.",
    )
    docs_port: int = Field(
        default=8580,
        validation_alias="OPSGRAPH_DOCS_PORT",
        description="Port where `opsgraph docs` serves the dbt docs.",
    )
    drift_webhook: str = Field(
        default="",
        validation_alias="DRIFT_WEBHOOK",
        description="Address that drift events are posted to, by the API and by the drift monitor.",
    )
    require_webhook: bool = Field(
        default=False,
        validation_alias="REQUIRE_WEBHOOK",
        description="True: neither the API nor the drift monitor starts without DRIFT_WEBHOOK.",
    )
    data_delay_minutes: int = Field(
        default=0,
        ge=0,
        le=7 * 24 * 60,
        validation_alias="DATA_DELAY_MINUTES",
        description="Minutes that scoring stays behind the plant clock, so that late readings are there: "
        "predictions and anomaly scores are made for the instant that long ago.",
    )
    promotion_mode: Literal["MANAGED", "MANUAL"] = Field(
        default="MANAGED",
        validation_alias="PROMOTION_MODE",
        description="MANAGED promotes a challenger that wins; MANUAL lets it wait for "
        "`opsgraph promote approve`.",
    )
    channels_file_setting: Path | None = Field(
        default=None,
        validation_alias="OPSGRAPH_CHANNELS_FILE",
        description="YAML file of the receivers of alerts; by default `channels.yaml` in the state folder.",
    )
    platform_tenant: str = Field(
        default="demo-plant",
        validation_alias="OPSGRAPH_PLATFORM_TENANT",
        description="Tenant that is told of troubles of the platform itself: a dead service, dead letters.",
    )
    hot_days: int | None = Field(
        default=None,
        ge=1,
        validation_alias="OPSGRAPH_HOT_DAYS",
        description="Days of landing after which nightly care takes rows out of raw; the lake keeps them. "
        "Unset: they stay.",
    )
    warm_days: int | None = Field(
        default=None,
        ge=1,
        validation_alias="OPSGRAPH_WARM_DAYS",
        description="Days of landing after which the lake's files move to its archived prefix. "
        "Unset: they stay.",
    )
    invalid_share_warn: float = Field(
        default=0.01,
        ge=0,
        le=1,
        validation_alias="OPSGRAPH_INVALID_SHARE_WARN",
        description="Share of refused messages in a topic's newest 24 h above which its check warns.",
    )
    invalid_share_fail: float = Field(
        default=0.05,
        ge=0,
        le=1,
        validation_alias="OPSGRAPH_INVALID_SHARE_FAIL",
        description="Share above which the check fails as an error.",
    )
    dagster_runs_kept_days: int = Field(
        default=90,
        ge=1,
        validation_alias="OPSGRAPH_RUNS_KEPT_DAYS",
        description="Days after which finished Dagster runs and their events go, except those that hold "
        "an asset's last materialization or a partition's.",
    )
    fsync: bool = Field(
        default=True,
        validation_alias="OPSGRAPH_FSYNC",
        description="Off only in tests that never measure or crash: the embedded Postgres skips fsync.",
    )

    @cached_property
    def data_delay(self) -> timedelta:
        """How far scoring stays behind the plant clock."""
        return timedelta(minutes=self.data_delay_minutes)

    @cached_property
    def database_url(self) -> str:
        """URL of the opsgraph database, in the form that psycopg and dbt read."""
        return self.database_url_setting or f"postgresql://postgres@127.0.0.1:{self.postgres_port}/opsgraph"

    def sibling_database_url(self, database: str, driver: str | None = None) -> str:
        """URL of another database on the same server (`dagster`, `mlflow`, `lake`).

        Args:
            database: Name of the database.
            driver: SQLAlchemy driver to name in the scheme. SQLAlchemy 2.1 reads a bare
                `postgresql://` as psycopg 3, which Dagster's and MLflow's storages cannot use.
        """
        parts = urlsplit(self.database_url)
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return urlunsplit((scheme, parts.netloc, f"/{database}", parts.query, ""))

    @cached_property
    def kafka_bootstrap_servers(self) -> str:
        """Bootstrap servers of the broker in use."""
        return self.kafka_bootstrap_servers_setting or f"127.0.0.1:{self.kafka_port}"

    @cached_property
    def mlflow_tracking_uri(self) -> str:
        """HTTP address of the MLflow server in use."""
        return self.mlflow_tracking_uri_setting or f"http://127.0.0.1:{self.mlflow_port}"

    @cached_property
    def lake_url(self) -> str:
        """Warehouse root of the Iceberg tables."""
        return self.lake_url_setting or f"file://{self.state_dir / 'lake'}"

    @cached_property
    def lake_catalog_uri(self) -> str:
        """SQLAlchemy URL of the Iceberg catalog's database."""
        return self.sibling_database_url("lake", driver="psycopg2")

    @cached_property
    def api_url(self) -> str:
        """HTTP address of the opsgraph API."""
        return self.api_url_setting or f"http://127.0.0.1:{self.api_port}"

    @cached_property
    def dagster_url(self) -> str:
        """HTTP address of the Dagster web UI."""
        return f"http://127.0.0.1:{self.dagster_port}"

    @cached_property
    def dagster_home(self) -> Path:
        """`DAGSTER_HOME` of the stack."""
        return self.state_dir / "dagster"

    @cached_property
    def index_dir(self) -> Path:
        """Folder of the embedded vector index builds."""
        return self.state_dir / "index"

    @cached_property
    def channels_file(self) -> Path:
        """Where the receivers of alerts are listed."""
        return self.channels_file_setting or self.state_dir / "channels.yaml"
