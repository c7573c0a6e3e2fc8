"""Files, pushed records and pulled pages end in raw rows or dead letters, once."""

import gzip
import hmac
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import psycopg
import pytest
from landing_plant import MAINTENANCE, SENSORS, Plant, reading

from orchestration.ingest.dead_letters import Selection, replay
from orchestration.ingest.intake import positions, sending
from orchestration.ingest.intake.drop_folder import FileOutcome, local_folder, take_files
from orchestration.ingest.intake.pull import PullSource, pull
from orchestration.ingest.intake.requests import (
    MalformedError,
    PushStatus,
    UnsignedError,
    accept,
    check_signature,
    make_secret,
    signature,
)
from orchestration.ingest.intake.sending import SharedSenders, SourceRow
from orchestration.ingest.producer import DeliveryError

pytestmark = pytest.mark.integration


@pytest.fixture
def connection(plant: Plant) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the sources' own."""
    with psycopg.connect(plant.services.database_url, autocommit=True) as opened:
        yield opened


def take(plant: Plant, connection: psycopg.Connection[Any], root: Path) -> list[FileOutcome]:
    """One look into a drop folder."""
    schemas = plant.services.schema_catalog(plant.contracts)
    servers = plant.services.bootstrap_servers
    return take_files(local_folder(root), connection, servers, plant.contracts, schemas)


