"""The schema ids that this repository pins: every Avro schema that messages were ever written with.

Add here what concerns the pinned file. Avoid the registry (`schema_catalog`) and derivation (`avro`).
An id is never changed or removed: a topic may hold its messages for ever.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.ingest.contracts.avro import AvroSchema, derive_schema, unreadable_changes
from orchestration.ingest.contracts.load import CONTRACTS_DIR
from orchestration.ingest.contracts.model import ContractError, MessageFormat, TopicContract

FIRST_SCHEMA_ID = 101  # apart from a registry's own ids, which count from 1


@dataclass(frozen=True)
class PinnedSchema:
    """One schema under the id that stands in the messages.

    Attributes:
        schema_id: The 4-byte id of the wire format.
        topic: Topic whose messages carry it.
        version: Counts the schemas of the topic from 1.
        schema: The Avro schema as a JSON object.
    """

    schema_id: int
    topic: str
    version: int
    schema: AvroSchema


def pinned_path(folder: Path = CONTRACTS_DIR) -> Path:
    """File of the pinned schemas beside the contracts of a folder."""
    return folder / "generated" / "schemas.json"


def pinned_schemas(folder: Path = CONTRACTS_DIR) -> dict[int, PinnedSchema]:
    """Every pinned schema by id.

    Raises:
        ContractError: The file is not what `opsgraph contracts sync` writes.
    """
    path = pinned_path(folder)
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["schemas"]
        return {entry["schema_id"]: PinnedSchema(**entry) for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise ContractError(
            f"{path} cannot be read ({error!r}): restore it from version control, since messages in Kafka "
            "can only be decoded with the schemas in it"
        ) from error


def latest_schema(topic: str, folder: Path = CONTRACTS_DIR) -> PinnedSchema:
    """The schema that new messages of a topic are written with.

    Raises:
        ContractError: No schema of the topic is pinned (a JSON topic, or sync was not run).
    """
    return latest_of(topic, pinned_schemas(folder).values())


def latest_of(topic: str, pinned: Iterable[PinnedSchema]) -> PinnedSchema:
    """The highest version of a topic among pinned schemas; see `latest_schema`."""
    own = [schema for schema in pinned if schema.topic == topic]
    if not own:
        raise ContractError(
            f"no Avro schema is pinned for topic {topic!r}: it is a JSON topic, or "
            "`opsgraph contracts sync` was not run since its contract was added"
        )
    return max(own, key=lambda schema: schema.version)


def pin_new_schemas(
    contracts: Mapping[str, TopicContract], pinned: Mapping[int, PinnedSchema]
) -> dict[int, PinnedSchema]:
    """Append a schema for each Avro topic whose contract no longer equals its latest one.

    Args:
        contracts: Contracts by topic.
        pinned: What is pinned so far; never changed.

    Returns:
        The pinned schemas with the new ones, in the order of their ids.

    Raises:
        ContractError: A contract changed so that data of an older schema would not be readable.
    """
    result = dict(pinned)
    faults: list[str] = []
    for topic, contract in contracts.items():
        if contract.format is not MessageFormat.AVRO:
            continue
        schema = derive_schema(contract)
        own = sorted((old for old in pinned.values() if old.topic == topic), key=lambda old: old.version)
        if own and own[-1].schema == schema:
            continue
        for old in own:
            faults.extend(
                f"{topic}: data written with schema id {old.schema_id} would not be readable: {reason}"
                for reason in unreadable_changes(old.schema, schema)
            )
        schema_id = max(result, default=FIRST_SCHEMA_ID - 1) + 1
        version = own[-1].version + 1 if own else 1
        result[schema_id] = PinnedSchema(schema_id, topic, version, schema)
    if faults:
        raise ContractError("\n".join(faults))
    return result


def pinned_text(pinned: Mapping[int, PinnedSchema]) -> str:
    """Content of the pinned file: one line per field, so that a change reads well in review."""
    entries = [
        {
            "schema_id": item.schema_id,
            "topic": item.topic,
            "version": item.version,
            "schema": item.schema,
        }
        for _, item in sorted(pinned.items())
    ]
    return json.dumps({"schemas": entries}, indent=2) + "\n"
