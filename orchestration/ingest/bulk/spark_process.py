"""Starts Spark's own Python for a bulk job or a streaming landing, and reads what it says.

Spark, its jars and a JDK stand apart from the project; what is missing is named with the command that
brings it. Add settings of the session here. Avoid transformations: `spark_engine` has them.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestration.ingest.bulk.plan import BulkError, BulkPlan
from orchestration.ingest.contracts import (
    ContractField,
    FieldRole,
    MessageFormat,
    PinnedSchema,
    TopicContract,
    ViolationMode,
)
from orchestration.ingest.lake import CATALOG, warehouse_url

ROOT = Path(__file__).resolve().parents[3]
FUTURE_DAYS = 1
SPARK_TYPES = {
    "string": "string",
    "double": "double",
    "long": "bigint",
    "int": "int",
    "boolean": "boolean",
    "timestamp-micros": "timestamp",
}


class SparkMissingError(BulkError):
    """Spark can't be run here; the message names what is missing and how to get it."""


class Spark:
    """An installation of Spark with the lake's catalog."""

    def __init__(self, home: Path, lake_url: str, catalog_uri: str, memory: str = "2g") -> None:
        """Find Spark.

        Args:
            home: The project's folder of tools: `peers/bin/python` with pyspark, `spark-4.0.0/*.jar`.
            lake_url: Warehouse root of the lake.
            catalog_uri: SQLAlchemy URL of the catalog's database.
            memory: Of Spark's driver.

        Raises:
            SparkMissingError: Its Python, its jars or a JDK are not there.
        """
        self._python = home / "peers" / "bin" / "python"
        self._jars = sorted((home / "spark-4.0.0").glob("*.jar"))
        self._java = java_home()
        self._lake_url, self._catalog_uri, self._memory = lake_url, catalog_uri, memory
        if reason := self._missing():
            raise SparkMissingError(f"Spark can't be run here: {reason}. Nothing was changed.")

    def bulk(self, plan: BulkPlan) -> dict[str, int]:
        """Run the bulk jobs; rows by table of `silver`."""
        return self._run({"job": "bulk", "plan": asdict(plan)})

    def stream(
        self,
        contract: TopicContract,
        schemas: Mapping[int, PinnedSchema],
        bootstrap_servers: str,
        checkpoint: Path,
    ) -> dict[str, int]:
        """Land what waits in a topic into `streamed.<table>`; rows landed and refused so far.

        Raises:
            BulkError: The topic is written as JSON, or has personal fields: Spark has no vault for them.
        """
        if contract.format is not MessageFormat.AVRO:
            raise BulkError(f"{contract.topic} is written as {contract.format}; Spark lands Avro topics only")
        if personal := [field.name for field in contract.fields if field.is_pii]:
            raise BulkError(
                f"{contract.topic} has personal fields ({', '.join(personal)}), which only `opsgraph land` "
                "tokenises; nothing was read"
            )
        own = {number: item.schema for number, item in schemas.items() if item.topic == contract.topic}
        return self._run(
            {
                "job": "stream",
                "topic": contract.topic,
                "table": contract.table,
                "bootstrap_servers": bootstrap_servers,
                "checkpoint": str(checkpoint.absolute()),
                "schemas": own,
                "fields": {field.name: SPARK_TYPES[field.physical_type] for field in contract.fields},
                "rules": [rule for field in contract.fields for rule in rules_of(field)],
            }
        )

    def _missing(self) -> str:
        if not self._python.exists():
            return f"{self._python} is missing; run `deployment/bootstrap peers`"
        if not any("iceberg" in jar.name for jar in self._jars):
            return "its jars are missing; run `deployment/bootstrap peers`"
        if self._java is None:
            return "no JDK 17 was found; install one and set JAVA_HOME"
        return ""

    def _run(self, asked: Mapping[str, Any]) -> dict[str, int]:
        command = [str(self._python), "-m", "orchestration.ingest.bulk.spark_engine"]
        content = json.dumps({**asked, "settings": self._settings()})
        environment = {**os.environ, "JAVA_HOME": str(self._java), "PYSPARK_PYTHON": str(self._python)}
        done = subprocess.run(
            [*command, content], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            shown = "\n".join(done.stderr.strip().splitlines()[-12:])
            raise BulkError(
                f"Spark stopped with code {done.returncode}; tables keep their last state.\n{shown}"
            )
        return json.loads(done.stdout.strip().splitlines()[-1])

    def _settings(self) -> dict[str, str]:
        parts = urlsplit(self._catalog_uri.replace("+psycopg2", "").replace("+psycopg", ""))
        catalog = f"spark.sql.catalog.{CATALOG}"
        address = f"jdbc:postgresql://{parts.hostname}:{parts.port or 5432}{parts.path}"
        return {
            "spark.master": "local[*]",
            "spark.jars": ",".join(map(str, self._jars)),
            "spark.driver.memory": self._memory,
            "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
            catalog: "org.apache.iceberg.spark.SparkCatalog",
            f"{catalog}.type": "jdbc",
            f"{catalog}.uri": address,
            f"{catalog}.jdbc.user": parts.username or "postgres",
            f"{catalog}.jdbc.password": parts.password or "",
            f"{catalog}.jdbc.schema-version": "V1",  # as pyiceberg's catalog writes it
            f"{catalog}.warehouse": warehouse_url(self._lake_url),
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": str(os.cpu_count() or 2),
            "spark.sql.parquet.compression.codec": "zstd",
            "spark.ui.enabled": "false",
        }


def rules_of(field: ContractField) -> list[dict[str, Any]]:
    """The contract's rules on a field as values that `spark_engine.judged` reads, in landing's order."""
    mode = field.on_violation
    drops = mode is ViolationMode.DISCARD_VALUE and not field.is_required
    rules: list[tuple[str, Any, bool]] = []
    if field.is_required:
        rules.append(("required", None, False))
    if field.enum and mode is not ViolationMode.EVOLVE:
        rules.append(("enum", list(field.enum), drops))
    if field.role is FieldRole.EVENT_TIME:
        rules.append(("future", FUTURE_DAYS, drops))
    if field.physical_type == "timestamp-micros" or mode is not ViolationMode.EVOLVE:
        if field.physical_type == "double":
            rules.append(("finite", None, drops))
        for kinds, bound in ((("minimum", "after"), field.minimum), (("maximum", "before"), field.maximum)):
            if bound is not None:
                is_instant = isinstance(bound, datetime)
                rules.append((kinds[is_instant], bound.isoformat() if is_instant else bound, drops))
    return [
        {"field": field.name, "kind": kind, "value": value, "drops_value": drops_value}
        for kind, value, drops_value in rules
    ]


def java_home() -> Path | None:
    """A JDK 17: that of JAVA_HOME, else of the system; None where there is none."""
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    homes += sorted(Path("/usr/lib/jvm").glob("*17*"))
    return next((home for home in homes if (home / "bin" / "java").exists()), None)
