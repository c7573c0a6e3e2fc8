"""What one contract says about one topic, as frozen values.

Add a property here when the contract files can state it. Avoid what is derived from a contract
(Avro, Arrow, DDL, dbt, expectations): each of those has a module of its own.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ContractError(ValueError):
    """A contract, or something generated from it, is wrong; says which file and field, and what to fix."""


class ViolationMode(StrEnum):
    """What landing does with a message or a value that breaks its contract."""

    EVOLVE = "evolve"
    """Accept it and carry on (unknown fields: ignored until the contract names them)."""
    FREEZE = "freeze"
    """Refuse the message: it becomes a dead letter with its original bytes."""
    DISCARD_ROW = "discard_row"
    """Drop the message, count it in the ledger as discarded."""
    DISCARD_VALUE = "discard_value"
    """Land the row with this value null, count the value in the ledger."""


class FieldRole(StrEnum):
    """What a field is to the rest of the system."""

    EVENT_TIME = "eventTime"
    """When it happened; one per contract."""
    METRIC = "metric"
    """A measured signal: features, drift and aggregates loop over these."""
    GROUND_TRUTH = "groundTruth"
    """Truth of a generator: no detector, feature or model may read it."""


class MessageFormat(StrEnum):
    """How the messages of a topic are written."""

    AVRO = "avro"
    """Confluent wire format: 0x00, schema id in 4 bytes, Avro datum."""
    JSON = "json"
    """One UTF-8 JSON object; instants as ISO 8601 text."""


class Direction(StrEnum):
    """Who writes the topic."""

    IN = "in"
    """Landed by opsgraph: it has a raw table and a lake table."""
    OUT = "out"
    """Written by opsgraph."""


@dataclass(frozen=True)
class ContractField:
    """One field of a message and column of the raw table.

    Attributes:
        name: Field and column name.
        physical_type: Type in the contract: a key of `physical_types.PHYSICAL_TYPES`.
        is_required: Whether null is a violation.
        description: One sentence for people.
        unit: Unit of the values; None where the source states none.
        minimum: Least valid value, inclusive; an instant for timestamps.
        maximum: Greatest valid value, inclusive.
        enum: The valid values of a string; empty where any text is valid.
        is_pii: Whether landing replaces the value by a keyed token.
        role: What the field is to the rest of the system.
        on_violation: Mode for a value outside its type, range or enum.
    """

    name: str
    physical_type: str
    is_required: bool
    description: str
    unit: str | None = None
    minimum: float | datetime | None = None
    maximum: float | datetime | None = None
    enum: tuple[str, ...] = ()
    is_pii: bool = False
    role: FieldRole | None = None
    on_violation: ViolationMode = ViolationMode.FREEZE


@dataclass(frozen=True)
class TopicContract:
    """One topic: its messages, its raw table and the rules between them.

    Attributes:
        topic: Kafka topic.
        table: Raw and lake table (`raw.<table>`, `bronze.<table>`).
        format: How the messages are written.
        direction: `in` for topics that landing reads, `out` for those that opsgraph writes.
        partitions: Partitions that `topics.ensure_topics` creates.
        message_key: Fields whose values, joined by `/`, are the message key.
        version: Semantic version of the contract file.
        on_violation: Mode for fields that state none of their own.
        on_unknown_field: Mode for a message with fields that the contract does not name.
        fields: Fields in the contract's order.
        description: What the topic holds.
        grain: What one row is.
    """

    topic: str
    table: str
    format: MessageFormat
    direction: Direction
    partitions: int
    message_key: tuple[str, ...]
    version: str
    on_violation: ViolationMode
    on_unknown_field: ViolationMode
    fields: tuple[ContractField, ...]
    description: str
    grain: str
    primary_key: tuple[str, ...] = ()

    @property
    def event_time_field(self) -> str:
        """Name of the field that says when it happened."""
        return next(field.name for field in self.fields if field.role is FieldRole.EVENT_TIME)

    @property
    def metrics(self) -> tuple[ContractField, ...]:
        """The measured signals, in the contract's order."""
        return tuple(field for field in self.fields if field.role is FieldRole.METRIC)

    def field(self, name: str) -> ContractField:
        """The field of that name.

        Raises:
            KeyError: The contract names no such field.
        """
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"the contract of {self.topic} names no field {name!r}")
