"""A landing path of the test's own: topics, database and lake that nothing else touches."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import psycopg
from confluent_kafka import Producer

from orchestration.ingest.contracts import CONTRACTS_DIR, TopicContract
from orchestration.ingest.lake import Lake
from orchestration.ingest.landing import land_topic
from orchestration.ingest.landing_report import LandingReport
from orchestration.ingest.landing_service import LandingService
from orchestration.ingest.ledger_check import LedgerReport, check_ledger
from orchestration.ingest.services import LandingServices
from orchestration.ingest.topics import MAX_MESSAGE_BYTES

SENSORS, LOGS, MAINTENANCE = "equipment-sensors", "raw_logs", "maintenance-events"
STARTED_AT = datetime(2026, 1, 5, 6, tzinfo=UTC)


def reading(number: int, **changes: Any) -> dict[str, Any]:
    """One valid sensor reading; its number is in every value that a test may compare."""
    return {
        "tenant_id": "demo-plant",
        "equipment_id": f"CNC-A-{101 + number % 6}",
        "event_at": STARTED_AT + timedelta(seconds=number),
        "temperature_c": 40.0 + number % 100,
        "vibration_mm_s": None if number % 5 == 0 else 2.5,
        "rotation_rpm": float(number % 20_000),
        **changes,
    }


def log_line(number: int, **changes: Any) -> dict[str, Any]:
    """One valid log line."""
    return {
        "tenant_id": "demo-plant",
        "event_at": (STARTED_AT + timedelta(seconds=number)).isoformat(),
        "level": "INFO",
        "source": "line-controller",
        "message": f"cycle {number} finished",
        **changes,
    }


@dataclass(frozen=True)
class Plant:
    """Topics, database and lake of one test."""

    services: LandingServices
    contracts: dict[str, TopicContract]
    suffix: str

    def topic(self, base: str) -> str:
        """The test's own name of a topic."""
        return f"{base}-{self.suffix}"

    def contract(self, base: str) -> TopicContract:
        """Contract of a topic by its original name."""
        return self.contracts[self.topic(base)]

    def datum(self, base: str, record: dict[str, Any]) -> bytes:
        """A message of an Avro topic, written by fastavro under the latest pinned schema."""
        pinned = self.services.schema_catalog(self.contracts).latest(self.topic(base))
        buffer = io.BytesIO(bytes(1) + pinned.schema_id.to_bytes(4, "big"))
        buffer.seek(5)
        fastavro.schemaless_writer(buffer, fastavro.parse_schema(pinned.schema), record)
        return buffer.getvalue()

    def produce(
        self, base: str, payloads: Sequence[bytes | None], partition: int = 0, **settings: Any
    ) -> None:
        """Write payloads to one partition, in order."""
        producer = Producer(
            {
                "bootstrap.servers": self.services.bootstrap_servers,
                "enable.idempotence": True,
                "message.max.bytes": MAX_MESSAGE_BYTES,
                "queue.buffering.max.messages": 2_000_000,
            }
        )
        for payload in payloads:
            producer.produce(self.topic(base), value=payload, partition=partition, **settings)
        assert producer.flush(30) == 0

    def produce_readings(self, count: int, start: int = 0) -> None:
        """Write valid readings to the four partitions of the sensor topic."""
        payloads = [self.datum(SENSORS, reading(start + number)) for number in range(count)]
        for partition in range(4):
            self.produce(SENSORS, payloads[partition::4], partition)

    def land(self, base: str = SENSORS, **arguments: Any) -> LandingReport:
        """Land what waits."""
        return land_topic(self.topic(base), self.services, contracts=self.contracts, **arguments)

    def check(self, base: str = SENSORS) -> LedgerReport:
        """Check the ledger."""
        return check_ledger(self.services, self.contracts, [self.topic(base)])

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with psycopg.connect(self.services.database_url) as connection:
            return connection.execute(statement, parameters or None).fetchall()

    def row_count(self) -> int:
        """Rows of the sensors' raw table."""
        return int(self.query("select count(*) from raw.equipment_sensors")[0][0])

    def lake_rows(self, base: str = SENSORS) -> list[dict[str, Any]]:
        """Every row of a lake table."""
        table = Lake(self.services.lake_url, self.services.catalog_uri).existing_table(self.contract(base))
        return [] if table is None else table.scan().to_arrow().to_pylist()

    def lake_dir(self, base: str = SENSORS) -> Path:
        """Folder of a lake table."""
        table = Lake(self.services.lake_url, self.services.catalog_uri).existing_table(self.contract(base))
        assert table is not None
        return Path(table.location().removeprefix("file://"))

    def dead_letters(self) -> dict[int, str]:
        """Error class by offset."""
        return dict(self.query("select kafka_offset, error_class from ops.dead_letters"))

    def with_contract(self, base: str, **changes: Any) -> "Plant":
        """The same plant under a changed contract."""
        contract = replace(self.contract(base), **changes)
        return replace(self, contracts={**self.contracts, contract.topic: contract})


@contextmanager
def running_service(plant: Plant, stops_within_s: float = 30, **arguments: Any) -> Iterator[LandingService]:
    """The landing service of the sensor topic, at work until the block ends."""
    service = LandingService(plant.services, plant.contracts, [plant.topic(SENSORS)], **arguments)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield service
    finally:
        service.stop()
        thread.join(stops_within_s)
        assert not thread.is_alive(), f"the service did not stop within {stops_within_s:g} s"


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait, and fail when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.02)


def own_contracts(folder: Path, suffix: str) -> Path:
    """The repository's contracts under topic names that carry a suffix."""
    for path in CONTRACTS_DIR.glob("*.odcs.yaml"):
        text = path.read_text()
        topic = path.name.removesuffix(".odcs.yaml")
        (folder / path.name).write_text(
            text.replace(f"physicalName: {topic}\n", f"physicalName: {topic}-{suffix}\n")
        )
    generated = folder / "generated"
    generated.mkdir()
    pinned = json.loads((CONTRACTS_DIR / "generated" / "schemas.json").read_text())
    for entry in pinned["schemas"]:
        entry["topic"] += f"-{suffix}"
    (generated / "schemas.json").write_text(json.dumps(pinned))
    return folder
