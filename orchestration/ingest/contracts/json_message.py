"""Messages of the JSON topics: one UTF-8 object per message, instants as ISO 8601 text.

Add here what the JSON form of a contract's values needs. Avoid ranges and enums: those are rules,
and landing applies them to both formats.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from orchestration.ingest.contracts.model import ContractError, TopicContract


def encode_json(contract: TopicContract, record: Mapping[str, Any]) -> bytes:
    """Write one record as the JSON object of its topic.

    Args:
        contract: Contract of a JSON topic.
        record: Field name to value; instants are timezone-aware datetimes. Optional fields may be left out.

    Raises:
        ContractError: A field is missing, unknown or of the wrong type.
    """
    known = {field.name for field in contract.fields}
    if unknown := sorted(record.keys() - known):
        raise ContractError(
            f"record names {', '.join(unknown)}, which the contract does not: {dict(record)!r}"
        )
    values: dict[str, Any] = {}
    for field in contract.fields:
        value = record.get(field.name)
        if value is None:
            if field.is_required:
                raise ContractError(f"field {field.name!r} is required and missing: {dict(record)!r}")
            continue
        if not FITS[field.physical_type](value):
            raise ContractError(f"field {field.name!r}: {value!r} is no {field.physical_type}")
        values[field.name] = _text(value) if isinstance(value, datetime) else value
    try:
        return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:  # NaN and infinity, which JSON lacks; lone surrogates, which UTF-8 lacks
        raise ContractError(f"record {dict(record)!r} cannot be written as JSON: {error}") from error


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _is_int(value: object, bits: int) -> bool:
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)
    )


FITS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "int": lambda value: _is_int(value, 32),
    "long": lambda value: _is_int(value, 64),
    "double": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "timestamp-micros": lambda value: isinstance(value, datetime) and value.tzinfo is not None,
}
