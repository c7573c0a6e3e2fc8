"""Schema ids from a registry over its real HTTP protocol, and what happens when it fails."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import pytest

from orchestration.ingest.contracts import ContractError, latest_schema, load_contracts
from orchestration.ingest.contracts.avro import derive_schema
from orchestration.ingest.contracts.schema_catalog import (
    SchemaCatalog,
    SchemaRegistryUnavailableError,
    UnknownSchemaIdError,
)

pytestmark = pytest.mark.integration
CONTRACTS = load_contracts()


class Registry(BaseHTTPRequestHandler):
    """The part of Confluent's registry API that the client uses, with schemas in memory."""

    schemas: ClassVar[list[tuple[str, str]]] = []  # (subject, schema text); id = 7 + index
    requests: ClassVar[list[str]] = []
    failure: ClassVar[tuple[int, str] | None] = None

    def do_GET(self) -> None:
        """Answer `/schemas/ids/{id}` and `/schemas/ids/{id}/versions`."""
        path = self._arrive("GET")
        if path is None:
            return
        parts = path.strip("/").split("/")
        index = int(parts[2]) - 7
        if not 0 <= index < len(self.schemas):
            self._answer(404, {"error_code": 40403, "message": "Schema not found"})
        elif parts[3:] == ["versions"]:
            self._answer(200, [{"subject": self.schemas[index][0], "version": 1}])
        else:
            self._answer(200, {"schema": self.schemas[index][1]})

    def do_POST(self) -> None:
        """Register under `/subjects/{subject}/versions`, look up under `/subjects/{subject}`."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self._arrive("POST")
        if path is None:
            return None
        subject = unquote(path.strip("/").split("/")[1])
        entry = (subject, body["schema"])
        if entry not in self.schemas:
            if not path.endswith("/versions"):
                return self._answer(404, {"error_code": 40403, "message": "Schema not found"})
            self.schemas.append(entry)
        schema_id = 7 + self.schemas.index(entry)
        if path.endswith("/versions"):
            return self._answer(200, {"id": schema_id})
        return self._answer(200, {"subject": subject, "id": schema_id, "version": 1, "schema": entry[1]})

    def _arrive(self, method: str) -> str | None:
        path = urlsplit(self.path).path
        self.requests.append(f"{method} {path}")
        if self.failure:
            self._answer(self.failure[0], {"error_code": self.failure[0], "message": self.failure[1]})
            return None
        return path

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Quiet: the test's output is not the server's log."""


@pytest.fixture
def registry() -> Iterator[type[Registry]]:
    """A registry with nothing in it."""

    class Own(Registry):
        schemas: ClassVar[list[tuple[str, str]]] = []
        requests: ClassVar[list[str]] = []
        url: ClassVar[str] = ""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Own.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield Own
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_producer_registers_and_a_lander_finds_it(registry: Any) -> None:
    """Forbids ids that one process knows and another cannot resolve."""
    producer_side = SchemaCatalog(CONTRACTS, registry.url)
    lander_side = SchemaCatalog(CONTRACTS, registry.url)

    written = producer_side.latest("equipment-status")
    found = lander_side.schema_by_id(written.schema_id)

    assert found == written
    assert (written.schema_id, written.topic, written.version) == (7, "equipment-status", 1)
    assert found.schema == derive_schema(CONTRACTS["equipment-status"])
    assert registry.schemas[0][0] == "equipment-status-value"


def test_a_schema_is_asked_for_once(registry: Any) -> None:
    """Forbids an HTTP request per message."""
    catalog = SchemaCatalog(CONTRACTS, registry.url)
    schema_id = catalog.latest("equipment-sensors").schema_id
    before = len(registry.requests)

    for _ in range(50):
        catalog.latest("equipment-sensors")
        catalog.schema_by_id(schema_id)

    assert len(registry.requests) == before


def test_an_id_that_the_registry_lacks_is_unknown_even_if_it_is_pinned_here(registry: Any) -> None:
    """Forbids decoding with this repository's schema 101 what another plant's registry issued as 101."""
    catalog = SchemaCatalog(CONTRACTS, registry.url)

    with pytest.raises(UnknownSchemaIdError, match="fetch schema id 101"):
        catalog.schema_by_id(latest_schema("equipment-sensors").schema_id)


@pytest.mark.parametrize("status", [500, 503, 401])
def test_a_failing_registry_is_no_reason_to_give_up_a_message(registry: Any, status: int) -> None:
    """Forbids dead-lettering good messages because the registry was down for a minute."""
    registry.failure = (status, "not now")
    catalog = SchemaCatalog(CONTRACTS, registry.url)

    with pytest.raises(
        SchemaRegistryUnavailableError, match=f"127.0.0.1.* failed to fetch schema id 7.*{status}"
    ):
        catalog.schema_by_id(7)


def test_an_absent_registry_is_unavailable_and_its_password_stays_out_of_the_message() -> None:
    """Forbids credentials of SCHEMA_REGISTRY_URL in a log line."""
    catalog = SchemaCatalog(CONTRACTS, "http://lander:s3cret@127.0.0.1:1")

    with pytest.raises(SchemaRegistryUnavailableError, match=r"127\.0\.0\.1:1 did not answer") as error:
        catalog.schema_by_id(7)
    assert "s3cret" not in str(error.value)


def test_an_incompatible_schema_is_the_contracts_fault(registry: Any) -> None:
    """Forbids retrying for ever what the registry will refuse for ever."""
    registry.failure = (409, "Schema being registered is incompatible with an earlier schema")
    catalog = SchemaCatalog(CONTRACTS, registry.url)

    with pytest.raises(
        ContractError, match=r"refused to register the schema of equipment-sensors.*incompatible"
    ):
        catalog.latest("equipment-sensors")


def test_without_a_registry_the_pinned_ids_count() -> None:
    """Forbids a catalog that needs a registry, or that invents an id."""
    catalog = SchemaCatalog(CONTRACTS)

    latest = catalog.latest("quality-metrics")

    assert catalog.schema_by_id(latest.schema_id) == latest == latest_schema("quality-metrics")
    with pytest.raises(UnknownSchemaIdError, match=r"schema id 7 is not pinned .*SCHEMA_REGISTRY_URL"):
        catalog.schema_by_id(7)
    with pytest.raises(
        ContractError, match="no Avro schema is pinned for topic 'raw_logs': it is a JSON topic"
    ):
        catalog.latest("raw_logs")
