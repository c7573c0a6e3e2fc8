"""Which schema an id stands for, and which id new messages carry: pinned in the repository, or a registry's.

Add here what producers and landing both need to ask. Avoid choosing between the two elsewhere: who
holds a `SchemaCatalog` does not know where its ids come from.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestration.ingest.contracts.avro import derive_schema
from orchestration.ingest.contracts.load import CONTRACTS_DIR
from orchestration.ingest.contracts.model import ContractError, TopicContract
from orchestration.ingest.contracts.schema_ids import PinnedSchema, latest_of, pinned_schemas

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

VALUE_SUBJECT = "-value"  # the registry's default naming: subject is `<topic>-value`
NOT_FOUND = 404


class UnknownSchemaIdError(ContractError):
    """No schema has this id: the message cannot be decoded, now or later (a dead letter)."""


class SchemaRegistryUnavailableError(ConnectionError):
    """The registry did not answer: ask again later; no message may be given up for this."""


class SchemaCatalog:
    """Schemas by id and the latest one of each topic.

    With a registry, its ids are the only ones that count: 101 may be another schema there than here.
    Answers are kept, since a schema under an id never changes.
    """

    def __init__(
        self,
        contracts: Mapping[str, TopicContract],
        registry_url: str | None = None,
        folder: Path = CONTRACTS_DIR,
    ) -> None:
        """Open the catalog; the registry is first asked when something is looked up.

        Args:
            contracts: Contracts by topic.
            registry_url: Confluent-compatible registry; None takes the ids pinned in the repository.
            folder: Folder of the contracts whose pinned ids count.
        """
        self._contracts = contracts
        self._registry_url = registry_url
        self._by_id: dict[int, PinnedSchema] = {} if registry_url else pinned_schemas(folder)
        self._latest: dict[str, PinnedSchema] = {}
        self._client: SchemaRegistryClient | None = None

    def schema_by_id(self, schema_id: int) -> PinnedSchema:
        """The schema that messages with this id were written with.

        Raises:
            UnknownSchemaIdError: No such id.
            SchemaRegistryUnavailableError: The registry did not answer.
        """
        known = self._by_id.get(schema_id)
        if known is None and self._registry_url:
            known = self._by_id[schema_id] = self._fetch(schema_id)
        if known is None:
            raise UnknownSchemaIdError(
                f"schema id {schema_id} is not pinned in this repository ({_spans(self._by_id)}); if a "
                "registry issued it, set SCHEMA_REGISTRY_URL"
            )
        return known

    def latest(self, topic: str) -> PinnedSchema:
        """The schema that new messages of an Avro topic are written with; registers it if need be.

        Raises:
            ContractError: Nothing is pinned for the contract as it stands, or the registry refuses it.
            SchemaRegistryUnavailableError: The registry did not answer.
        """
        if topic not in self._latest:
            self._latest[topic] = self._register(topic) if self._registry_url else self._pinned(topic)
        return self._latest[topic]

    def _pinned(self, topic: str) -> PinnedSchema:
        latest = latest_of(topic, self._by_id.values())
        if latest.schema != derive_schema(self._contracts[topic]):
            raise ContractError(
                f"the contract of {topic} changed since schema id {latest.schema_id} was pinned: "
                "run `opsgraph contracts sync`"
            )
        return latest

    def _register(self, topic: str) -> PinnedSchema:
        from confluent_kafka.schema_registry import Schema

        wanted = derive_schema(self._contracts[topic])
        schema = Schema(json.dumps(wanted), "AVRO")
        subject = topic + VALUE_SUBJECT
        schema_id = self._ask(
            f"register the schema of {topic}",
            lambda client: client.register_schema(subject, schema),
        )
        found = self._ask(
            f"look up the schema of {topic}",
            lambda client: client.lookup_schema(subject, schema),
        )
        pinned = PinnedSchema(schema_id, topic, found.version or 1, wanted)
        self._by_id[schema_id] = pinned
        return pinned

    def _fetch(self, schema_id: int) -> PinnedSchema:
        subject = f"fetch schema id {schema_id}"
        schema = self._ask(subject, lambda client: client.get_schema(schema_id))
        uses = self._ask(subject, lambda client: client.get_schema_versions(schema_id))
        if schema.schema_type != "AVRO":
            raise UnknownSchemaIdError(f"schema id {schema_id} is {schema.schema_type}, not AVRO")
        use = next((item for item in uses if str(item.subject).endswith(VALUE_SUBJECT)), None)
        if use is None:
            raise UnknownSchemaIdError(
                f"schema id {schema_id} stands under no subject that ends in {VALUE_SUBJECT}"
            )
        topic = str(use.subject).removesuffix(VALUE_SUBJECT)
        return PinnedSchema(schema_id, topic, int(use.version), json.loads(schema.schema_str))

    def _ask(self, what: str, call: "Callable[[SchemaRegistryClient], Any]") -> Any:
        from confluent_kafka.schema_registry import SchemaRegistryClient
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        address = urlsplit(self._registry_url or "")
        where = f"{address.hostname}:{address.port}" if address.port else address.hostname  # no credentials
        if self._client is None:
            self._client = SchemaRegistryClient(
                {"url": self._registry_url, "timeout": 10, "max.retries": 2, "retries.wait.ms": 200}
            )
        try:
            return call(self._client)
        except SchemaRegistryError as error:
            if error.http_status_code == NOT_FOUND:
                raise UnknownSchemaIdError(
                    f"the schema registry at {where} could not {what}: {error}"
                ) from error
            if error.http_status_code >= 500 or error.http_status_code in (401, 403, 408, 429):
                raise SchemaRegistryUnavailableError(
                    f"the schema registry at {where} failed to {what}: {error}"
                ) from error
            raise ContractError(f"the schema registry at {where} refused to {what}: {error}") from error
        except Exception as error:
            # The client lets its HTTP library's errors through, and which library that is depends on what
            # is installed. Waiting is always safe here, giving a message up is not.
            raise SchemaRegistryUnavailableError(
                f"the schema registry at {where} did not answer while asked to {what}: {error!r}"
            ) from error


def _spans(schemas: Mapping[int, PinnedSchema]) -> str:
    return f"pinned are {min(schemas)} to {max(schemas)}" if schemas else "none is pinned"
