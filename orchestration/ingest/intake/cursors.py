"""How far a pull source was read, so that a cut between two pages neither skips nor forgets a row.

Rows with the same value may lie on both sides of a cut. So the cursor behind an unfinished page is the
highest value below the page's last one: what is read again has the same key and content, and the warehouse
resolves it as declared duplicates. Add a type of cursor here. Avoid reading sources.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from orchestration.ingest.contracts import ContractError


class CursorTrack:
    """The values of the cursor field that one run has met."""

    def __init__(self, source: str, field: str, begin: Any, is_ascending: bool) -> None:
        """Begin.

        Args:
            source: Name of the source, for messages.
            field: Its cursor field.
            begin: Stored cursor; None on the first run.
            is_ascending: Whether the source gives its rows in ascending order, which is then required. Only
                so can a page in the middle say that everything below its values was read.
        """
        self._source, self._field, self._begin, self._is_ascending = source, field, begin, is_ascending
        self._highest: Any = None
        self._below: Any = None

    def after(self, items: Sequence[Any], is_last: bool) -> Any | None:
        """Cursor that may be stored once these rows are in Kafka; None where the stored one must stay.

        Raises:
            ContractError: Values don't ascend though they should, can't be compared, or are of a type that
                can't be a cursor. None of these rows may be sent.
        """
        for item in items:
            value = cast("dict[str, Any]", item).get(self._field) if isinstance(item, dict) else None
            if value is not None:
                self._meet(value)
        reached = self._highest if is_last else self._below if self._is_ascending else None
        return None if reached is None else self._forward(self._stored(reached), reached)

    def _meet(self, value: Any) -> None:
        try:
            is_higher, is_lower = (
                self._highest is None or value > self._highest,
                self._highest is not None and value < self._highest,
            )
        except TypeError:
            raise ContractError(
                f"{self._source}: {self._field} holds {value!r} after {self._highest!r}; it can't be compared"
            ) from None
        if is_lower and self._is_ascending:
            raise ContractError(
                f"{self._source}: {self._field} falls from {self._highest} to {value}. A cut between two "
                f"pages would lose rows: order by {self._field}, or for an API leave out `ascending: true`"
            )
        if is_higher:
            self._stored(value)  # a type that can't be kept is told before its page is sent
            self._below, self._highest = self._highest, value

    def _stored(self, value: Any) -> Any:
        """The value as JSON keeps it; instants and days as ISO text, which a database reads back."""
        if isinstance(value, bool):
            raise ContractError(
                f"{self._source}: {self._field} is a truth value; take a growing id or instant"
            )
        if isinstance(value, int | float | str):
            return value
        if isinstance(value, datetime | date):
            return value.isoformat()
        if isinstance(value, Decimal):
            return int(value) if value == value.to_integral_value() else str(value)
        if isinstance(value, UUID):
            return str(value)
        raise ContractError(
            f"{self._source}: {self._field} is {type(value).__name__}; a cursor is a number, text or instant"
        )

    def _forward(self, stored: Any, value: Any) -> Any:
        """The cursor never moves back: a source may answer with rows from before it."""
        if type(self._begin) is type(stored) and not isinstance(value, Decimal):
            return max(self._begin, stored)
        return stored
