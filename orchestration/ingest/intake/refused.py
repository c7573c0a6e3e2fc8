"""Rows that a source has and the contract refuses, as messages that a replay can read again.

Add here what the form of such a message needs. Avoid sending (`sending`) and landing (`dead_letters`).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.intake.coerce import coerce_record

PREFIX = b"refused by intake\n"
"""Keeps a JSON topic from taking the text for a message that merely lacks fields."""
SHOWN_CHARACTERS = 500


def refused_payload(values: Mapping[str, Any]) -> bytes:
    """A row as it was read. Halves of surrogate pairs, which UTF-8 lacks, stay the escapes that they were."""
    text = json.dumps(dict(values), default=str, ensure_ascii=False)
    return PREFIX + text.encode("utf-8", errors="backslashreplace")


def refused_values(payload: bytes) -> dict[str, Any] | None:
    """The row of such a message; None for any other one."""
    if not payload.startswith(PREFIX):
        return None
    try:
        found: Any = json.loads(payload.removeprefix(PREFIX))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def as_message(
    contract: TopicContract, payload: bytes, encode: Callable[[Mapping[str, Any]], bytes]
) -> bytes:
    """What a source would send for this message today; other messages stay as they are.

    Raises:
        ContractError: The row is refused by the contract as it is now, too.
    """
    values = refused_values(payload)
    return payload if values is None else encode(coerce_record(contract, values))


def storable(text: str) -> str:
    """Text that headers and Postgres take: no null character, no half of a surrogate pair, not endless."""
    plain = text.replace("\x00", "\\0").encode(errors="backslashreplace").decode()
    return plain if len(plain) <= SHOWN_CHARACTERS else plain[:SHOWN_CHARACTERS] + "…"
