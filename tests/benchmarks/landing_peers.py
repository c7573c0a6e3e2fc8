"""What the landing benchmark is compared with, each in the form that its own documentation recommends.

The poll loop is what people write first. Spark and dlt are run from an environment of their own
(`.tools/peers`), by the scripts beside this one. None of them has contract rules, a ledger, dead letters
and a lake beside the database; what each has is said where it is measured.
"""

import io
import json
import os
import subprocess
import time
from pathlib import Path

import fastavro
import psycopg
from confluent_kafka import Consumer, TopicPartition

from deployment.embedded.jars import SPARK_JARS_DIR, SPARK_LOCK_FILE, fetch_jars
from orchestration.ingest.bulk.spark_process import java_home
from orchestration.ingest.contracts import latest_schema
from orchestration.ingest.services import LandingServices
from tests.benchmarks.landing_stack import PARTITIONS, SENSORS

ROOT = Path(__file__).resolve().parents[2]
PEERS_PYTHON = ROOT / ".tools" / "peers" / "bin" / "python"


def poll_loop_rate(services: LandingServices, count: int) -> float:
    """Messages per second of the usual loop: poll, fastavro, rows of text to COPY, commit per 10,000."""
    parsed = fastavro.parse_schema(latest_schema(SENSORS).schema)
    columns = [field["name"] for field in latest_schema(SENSORS).schema["fields"]]
    consumer = Consumer({"bootstrap.servers": services.bootstrap_servers, "group.id": "peer"})
    with psycopg.connect(services.database_url) as connection:
        connection.execute("create table public.peer as select * from raw.equipment_sensors limit 0")
        for name in ("batch_id", "topic_id", "kafka_partition", "kafka_offset", "known_at", "landed_at"):
            connection.execute(f"alter table public.peer drop column {name}")
        connection.commit()
        consumer.assign([TopicPartition(SENSORS, partition, 0) for partition in range(PARTITIONS)])
        started, rows, done = time.perf_counter(), [], 0
        while done < count:
            message = consumer.poll(1.0)
            if message is None or message.error():
                continue
            record = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), parsed, None)
            rows.append([record[name] for name in columns])
            done += 1
            if len(rows) == 10_000 or done == count:
                with connection.cursor() as cursor, cursor.copy("copy public.peer from stdin") as copy:
                    for row in rows:
                        copy.write_row(row)
                connection.commit()
                rows = []
        seconds = time.perf_counter() - started
    consumer.close()
    return count / seconds


def spark_rates(services: LandingServices, count: int, folder: Path) -> dict[str, float]:
    """First and warm query of Structured Streaming into parquet files with a checkpoint."""
    jars = fetch_jars(SPARK_JARS_DIR, SPARK_LOCK_FILE)
    return _peer(
        "peer_spark.py",
        services,
        count,
        folder,
        {"SPARK_JARS": ",".join(map(str, sorted(jars.glob("*.jar"))))},
    )


def dlt_rates(services: LandingServices, count: int, folder: Path) -> dict[str, float]:
    """Load with dlt into Postgres: records as dicts, and as Arrow tables."""
    return _peer("peer_dlt.py", services, count, folder, {"DLT_DATA_DIR": str(folder / "dlt")})


def missing_peers() -> str:
    """Why the peers can't be run here; empty where they can."""
    if not PEERS_PYTHON.exists():
        return f"{PEERS_PYTHON} is missing: make it with pyspark==4.0.0 and dlt[postgres]==1.31.0"
    if java_home() is None:
        return "no JDK 17 found: Spark needs one (apt-get install openjdk-17-jdk-headless)"
    return ""


def _peer(
    script: str, services: LandingServices, count: int, folder: Path, environment: dict[str, str]
) -> dict[str, float]:
    """Run a peer's script; its last line is JSON, what stands before it its settings."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        "bootstrap_servers": services.bootstrap_servers,
        "database_url": services.database_url,
        "topic": SENSORS,
        "count": count,
        "schema": latest_schema(SENSORS).schema,
        "folder": str(folder),
    }
    result = subprocess.run(
        [str(PEERS_PYTHON), str(Path(__file__).with_name(script)), json.dumps(asked)],
        env={
            **os.environ,
            "JAVA_HOME": str(java_home()),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    if result.returncode:
        raise RuntimeError(f"{script} failed:\n{result.stderr[-3000:]}")
    *said, figures = result.stdout.strip().splitlines()
    print("\n".join(said))
    return json.loads(figures)
