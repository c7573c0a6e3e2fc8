"""Reads the contract files (ODCS 3 YAML) and refuses what the rest of the system cannot honor.

Add a rule here when a contract can be well-formed and still wrong. Avoid derivation: this module
only answers "what does the contract say, and is it coherent?".
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import yaml
from pydantic import ValidationError

from orchestration.ingest.contracts.arrow import SYSTEM_COLUMNS
from orchestration.ingest.contracts.model import (
    ContractError,
    ContractField,
    Direction,
    FieldRole,
    MessageFormat,
    TopicContract,
    ViolationMode,
)
from orchestration.ingest.contracts.physical_types import PHYSICAL_TYPES
from orchestration.ingest.contracts.reserved_words import RESERVED_WORDS

if TYPE_CHECKING:
    from open_data_contract_standard.model import (
        CustomProperty,
        OpenDataContractStandard,
        SchemaObject,
        SchemaProperty,
    )

CONTRACTS_DIR = Path(__file__).resolve().parent
TOPIC_SETTINGS = {"format", "direction", "partitions", "messageKey", "onUnknownField", "onViolation"}
FIELD_SETTINGS = {"role", "unit", "enum", "onViolation"}
VALUE_OPTIONS = {"minimum", "maximum"}
COLUMN_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")  # unquoted in Postgres, legal in Avro
Choice = TypeVar("Choice", bound=StrEnum)


def load_contracts(folder: Path = CONTRACTS_DIR) -> dict[str, TopicContract]:
    """Read every `*.odcs.yaml` of a folder.

    Args:
        folder: Folder of the contract files.

    Returns:
        Contract of each topic, in the order of the topics' names.

    Raises:
        ContractError: A file is wrong. Every fault of every file is listed, with file and field.
    """
    faults: list[str] = []
    contracts: dict[str, TopicContract] = {}
    paths = sorted(folder.glob("*.odcs.yaml"))
    if not paths:
        raise ContractError(f"{folder} holds no *.odcs.yaml: name the folder of the contracts")
    for path in paths:
        try:
            contract = load_contract(path)
        except ContractError as error:
            faults.append(str(error))
            continue
        other = next((name for name, known in contracts.items() if known.table == contract.table), None)
        if contract.topic in contracts or other:
            faults.append(
                f"{path.name}: topic {contract.topic} or table {contract.table} is already taken by the "
                f"contract of {other or contract.topic}; give each topic one file and one table"
            )
            continue
        contracts[contract.topic] = contract
    if faults:
        raise ContractError("\n".join(faults))
    return dict(sorted(contracts.items()))


def load_contract(path: Path) -> TopicContract:
    """Read one contract file.

    Raises:
        ContractError: The file is not a coherent contract; one line per fault.
    """
    from open_data_contract_standard.model import OpenDataContractStandard

    text = path.read_text(encoding="utf-8")
    try:
        raw = yaml.load(text, Loader=yaml.CSafeLoader)  # ten times SafeLoader's speed
        document = OpenDataContractStandard.model_validate(raw)
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise ContractError(f"{path.name}: not an ODCS 3 contract: {error}") from error
    return _Reading(path.name, raw).contract(document)


class _Reading:
    """One pass over one file; collects faults so that all of them are shown at once."""

    def __init__(self, file: str, raw: Mapping[str, Any]) -> None:
        self.file = file
        self.raw = raw
        self.faults: list[str] = []

    def fault(self, where: str, what: str) -> None:
        self.faults.append(f"{self.file}: {where}: {what}")

    def contract(self, document: "OpenDataContractStandard") -> TopicContract:
        if not document.schema_ or len(document.schema_) != 1:
            raise ContractError(f"{self.file}: schema: state exactly one object, the topic")
        topic = document.schema_[0]
        self._refuse_unknown_keys(topic)
        settings = self.settings("topic", topic.customProperties, TOPIC_SETTINGS)
        mode = self.choice("topic", settings, "onViolation", ViolationMode, ViolationMode.FREEZE)
        fields = tuple(self.field(item, mode) for item in topic.properties or [])
        keyed = [item for item in topic.properties or [] if item.primaryKey]
        contract = TopicContract(
            topic=topic.physicalName or "",
            table=topic.name or "",
            format=self.choice("topic", settings, "format", MessageFormat, None),
            direction=self.choice("topic", settings, "direction", Direction, None),
            partitions=self.positive_count(settings.get("partitions")),
            message_key=tuple(str(settings.get("messageKey", "")).split("/")),
            version=document.version or "",
            on_violation=mode,
            on_unknown_field=self.choice(
                "topic", settings, "onUnknownField", ViolationMode, ViolationMode.EVOLVE
            ),
            fields=fields,
            description=(document.description.purpose or "") if document.description else "",
            grain=topic.dataGranularityDescription or "",
            primary_key=tuple(
                item.name or "" for item in sorted(keyed, key=lambda item: item.primaryKeyPosition or 0)
            ),
        )
        self._check(contract)
        if self.faults:
            raise ContractError("\n".join(self.faults))
        return contract

    def field(self, item: "SchemaProperty", topic_mode: ViolationMode) -> ContractField:
        name = item.name or ""
        settings = self.settings(name, item.customProperties, FIELD_SETTINGS)
        options = item.logicalTypeOptions or {}
        for option in sorted(options.keys() - VALUE_OPTIONS):
            self.fault(name, f"logicalTypeOptions.{option} is not enforced here; use minimum and maximum")
        known = PHYSICAL_TYPES.get(item.physicalType or "")
        if known is None:
            self.fault(name, f"physicalType {item.physicalType!r}: use one of {', '.join(PHYSICAL_TYPES)}")
        elif item.logicalType != known.logical:
            self.fault(name, f"logicalType {item.logicalType!r}: {item.physicalType} is a {known.logical}")
        enum = self.texts(name, settings.get("enum", []))
        role = self.choice(name, settings, "role", FieldRole, None) if "role" in settings else None
        return ContractField(
            name=name,
            physical_type=item.physicalType or "",
            is_required=bool(item.required),
            description=item.description or "",
            unit=settings.get("unit"),
            minimum=self.bound(name, options.get("minimum"), item.physicalType),
            maximum=self.bound(name, options.get("maximum"), item.physicalType),
            enum=enum,
            is_pii=item.classification == "pii",
            role=role,
            on_violation=self.choice(name, settings, "onViolation", ViolationMode, topic_mode),
        )

    def settings(
        self, where: str, properties: "list[CustomProperty] | None", known: set[str]
    ) -> dict[str, Any]:
        found = {item.property or "": item.value for item in properties or []}
        for name in sorted(found.keys() - known):
            self.fault(where, f"custom property {name!r} is unknown; known are {', '.join(sorted(known))}")
        return found

    def choice(
        self,
        where: str,
        settings: Mapping[str, Any],
        name: str,
        choices: type[Choice],
        default: Choice | None,
    ) -> Choice:
        value = settings.get(name, default)
        try:
            return choices(value)
        except ValueError:
            self.fault(where, f"{name} is {value!r}: use one of {', '.join(choices)}")
            return next(iter(choices))

    def texts(self, where: str, value: Any) -> tuple[str, ...]:
        values = cast("list[object]", value) if isinstance(value, list) else [None]
        texts = tuple(item for item in values if isinstance(item, str))
        if len(texts) != len(values):
            self.fault(where, f"enum is {value!r}: state a list of texts (quote yes, no and numbers)")
        return texts

    def positive_count(self, value: Any) -> int:
        if isinstance(value, int) and value > 0:
            return value
        self.fault("topic", f"partitions is {value!r}: state a whole number above 0")
        return 1

    def bound(self, where: str, value: Any, physical_type: str | None) -> float | datetime | None:
        if value is None:
            return None
        if physical_type == "timestamp-micros":
            return self._instant(where, value)
        if physical_type in ("int", "long", "double") and isinstance(value, int | float):
            return value
        self.fault(where, f"bound {value!r} does not fit a {physical_type}")
        return None

    def _instant(self, where: str, value: Any) -> datetime | None:
        try:
            instant = datetime.fromisoformat(str(value))
        except ValueError:
            self.fault(where, f"bound {value!r} is not an ISO 8601 instant")
            return None
        if instant.tzinfo is None:
            self.fault(where, f"bound {value!r} names no time zone; end it with Z")
            return None
        return instant.astimezone(UTC)

    def _refuse_unknown_keys(self, topic: "SchemaObject") -> None:
        # The ODCS model drops keys that it does not know: `requird: true` would make a field optional.
        raw_topic = self.raw["schema"][0]
        for key in sorted(raw_topic.keys() - type(topic).model_fields.keys()):
            self.fault("topic", f"key {key!r} is not part of ODCS 3; check its spelling")
        for raw_field, item in zip(raw_topic.get("properties") or [], topic.properties or [], strict=True):
            for key in sorted(raw_field.keys() - type(item).model_fields.keys()):
                self.fault(item.name or "", f"key {key!r} is not part of ODCS 3; check its spelling")

    def _check(self, contract: TopicContract) -> None:
        names = [field.name for field in contract.fields]
        for label, value in (("physicalName", contract.topic), ("version", contract.version)):
            if not value:
                self.fault("topic", f"{label} is missing")
        if not COLUMN_NAME.fullmatch(contract.table):
            self.fault("topic", f"name {contract.table!r} is no table name; use lower case and underscores")
        for wanted, part in ((contract.message_key, "messageKey"), (contract.primary_key, "primaryKey")):
            for name in wanted:
                if name not in names:
                    self.fault("topic", f"{part} names {name!r}, which is not a field of the contract")
        optional = {field.name for field in contract.fields if not field.is_required}
        for name in sorted(optional.intersection(contract.message_key)):
            self.fault(name, "is part of the message key, so it has to be required")
        if "tenant_id" not in names:
            self.fault("topic", "field 'tenant_id' is missing; every message names its tenant")
        events = [field for field in contract.fields if field.role is FieldRole.EVENT_TIME]
        if len(events) != 1 or events[0].physical_type != "timestamp-micros" or not events[0].is_required:
            self.fault("topic", "give exactly one required timestamp-micros field the role eventTime")
        for field in contract.fields:
            for fault in _field_faults(field, names):
                self.fault(field.name, fault)


def _field_faults(field: ContractField, names: list[str]) -> list[str]:
    """What is wrong with a field that is well-formed."""
    system = {column.name for column in SYSTEM_COLUMNS}
    rules: list[tuple[bool, Callable[[], str]]] = [
        (
            not COLUMN_NAME.fullmatch(field.name),
            lambda: "is no column name; use lower case, digits and underscores",
        ),
        (field.name in RESERVED_WORDS, lambda: "is a reserved word of Postgres; choose another name"),
        (field.name in system, lambda: "is the name of a system column; choose another"),
        (names.count(field.name) > 1, lambda: "stands in the contract twice"),
        (not field.description, lambda: "has no description; write one sentence"),
        (
            field.is_required and field.on_violation is ViolationMode.DISCARD_VALUE,
            lambda: "is required, so its value cannot be discarded; use freeze or discard_row",
        ),
        (
            field.role is FieldRole.METRIC and field.physical_type != "double",
            lambda: f"is a metric of type {field.physical_type}; metrics are double",
        ),
        (
            bool(field.enum) and field.physical_type != "string",
            lambda: f"states an enum of type {field.physical_type}; only strings have one",
        ),
        (
            field.is_pii and field.physical_type != "string",
            lambda: "is classified pii; only strings can be replaced by a token",
        ),
        (
            _is_above(field.minimum, field.maximum),
            lambda: f"has minimum {field.minimum} above maximum {field.maximum}",
        ),
    ]
    return [message() for is_broken, message in rules if is_broken]


def _is_above(minimum: float | datetime | None, maximum: float | datetime | None) -> bool:
    if isinstance(minimum, datetime) and isinstance(maximum, datetime):
        return minimum > maximum
    if isinstance(minimum, int | float) and isinstance(maximum, int | float):
        return minimum > maximum
    return False