def test_each_file_lands_once_and_a_bad_row_becomes_a_dead_letter(
    plant: Plant, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """Forbids a bad row that stops its file, a file that is sent twice, and a row that nobody hears of."""
    folder = tmp_path / "drop" / plant.topic(SENSORS)
    folder.mkdir(parents=True)
    rows = [reading(number) for number in range(6)]
    pl.DataFrame(rows[:2]).write_parquet(folder / "a.parquet")
    csv = pl.DataFrame(rows[2:4]).write_csv()
    bad = csv.splitlines()[1].replace("42.0", "hot")
    (folder / "b.csv.gz").write_bytes(gzip.compress(f"{csv}{bad}\n".encode()))
    lines = [json.dumps(row, default=str) for row in rows[4:]]
    (folder / "c.jsonl").write_text("\n".join([*lines, "no json"]))
    (folder / "d.parquet").write_bytes(b"not parquet")
    (folder / "readme.txt").write_text("nobody's business")
    (tmp_path / "drop" / "unknown-topic").mkdir()
    (tmp_path / "drop" / "unknown-topic" / "e.csv").write_text("a\n1\n")

    first = {
        outcome.path.rpartition("/")[2]: outcome for outcome in take(plant, connection, tmp_path / "drop")
    }
    second = [item for item in take(plant, connection, tmp_path / "drop") if item.intake]
    plant.land()

    counts = {name: (item.intake.sent, item.intake.refused) for name, item in first.items() if item.intake}
    assert counts == {"a.parquet": (2, 0), "b.csv.gz": (2, 1), "c.jsonl": (2, 1)}
    assert "can't be read as parquet" in first["d.parquet"].problem
    assert "topic unknown-topic has no contract" in first["e.csv"].problem
    assert first["b.csv.gz"].intake is not None
    # Line 1 is the header, lines 2 and 3 are good.
    assert "b.csv.gz:4: temperature_c: 'hot' is no double" in first["b.csv.gz"].intake.reasons[0]
    assert second == []
    temperatures = plant.query("select temperature_c from raw.equipment_sensors order by 1")
    assert [row[0] for row in temperatures] == [40.0, 41.0, 42.0, 43.0, 44.0, 45.0]
    kept = plant.query("select payload, headers from ops.dead_letters")
    assert len(kept) == 2
    assert any(b"hot" in bytes(payload) for payload, _ in kept)
    assert {"intake_place", "intake_reason"} <= {name for _, headers in kept for name, _ in headers}
    assert plant.check().is_balanced


def test_a_signed_request_is_sent_once_per_key(plant: Plant, connection: psycopg.Connection[Any]) -> None:
    """Forbids records from who can't sign, a repeat that sends twice, and a foreign tenant's records."""
    schemas = plant.services.schema_catalog(plant.contracts)
    senders = SharedSenders(plant.services.bootstrap_servers, plant.contracts, schemas)
    secret = bytes.fromhex(make_secret(connection, "demo-plant"))
    record = {name: value for name, value in reading(1).items() if name != "tenant_id"}
    body = json.dumps({"topic": plant.topic(SENSORS), "records": [record]}, default=str).encode()
    own = "sha256=" + hmac.new(secret, body, sha256).hexdigest()
    foreign = json.dumps(
        {"topic": plant.topic(SENSORS), "records": [{**record, "tenant_id": "azure-pdm"}]}, default=str
    ).encode()

    def push(key: str, content: bytes = body) -> PushStatus:
        return accept(connection, senders.send, plant.contracts, "demo-plant", key, content).status

    check_signature(connection, "demo-plant", body, own)
    for tenant, content, given in (
        ("demo-plant", body + b" ", own),
        ("azure-pdm", body, own),
        ("demo-plant", body, None),
        ("demo-plant", body, signature(b"another", body)),
    ):
        with pytest.raises(UnsignedError):
            check_signature(connection, tenant, content, given)
    with pytest.raises(MalformedError, match="names tenant 'azure-pdm'"):
        push("k0", foreign)
    assert push("k1") is PushStatus.ACCEPTED
    assert push("k1") is PushStatus.REPEATED
    assert push("k1", body + b" ") is PushStatus.OTHER_BODY
    plant.land()
    assert plant.query("select tenant_id, count(*) from raw.equipment_sensors group by 1") == [
        ("demo-plant", 1)
    ]


def test_a_refused_row_is_landed_by_a_replay_after_the_fix(
    plant: Plant, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """Forbids a dead letter of a source that no fix of its contract can ever bring back."""
    folder = tmp_path / "drop" / plant.topic(SENSORS)
    folder.mkdir(parents=True)
    name = next(field.name for field in plant.contract(SENSORS).fields if field.name == "power_kw")
    narrow = tuple(field for field in plant.contract(SENSORS).fields if field.name != name)
    before = plant.with_contract(SENSORS, fields=narrow)
    (folder / "a.jsonl").write_text(
        json.dumps({**reading(1), name: 7.5, "equipment_id": "Fräse"}, default=str)
    )
    (outcome,) = take_files(
        local_folder(tmp_path / "drop"), connection, plant.services.bootstrap_servers, before.contracts,
        plant.services.schema_catalog(plant.contracts),
    )  # fmt: skip
    plant.land()
    ((payload,),) = plant.query("select payload from ops.dead_letters")

    report = replay(plant.services, plant.contracts, Selection(topic=plant.topic(SENSORS)))

    assert outcome.intake is not None
    assert (outcome.intake.sent, outcome.intake.refused) == (0, 1)
    assert "Fräse".encode() in bytes(payload), "a text that can be searched for, for example to erase it"
    assert (report.landed, report.refused) == (1, ())
    assert plant.query(f"select equipment_id, {name} from raw.equipment_sensors") == [("Fräse", 7.5)]
    assert plant.check().is_balanced


def test_a_fault_of_the_schema_stops_the_file_and_not_its_rows(
    plant: Plant, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """Forbids thousands of good rows that become dead letters because `contracts sync` was not run."""
    folder = tmp_path / "drop" / plant.topic(SENSORS)
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text(json.dumps(reading(1), default=str))
    before = plant.query("select count(*) from ops.intake_files")

    # The ids pinned in the repository know nothing of this test's topics, as of a contract that was edited.
    (outcome,) = take_files(
        local_folder(tmp_path / "drop"), connection, plant.services.bootstrap_servers, plant.contracts
    )
    plant.land()

    assert outcome.intake is None
    assert outcome.is_waiting
    assert "kept for the next run" in outcome.problem
    assert plant.query("select count(*) from ops.intake_files") == before
    assert plant.query("select count(*) from ops.dead_letters") == [(0,)]
    (taken,) = take(plant, connection, tmp_path / "drop")
    assert taken.intake is not None
    assert taken.intake.sent == 1


def test_bad_files_and_texts_hold_up_nothing(
    plant: Plant, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """Forbids a damaged archive or half a character that keeps every later file from being taken."""
    folder = tmp_path / "drop" / plant.topic(SENSORS)
    folder.mkdir(parents=True)
    line = json.dumps(reading(1), default=str)
    whole = gzip.compress((line + "\n").encode() * 500, mtime=0)
    (folder / "a.csv.gz").write_bytes(whole[:12] + b"\xff" * 40 + whole[52:])
    hostile = {
        **reading(2), "equipment_id": "\ud800", "event_at": "2026-01-01T00:00:00Z", "\ud800": 1, "a\0b": 1,
    }  # fmt: skip
    (folder / "b.jsonl").write_text(
        "\n".join([json.dumps(hostile), json.dumps({**json.loads(line), "equipment_id": "\ud800"}), line])
    )
    (folder / "c.jsonl").write_text(
        json.dumps({**json.loads(line), "equipment_id": "a\u2028b"}, ensure_ascii=False)
    )
    written_by_us = tmp_path / "drop" / plant.topic("processed_alerts")
    written_by_us.mkdir()
    (written_by_us / "d.jsonl").write_text(line)

    found = {item.path.rpartition("/")[2]: item for item in take(plant, connection, tmp_path / "drop")}

    assert "can't be read as csv" in found["a.csv.gz"].problem
    counts = {name: (item.intake.sent, item.intake.refused) for name, item in found.items() if item.intake}
    assert counts == {"b.jsonl": (1, 2), "c.jsonl": (1, 0)}
    assert "is written by this system alone" in found["d.jsonl"].problem
    plant.land()
    assert plant.check().is_balanced


def test_a_misplaced_file_is_taken_from_the_right_folder(
    plant: Plant, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """Forbids a file that is skipped silently because another topic's folder held it first."""
    wrong, right = (tmp_path / "drop" / plant.topic(name) for name in (MAINTENANCE, SENSORS))
    wrong.mkdir(parents=True)
    right.mkdir()
    (wrong / "a.jsonl").write_text(json.dumps(reading(1), default=str))
    (first,) = take(plant, connection, tmp_path / "drop")
    (wrong / "a.jsonl").rename(right / "a.jsonl")

    (second,) = take(plant, connection, tmp_path / "drop")

    assert first.intake is not None
    assert first.intake.refused == 1
    assert second.intake is not None
    assert second.intake.sent == 1
    assert take(plant, connection, tmp_path / "drop") == []


def test_a_key_that_was_taken_over_is_not_given_back_by_the_first(
    connection: psycopg.Connection[Any],
) -> None:
    """Forbids a slow sender that frees the claim of the one that took its key over."""
    first = positions.begin_request(connection, "t", "k", "digest")
    assert isinstance(first, positions.Claim)
    assert isinstance(positions.begin_request(connection, "t", "k", "digest"), positions.Answered)
    connection.execute("update ops.intake_requests set begun_at = begun_at - interval '61 seconds'")
    second = positions.begin_request(connection, "t", "k", "digest")
    assert isinstance(second, positions.Claim)

    positions.drop_request(connection, first)
    assert isinstance(positions.begin_request(connection, "t", "k", "digest"), positions.Answered)
    positions.drop_request(connection, second)
    assert isinstance(positions.begin_request(connection, "t", "k", "digest"), positions.Claim)


def test_a_request_does_not_wait_for_one_that_waits_for_kafka(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids an absent Kafka that holds every thread of the API."""
    monkeypatch.setattr(sending, "SHARED_LOCK_TIMEOUT_S", 0.05)
    monkeypatch.setattr(sending, "SHARED_DELIVERY_TIMEOUT_S", 2.0)
    schemas = plant.services.schema_catalog(plant.contracts)
    senders = SharedSenders("127.0.0.1:1", plant.contracts, schemas)
    row = SourceRow("here", reading(1))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(senders.send, plant.topic(SENSORS), [row])
        time.sleep(0.5)
        with pytest.raises(sending.BusyError, match="nothing of this one was sent"):
            senders.send(plant.topic(SENSORS), [row])
        with pytest.raises(DeliveryError, match="did not reach Kafka"):
            first.result(20)


def test_a_paged_api_is_read_on_from_its_cursor(plant: Plant, connection: psycopg.Connection[Any]) -> None:
    """Forbids a page that is skipped or sent twice, also when the server fails in between."""
    items = [{"id": n, "machine": "m", "at": f"2026-01-01T00:0{n}:00Z", "temp": 40 + n} for n in range(7)]
    source = {
        "name": "cmms", "topic": plant.topic(SENSORS), "kind": "api", "items": "data.items",
        "next_page": "data.next", "page_parameter": "page", "cursor_parameter": "since", "cursor_field": "id",
        "ascending": True,
        "fields": {"equipment_id": "machine", "event_at": "at", "temperature_c": "temp"},
        "constants": {"tenant_id": "demo-plant"},
    }  # fmt: skip
    schemas = plant.services.schema_catalog(plant.contracts)
    servers = plant.services.bootstrap_servers
    with paged_server(items, fail_once_on="2") as url:
        described = PullSource.model_validate({**source, "url": url})
        first = pull(described, connection, servers, plant.contracts, 2, schemas)
        rest = pull(described, connection, servers, plant.contracts, None, schemas)
        nothing = pull(described, connection, servers, plant.contracts, None, schemas)
    plant.land()

    # Pages of three: two pages are six rows. The cursor lies below the last one, since more rows could have
    # its value: it comes again with the one that is left.
    assert (first.sent, rest.sent, nothing.sent) == (6, 2, 0)
    landed = plant.query("select distinct temperature_c from raw.equipment_sensors order by 1")
    assert [row[0] for row in landed] == [40.0 + n for n in range(7)]


def test_a_database_export_goes_on_where_it_stopped(
    plant: Plant, connection: psycopg.Connection[Any]
) -> None:
    """Forbids rows that are exported twice, and personal data that reach raw in clear."""
    connection.execute("create table work_orders (id int, machine text, done_at timestamptz, who text)")
    connection.execute(
        "insert into work_orders select n, 'CNC-A-101', '2026-01-01'::timestamptz + n * interval '1 hour', "
        "'Ada' from generate_series(1, 5) as n"
    )
    query = """
        select id, machine as equipment_id, done_at as event_at, who as technician_id,
            'maintenance' as event_type, 'wo-' || id as event_id, 'demo-plant' as tenant_id
        from work_orders where id > coalesce(:cursor, 0) order by id
    """
    fields = ["equipment_id", "event_at", "technician_id", "event_type", "tenant_id"]
    known = {field.name for field in plant.contract(MAINTENANCE).fields}
    source = PullSource(
        name="erp", topic=plant.topic(MAINTENANCE), kind="database", cursor_field="id", page_rows=2,
        url=plant.services.database_url.replace("postgresql://", "postgresql+psycopg2://"), query=query,
        fields={name: name for name in [*fields, "event_id"] if name in known},
    )  # fmt: skip
    schemas = plant.services.schema_catalog(plant.contracts)
    servers = plant.services.bootstrap_servers

    first = pull(source, connection, servers, plant.contracts, None, schemas)
    connection.execute("insert into work_orders values (6, 'CNC-A-101', '2026-01-02', 'Ada')")
    second = pull(source, connection, servers, plant.contracts, None, schemas)
    plant.land(MAINTENANCE)

    assert (first.sent, second.sent) == (5, 1), (first.reasons, second.reasons)
    people = plant.query("select distinct technician_id from raw.maintenance_events")
    assert len(people) == 1
    assert people[0][0].startswith("pii_")


def test_an_export_in_pages_skips_no_row_of_an_instant(
    plant: Plant, connection: psycopg.Connection[Any]
) -> None:
    """Forbids rows of one instant that are lost because a page ended between them."""
    connection.execute("create table readings (at timestamptz, machine text, temp numeric)")
    # Three rows of the same minute: the first page of two ends between them.
    for number, minute in enumerate((0, 1, 1, 1, 2)):
        connection.execute(
            "insert into readings values ('2026-01-01'::timestamptz + %s * interval '1 minute', 'm', %s)",
            (minute, 40 + number),
        )
    source = PullSource(
        name="mes", topic=plant.topic(SENSORS), kind="database", cursor_field="at", page_rows=2,
        url=plant.services.database_url.replace("postgresql://", "postgresql+psycopg2://"),
        query="select *, at as event_at from readings where at > :cursor order by at, temp",
        first_cursor="1970-01-01",
        fields={"equipment_id": "machine", "event_at": "event_at", "temperature_c": "temp"},
        constants={"tenant_id": "demo-plant"},
    )  # fmt: skip
    schemas, servers = plant.services.schema_catalog(plant.contracts), plant.services.bootstrap_servers

    cut = pull(source, connection, servers, plant.contracts, 1, schemas)
    pull(source, connection, servers, plant.contracts, None, schemas)
    nothing = pull(source, connection, servers, plant.contracts, None, schemas)
    plant.land()

    assert (cut.sent, nothing.sent) == (2, 0)
    landed = plant.query("select distinct temperature_c from raw.equipment_sensors order by 1")
    assert [row[0] for row in landed] == [40.0, 41.0, 42.0, 43.0, 44.0]


@contextmanager
def paged_server(items: list[dict[str, Any]], fail_once_on: str) -> Iterator[str]:
    """A small API with pages of three, a token for the next page, and one failure."""
    failed: list[str] = []

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            page = asked.get("page", ["0"])[0]
            if page == fail_once_on and not failed:
                failed.append(page)
                self.send_response(503)
                self.end_headers()
                return
            since = int(asked.get("since", ["-1"])[0])
            left = [item for item in items if item["id"] > since][int(page) * 3 :]
            following = str(int(page) + 1) if len(left) > 3 else None
            body = json.dumps({"data": {"items": left[:3], "next": following}}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/orders"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
