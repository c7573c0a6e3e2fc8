"""A plant adds a metric: one edit of a contract and one sync carry it to every part of the system.

Everything runs on a copy of the repository, against real Postgres, Kafka and dbt.
"""

import json
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from orchestration.dbt_invocation import dbt_environment
from orchestration.environment import PROJECT_ROOT
from orchestration.ingest.contracts import ContractError, arrow_schema, ensure_day_partition, load_contracts
from orchestration.ingest.contracts.avro import decode_datum
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.contracts.sync import CONTRACTS_PATH, VERSIONS_PATH, sync
from orchestration.ingest.contracts.wire import unframe
from orchestration.ingest.producer import RecordProducer
from orchestration.ingest.topics import ensure_topics

pytestmark = pytest.mark.integration

COPIED = (
    "orchestration/ingest/contracts",
    "orchestration/migrations",
    "dbt_project",
    "ml/features",
    "ml/validation",
)
OIL = """\
      - name: oil_ppm
        logicalType: number
        physicalType: double
        required: false
        description: Iron particles in the oil.
        logicalTypeOptions: {minimum: 0, maximum: 5000}
        customProperties:
          - {property: role, value: metric}
          - {property: unit, value: ppm}
          - {property: onViolation, value: discard_value}
"""
READING = {
    "tenant_id": "demo-plant",
    "equipment_id": "CNC-A-101",
    "event_at": datetime(2026, 1, 5, 6, tzinfo=UTC),
    "temperature_c": 61.25,
}


@dataclass(frozen=True)
class Plant:
    """A copy of the repository whose sensor contract gained `oil_ppm`, synced."""

    root: Path
    written: frozenset[str]

    @property
    def contracts_dir(self) -> Path:
        """Its contracts."""
        return self.root / CONTRACTS_PATH


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """The copy, after the one edit and the one command that a plant needs."""
    root = tmp_path_factory.mktemp("plant")
    ignored = shutil.ignore_patterns("__pycache__", "target", "logs")
    for folder in COPIED:
        shutil.copytree(PROJECT_ROOT / folder, root / folder, ignore=ignored)
    shutil.copy(PROJECT_ROOT / "ml/__init__.py", root / "ml/__init__.py")
    contract = root / CONTRACTS_PATH / "equipment-sensors.odcs.yaml"
    # Before the last metrics, not at the end: order in the file must not matter to old data.
    contract.write_text(contract.read_text().replace("      - name: volt\n", OIL + "      - name: volt\n", 1))
    return Plant(root, frozenset(str(file.path) for file in sync(root)))


def upgrade(plant: Plant, database_url: str) -> None:
    """Bring a database to the head of the copy's own chain."""
    config = Config()
    config.set_main_option("script_location", str(plant.root / "orchestration/migrations"))
    config.attributes["database_url"] = database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    command.upgrade(config, "head")


def land(connection: psycopg.Connection[Any], **values: Any) -> None:
    """Put one row into raw.equipment_sensors as landing would."""
    landed_at = datetime(2026, 1, 5, 7, tzinfo=UTC)
    ensure_day_partition(connection, "equipment_sensors", landed_at.date())
    row = {
        "batch_id": 1, "topic_id": uuid.UUID(int=7), "kafka_partition": 0, "kafka_offset": 0,
        "known_at": landed_at, "landed_at": landed_at, **READING, **values,
    }  # fmt: skip
    names, marks = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    connection.execute(f"insert into raw.equipment_sensors ({names}) values ({marks})", row)


def test_a_fresh_database_has_every_column_of_every_contract(plant: Plant, empty_database_url: str) -> None:
    """Forbids a chain whose sum differs from the contracts, in name, type or nullability."""
    upgrade(plant, empty_database_url)

    with psycopg.connect(empty_database_url) as connection:
        rows = connection.execute(
            "select table_name, column_name, is_nullable = 'YES', data_type from information_schema.columns "
            "where table_schema = 'raw'"
        ).fetchall()
    found = {(table, column): (nullable, kind) for table, column, nullable, kind in rows}
    assert found["equipment_sensors", "oil_ppm"] == (True, "double precision")
    wanted = {
        (contract.table, field.name): field.nullable
        for contract in load_contracts(plant.contracts_dir).values()
        if contract.direction == "in"
        for field in arrow_schema(contract)
    }
    assert {key: nullable for key, (nullable, _) in found.items()} == wanted


def test_a_database_with_rows_keeps_them_and_takes_the_new_column(plant: Plant, database_url: str) -> None:
    """Forbids a migration that needs an empty table; the old row's partition has to gain the column too."""
    with psycopg.connect(database_url) as connection:
        land(connection)

    upgrade(plant, database_url)

    with psycopg.connect(database_url) as connection:
        land(connection, kafka_offset=1, oil_ppm=12.5)
        rows = connection.execute(
            "select temperature_c, oil_ppm from raw.equipment_sensors order by kafka_offset"
        )
        assert rows.fetchall() == [(61.25, None), (61.25, 12.5)]
        assert not ensure_day_partition(connection, "equipment_sensors", date(2026, 1, 5))


