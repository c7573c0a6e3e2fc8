"""Whether a topic's fields come as they used to: which have vanished from the newest rows, which are new.

A source that drops or renames a field goes on sending valid messages, since fields may be null. So the newest
rows are compared with those before them, machine by machine: a batch holds some machines only, and each kind
of machine has fields of its own. Add a kind of change here. Avoid single messages: contracts judge those.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from orchestration.ingest.contracts import TopicContract

NEWEST_ROWS, EARLIER_ROWS = 20_000, 100_000
MIN_EARLIER_ROWS = 50  # of a machine, before anything is expected of it
MIN_EXPECTED = 20.0  # values; none of 20 expected ones is chance once in 5 * 10^8
MAX_BATCHES = 5_000


@dataclass(frozen=True)
class FieldChange:
    """A field that comes otherwise than before.

    Attributes:
        tenant_id: Tenant.
        field: Field of the contract.
        has_vanished: True: it was there and is not; False: it is there and was not.
        values: How many values the newest rows have; where it vanished, how many were to be expected.
    """

    tenant_id: str
    field: str
    has_vanished: bool
    values: int

    def __str__(self) -> str:
        if self.has_vanished:
            return f"{self.field} has vanished: none of some {self.values} values came"
        return f"{self.field} is new: {self.values} values, and none before"


def changed_fields(connection: psycopg.Connection[Any], contract: TopicContract) -> list[FieldChange]:
    """Compare the newest rows of a topic with those before them.

    Args:
        connection: Connection to read over.
        contract: Contract of the topic; only optional fields can change.
    """
    names = [field.name for field in contract.fields if not field.is_required]
    batches = connection.execute(
        "select batch_id, landed from ops.landing_ledger "
        "where topic = %s and landed > 0 and retired_at is null order by batch_id desc limit %s",
        (contract.topic, MAX_BATCHES),
    ).fetchall()
    newest, batches = _take(batches, NEWEST_ROWS)
    earlier, _ = _take(batches, EARLIER_ROWS)
    if not names or not newest or not earlier:
        return []
    query = sql.SQL(
        "select tenant_id, concat_ws('/', {key}), batch_id >= %(border)s, count(*), {counts} from {table} "
        "where batch_id between %(first)s and %(last)s group by 1, 2, 3"
    ).format(
        counts=sql.SQL(", ").join(sql.SQL("count({})").format(sql.Identifier(name)) for name in names),
        table=sql.Identifier("raw", contract.table),
        key=sql.SQL(", ").join(map(sql.Identifier, contract.message_key)),
    )
    machines: dict[tuple[str, str], dict[bool, list[int]]] = {}
    span = {"border": newest[-1], "first": earlier[-1], "last": newest[0]}
    for tenant, key, is_new, *counts in connection.execute(query, span):
        machines.setdefault((tenant, key), {})[is_new] = counts
    return list(_changes(machines, names))


def _take(batches: list[tuple[int, int]], rows: int) -> tuple[list[int], list[tuple[int, int]]]:
    """The first batches with at least so many rows, and the rest."""
    taken: list[int] = []
    for number, (batch_id, landed) in enumerate(batches):
        if rows <= 0:
            return taken, batches[number:]
        taken.append(batch_id)
        rows -= landed
    return taken, []


def _changes(
    machines: Mapping[tuple[str, str], dict[bool, list[int]]], names: list[str]
) -> Iterator[FieldChange]:
    """Add up over the machines that are in both parts; each count list begins with the machine's rows."""
    for tenant in sorted({tenant for tenant, _ in machines}):
        pairs = [
            (parts[False], parts[True])
            for (owner, _), parts in machines.items()
            if owner == tenant and len(parts) == 2 and parts[False][0] >= MIN_EARLIER_ROWS
        ]
        for number, name in enumerate(names, start=1):
            expected = sum(new[0] * old[number] / old[0] for old, new in pairs)
            values, before = sum(new[number] for _, new in pairs), sum(old[number] for old, _ in pairs)
            if not values and expected >= MIN_EXPECTED:
                yield FieldChange(tenant, name, True, round(expected))
            elif not before and values >= MIN_EXPECTED:
                yield FieldChange(tenant, name, False, values)
