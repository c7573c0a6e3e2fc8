"""Turns loosely typed values (CSV text, JSON, rows of a foreign database) into records of a contract.

A value that can't become what the contract says is refused with its field and reason; nothing is guessed.
Add a conversion here when a source writes a type in another way. Avoid ranges and enums: landing applies
those to every message, whatever its source.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from orchestration.ingest.contracts import ContractError, ContractField, TopicContract
from orchestration.ingest.contracts.json_message import FITS

NULL_TEXTS = frozenset({"", "null", "NULL", "None", "NaN", "nan", "\\N"})
TRUE_TEXTS, FALSE_TEXTS = frozenset({"true", "t", "1", "yes"}), frozenset({"false", "f", "0", "no"})


def coerce_record(contract: TopicContract, values: Mapping[str, Any]) -> dict[str, Any]:
    """Make a record of a contract.

    Args:
        contract: Contract of the record's topic.
        values: Field name to value, as the source has it. Names that the contract lacks are an error:
            a misspelt column must not vanish.

    Returns:
        Field name to typed value; absent and null optional fields are left out.

    Raises:
        ContractError: A field is unknown, missing, or its value can't become the contract's type.

    >>> from orchestration.ingest.contracts import load_contracts
    >>> coerce_record(load_contracts()["equipment-sensors"], {
    ...     "tenant_id": "t", "equipment_id": "m", "event_at": "2026-01-01 00:00:00", "power_kw": "7.5"})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'tenant_id': 't', 'equipment_id': 'm',
     'event_at': datetime.datetime(2026, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), 'power_kw': 7.5}
    """
    known = {field.name for field in contract.fields}
    if unknown := sorted(str(name) for name in values if name not in known):
        raise ContractError(f"{', '.join(unknown)}: not a field of the contract of {contract.topic}")
    record: dict[str, Any] = {}
    for field in contract.fields:
        value = _typed(field, values.get(field.name))
        if value is None:
            if field.is_required:
                raise ContractError(f"{field.name}: is required and missing")
            continue
        record[field.name] = value
    return record


def known_time(value: Any) -> datetime | None:
    """Known time that a source states; None where it states none, or nothing that is an instant."""
    try:
        return None if value in (None, "") else _instant(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _typed(field: ContractField, value: Any) -> Any:
    if value is None or (
        isinstance(value, str) and field.physical_type != "string" and value.strip() in NULL_TEXTS
    ):
        return None
    if value == "" and not field.is_required:
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    try:
        typed = CONVERSIONS[field.physical_type](value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ContractError(f"{field.name}: {value!r} is no {field.physical_type} ({error})") from None
    if not FITS[field.physical_type](typed):
        raise ContractError(f"{field.name}: {value!r} is no {field.physical_type}")
    return typed


def _text(value: Any) -> str:
    if isinstance(value, str):
        value.encode()  # half of a surrogate pair is legal in JSON and no character
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not text")
    return str(value)  # CSV readers take a code such as 00017 for text, and 17 for a number


def _double(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("a truth value")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError("a truth value")
    if isinstance(value, str):
        return int(value.strip())
    if value != int(value):
        raise ValueError("has a fraction")
    return int(value)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in TRUE_TEXTS:
        return True
    if text in FALSE_TEXTS:
        return False
    raise ValueError("neither true nor false")


def _instant(value: Any) -> datetime:
    """Instants are UTC where the source names no zone; numbers are refused, their unit is a guess."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    if isinstance(value, str):
        return _instant(datetime.fromisoformat(value.strip()))
    raise TypeError("write instants as ISO 8601 text: the unit of a number would be a guess")


CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "boolean": _truth,
    "int": _whole,
    "long": _whole,
    "double": _double,
    "timestamp-micros": _instant,
}