def test_old_and_new_messages_are_both_decodable(plant: Plant, kafka_servers: str) -> None:
    """Forbids a schema change after which the messages still in Kafka are lost.

    The first message is written by this repository, the second by the plant's copy; one key, so one
    partition keeps their order.
    """
    now, later = load_contracts(), load_contracts(plant.contracts_dir)
    schemas = SchemaCatalog(later, folder=plant.contracts_dir)
    ensure_topics(kafka_servers, now)
    machine = f"CNC-{uuid.uuid4().hex[:8]}"
    with RecordProducer(kafka_servers, now) as producer:
        producer.send("equipment-sensors", {**READING, "equipment_id": machine})
    with RecordProducer(kafka_servers, later, schemas) as producer:
        producer.send("equipment-sensors", {**READING, "equipment_id": machine, "oil_ppm": 12.5})

    reader = schemas.latest("equipment-sensors").schema
    decoded: list[tuple[int, dict[str, Any]]] = []
    for payload in payloads(kafka_servers, "equipment-sensors", f"demo-plant/{machine}", count=2):
        schema_id, datum = unframe(payload)
        decoded.append((schema_id, decode_datum(schemas.schema_by_id(schema_id).schema, datum, reader)))

    (old_id, old), (new_id, new) = decoded
    assert new_id > old_id
    assert (old["oil_ppm"], new["oil_ppm"]) == (None, 12.5)
    assert {**old, "oil_ppm": 12.5} == new


def payloads(servers: str, topic: str, key: str, count: int) -> list[bytes]:
    """The first payloads of one key, in their order."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "none"})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    found: list[bytes] = []
    while len(found) < count:
        message = consumer.poll(10)
        assert message is not None, f"{len(found)} of {count} messages after 10 s"
        if message.key() == key.encode():
            found.append(message.value() or b"")
    consumer.close()
    return found


def test_the_producer_of_an_edited_contract_without_sync_refuses(plant: Plant) -> None:
    """Forbids sending records under the old schema id, which would drop the new metric in silence."""
    later = load_contracts(plant.contracts_dir)

    with pytest.raises(
        ContractError, match=r"contract of equipment-sensors changed .* `opsgraph contracts sync`"
    ):
        SchemaCatalog(later).latest("equipment-sensors")


def test_the_warehouse_builds_with_the_metric(plant: Plant, database_url: str, tmp_path: Path) -> None:
    """Forbids a metric that stops at staging: it has to reach the hours that features read, and the fact."""
    upgrade(plant, database_url)
    with psycopg.connect(database_url) as connection:
        land(connection, oil_ppm=12.5)
        connection.execute(
            "insert into ops.landing_ledger (batch_id, topic, topic_id, kafka_partition, offset_lo,"
            " offset_hi, landed, landed_at) values (1, 'equipment-sensors', %s, 0, 0, 1, 1, %s)",
            (uuid.UUID(int=7), datetime(2026, 1, 5, 7, tzinfo=UTC)),
        )
    project = str(plant.root / "dbt_project")
    environment = os.environ | dbt_environment(database_url, tmp_path) | {
        "DBT_PROJECT_DIR": project,
        "DBT_PROFILES_DIR": project,
    }  # fmt: skip

    result = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "run", "--quiet", "--target-path", str(tmp_path / "target"),
         "--select", "+fact_sensor_readings", "int_equipment_metrics_hourly"],
        env=environment, cwd=project, capture_output=True, text=True,
    )  # fmt: skip

    assert result.returncode == 0, result.stdout + result.stderr
    with psycopg.connect(database_url) as connection:
        for query in (
            "select oil_ppm from staging.stg_sensor_readings",
            "select oil_ppm from marts.fact_sensor_readings",
            "select oil_ppm_mean from intermediate.int_equipment_metrics_hourly",
        ):
            assert connection.execute(query).fetchall() == [(12.5,)], query


def test_features_and_drift_see_the_metric(plant: Plant) -> None:
    """Forbids a metric list in ml that someone has to extend by hand."""
    program = (
        "from ml.features.metrics import contract_metrics\n"
        "print(*[f'{metric.name}:{metric.unit}' for metric in contract_metrics()])"
    )
    environment = {**os.environ, "PYTHONPATH": str(plant.root)}
    listed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=plant.root, env=environment, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    suite = json.loads((plant.root / "ml/validation/generated/equipment-sensors.json").read_text())

    assert "oil_ppm:ppm" in listed
    assert {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "oil_ppm", "min_value": 0, "max_value": 5000},
        "meta": {"unit": "ppm"},
        "severity": "warning",
    } in suite["expectations"]


def test_one_linear_chain_grew_by_one_revision(plant: Plant) -> None:
    """Forbids a sync that writes more than the contract's change asks for."""
    versions = {name for name in plant.written if name.startswith(str(VERSIONS_PATH))}

    assert len(versions) == 1
    text = (plant.root / versions.pop()).read_text()
    assert "alter table raw.equipment_sensors add column oil_ppm double precision" in text
