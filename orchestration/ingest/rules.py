"""The contract's rules on values, compiled once per topic to column expressions.

Add a rule here when a contract can state it. Avoid decoding and storage: this judges columns.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from orchestration.ingest.contracts import ContractField, FieldRole, TopicContract, ViolationMode
from orchestration.ingest.decode import INDEX, Refusal

KNOWN_AT = "known_at"
FUTURE_TOLERANCE = timedelta(days=1)
"""A clock may run ahead; an event beyond a day after it was known is a wrong timestamp, and one such
row would move the plant clock, and everything that reads it, to that day."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_INSTANT = datetime(1, 1, 1, tzinfo=UTC)
_LAST_INSTANT = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True)
class Rule:
    """One rule on one column.

    Attributes:
        field: Column that it judges.
        error_class: Name of the violation.
        expectation: What holds where it is not violated, for the message.
        is_violated: Boolean expression; null counts as not violated.
        mode: What happens to a violation.
        show: Writes a violating value, in the column's physical type, for the message.
    """

    field: str
    error_class: str
    expectation: str
    is_violated: pl.Expr
    mode: ViolationMode
    show: Callable[[Any], str] = str


@dataclass(frozen=True)
class Judged:
    """Rows that may land, and what was refused or replaced.

    Attributes:
        frame: Rows without violation; values under `discard_value` are null.
        refusals: Rows that are dead-lettered or discarded, with the first rule that they broke.
        discarded_values: Values replaced by null.
    """

    frame: pl.DataFrame
    refusals: list[Refusal]
    discarded_values: int


class Rules:
    """All rules of one contract."""

    def __init__(self, contract: TopicContract) -> None:
        """Compile the rules."""
        self._rules = [
            replace(rule, show=_shown_as(field)) for field in contract.fields for rule in _field_rules(field)
        ]
        self._any = [rule.is_violated.any().alias(str(i)) for i, rule in enumerate(self._rules)]

    def judge(self, frame: pl.DataFrame) -> Judged:
        """Apply the rules.

        Args:
            frame: Decoded rows with `INDEX` and `KNOWN_AT`.
        """
        if not frame.height:
            return Judged(frame, [], 0)
        broken_flags = frame.select(self._any).row(0)
        broken = [rule for rule, is_broken in zip(self._rules, broken_flags, strict=True) if is_broken]
        if not broken:
            return Judged(frame, [], 0)
        refusals: dict[int, Refusal] = {}
        for rule in broken:
            if rule.mode in (ViolationMode.FREEZE, ViolationMode.DISCARD_ROW):
                # As numbers: not every instant that a column can hold exists as a Python object.
                value = pl.col(rule.field).to_physical()
                for index, found in frame.filter(rule.is_violated).select(INDEX, value).iter_rows():
                    refusals.setdefault(index, _refusal(rule, index, found))
        if refusals:
            frame = frame.filter(~pl.col(INDEX).is_in(list(refusals)))
        discarded_values = 0
        for name in dict.fromkeys(rule.field for rule in broken if rule.mode is ViolationMode.DISCARD_VALUE):
            rules = [rule for rule in broken if rule.field == name]
            is_violated = pl.any_horizontal([rule.is_violated for rule in rules]).fill_null(value=False)
            discarded_values += int(frame.select(is_violated.sum()).item())
            frame = frame.with_columns(pl.when(~is_violated).then(pl.col(name)).alias(name))
        ordered = [refusals[index] for index in sorted(refusals)]
        return Judged(frame, ordered, discarded_values)


def _refusal(rule: Rule, index: int, value: object) -> Refusal:
    shown = rule.show(value)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "…"
    return Refusal(
        index,
        rule.error_class,
        f"{rule.field} is {shown}; the contract asks for {rule.expectation}",
        is_discarded=rule.mode is ViolationMode.DISCARD_ROW,
    )


def _shown_as(field: ContractField) -> Callable[[Any], str]:
    if field.is_pii:
        return lambda _: "a personal value, which is not repeated here,"
    return _instant_text if field.physical_type == "timestamp-micros" else str


def _instant_text(microseconds: int | None) -> str:
    if microseconds is None:
        return str(None)
    try:
        return str(_EPOCH + timedelta(microseconds=microseconds))
    except OverflowError:
        return f"{microseconds} microseconds since 1970"


def _field_rules(field: ContractField) -> list[Rule]:
    column = pl.col(field.name)
    # A null can't stand in a required column whatever the contract says about violations.
    row_mode = ViolationMode.DISCARD_ROW
    null_mode = row_mode if field.on_violation is row_mode else ViolationMode.FREEZE
    rules: list[Rule] = []
    if field.is_required:
        rules.append(Rule(field.name, "NullInRequiredField", "a value", column.is_null(), null_mode))
    if field.physical_type == "string":
        storable = Rule(
            field.name, "UnstorableText", "text without the character U+0000",
            column.str.contains("\x00", literal=True), null_mode if field.is_required else _storable(field),
        )  # fmt: skip
        rules.append(storable)
    if field.enum and field.on_violation is not ViolationMode.EVOLVE:
        rules.append(
            Rule(
                field.name, "NotInEnum", f"one of {', '.join(field.enum)}",
                ~column.is_in(list(field.enum)), field.on_violation,
            )
        )  # fmt: skip
    return rules + _range_rules(field)


def _storable(field: ContractField) -> ViolationMode:
    """Mode for what no table can hold: a contract can't wave it through."""
    return ViolationMode.FREEZE if field.on_violation is ViolationMode.EVOLVE else field.on_violation


def _range_rules(field: ContractField) -> list[Rule]:
    column, mode = pl.col(field.name), field.on_violation
    minimum, maximum = field.minimum, field.maximum
    rules: list[Rule] = []
    if field.role is FieldRole.EVENT_TIME:
        rules.append(
            Rule(
                field.name, "EventTimeInFuture", "an instant at most one day after it was known",
                column > pl.col(KNOWN_AT) + FUTURE_TOLERANCE, _storable(field),
            )
        )  # fmt: skip
    if field.physical_type == "timestamp-micros":  # beyond these no database driver reads it back
        mode = _storable(field)
        minimum, maximum = minimum or _FIRST_INSTANT, maximum or _LAST_INSTANT
    elif mode is ViolationMode.EVOLVE:
        return rules
    if field.physical_type == "double":
        rules.append(Rule(field.name, "NotFinite", "a finite number", ~column.is_finite(), mode))
    if minimum is not None:
        rules.append(Rule(field.name, "BelowMinimum", f"at least {minimum}", column < minimum, mode))
    if maximum is not None:
        rules.append(Rule(field.name, "AboveMaximum", f"at most {maximum}", column > maximum, mode))
    return rules
