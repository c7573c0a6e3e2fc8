"""Generates the Alembic revisions of the raw tables from the contracts.

Add here when the contracts can ask for another change of a raw table. Avoid running migrations:
`orchestration.migrations` does. A written revision is history: it is never changed, the next one
adds to it.
"""

import ast
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from orchestration.ingest.contracts.ddl import RAW_SCHEMA, add_columns, create_table, field_columns
from orchestration.ingest.contracts.model import ContractError, Direction, TopicContract

Columns = dict[str, dict[str, str]]
"""Raw table to contract column to definition, in the order of the columns."""
REQUIRED = " not null"


@dataclass(frozen=True)
class Revision:
    """A revision of the chain to write.

    Attributes:
        file: File name in `migrations/versions`.
        text: Content of the file.
    """

    file: str
    text: str


@dataclass(frozen=True)
class Chain:
    """What the revisions so far amount to.

    Attributes:
        head: Revision that the next one follows.
        length: Count of the generated revisions.
        columns: Contract columns of each raw table at the head.
    """

    head: str
    length: int
    columns: Columns


def read_chain(versions: Path) -> Chain:
    """Read the chain from the revision files, without running them.

    Raises:
        ContractError: The chain does not have exactly one head.
    """
    found = [_assignments(path) for path in sorted(versions.glob("*.py"))]
    parents = {cast("str | None", item.get("down_revision")) for item in found}
    heads = sorted(str(item["revision"]) for item in found if item["revision"] not in parents)
    if len(heads) != 1:
        raise ContractError(
            f"{versions}: the migrations have {len(heads)} heads ({', '.join(heads)}); give each revision "
            "the one before it as down_revision, then run `opsgraph contracts sync` again"
        )
    by_parent = {item.get("down_revision"): item for item in found}
    columns: Columns = {}
    length, current = 0, by_parent.get(None)
    while current:
        for table, added in cast("Columns", current.get("ADDED", {})).items():
            columns.setdefault(table, {}).update(added)
        for table, names in cast("dict[str, list[str]]", current.get("LOOSENED", {})).items():
            for name in names:
                columns[table][name] = columns[table][name].removesuffix(REQUIRED)
        length += "ADDED" in current
        current = by_parent.get(current["revision"])
    return Chain(heads[0], length, columns)


def _assignments(path: Path) -> dict[str, object]:
    """The literals that a revision file assigns at module level."""
    names = {"revision", "down_revision", "ADDED", "LOOSENED"}
    found: dict[str, object] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            target, value = node.target.id, node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            target, value = node.targets[0].id, node.value
        else:
            continue
        if target in names and value is not None:
            found[target] = ast.literal_eval(value)
    if "revision" not in found:
        raise ContractError(f"{path}: states no revision; a file in this folder is a migration")
    return found


def next_revision(contracts: Mapping[str, TopicContract], chain: Chain) -> Revision | None:
    """The revision that carries the raw tables from the chain's head to the contracts.

    Args:
        contracts: Contracts by topic; those of direction `in` have raw tables.
        chain: The chain so far.

    Returns:
        None where the tables already agree.

    Raises:
        ContractError: A contract removes a column, changes its type or makes it required.
    """
    wanted = {
        contract.table: field_columns(contract)
        for contract in contracts.values()
        if contract.direction is Direction.IN
    }
    faults = [
        fault for table, old in chain.columns.items() for fault in _losses(table, old, wanted.get(table))
    ]
    if faults:
        raise ContractError("\n".join(faults))
    added: Columns = {}
    loosened: dict[str, list[str]] = {}
    for table, columns in wanted.items():
        old = chain.columns.get(table, {})
        if new := {name: definition for name, definition in columns.items() if name not in old}:
            added[table] = new
        if loose := [name for name in old if columns[name] != old[name]]:
            loosened[table] = loose
    if not added and not loosened:
        return None
    return _render(chain, added, loosened)


def _losses(table: str, old: Mapping[str, str], new: Mapping[str, str] | None) -> list[str]:
    where = f"{RAW_SCHEMA}.{table}"
    if new is None:
        return [f"{where}: no contract with direction `in` names this table any more; restore it"]
    faults: list[str] = []
    for name, definition in old.items():
        if name not in new:
            faults.append(f"{where}.{name}: the contract removed the field; keep it and make it optional")
        elif new[name] not in (definition, definition.removesuffix(REQUIRED)):
            faults.append(
                f"{where}.{name}: is {definition}, the contract makes it {new[name]}; add a new field"
            )
    faults.extend(
        f"{where}.{name}: is new and required, but rows that landed have no value; make it optional"
        for name, definition in new.items()
        if name not in old and definition.endswith(REQUIRED)
    )
    return faults


def _render(chain: Chain, added: Columns, loosened: Mapping[str, list[str]]) -> Revision:
    is_new = {table: table not in chain.columns for table in added}
    up: list[str] = []
    down: list[str] = []
    for table, columns in added.items():
        up += create_table(table, columns) if is_new[table] else add_columns(table, columns)
        down += (
            [f"drop table {RAW_SCHEMA}.{table}"]
            if is_new[table]
            else [f"alter table {RAW_SCHEMA}.{table} drop column {name}" for name in columns]
        )
    for table, names in loosened.items():
        up += [f"alter table {RAW_SCHEMA}.{table} alter column {name} drop not null" for name in names]
        down += [f"alter table {RAW_SCHEMA}.{table} alter column {name} set not null" for name in names]
    digest = hashlib.sha256(json.dumps([chain.head, up]).encode()).hexdigest()[:10]
    revision = f"contract_{chain.length + 1:04d}_{digest}"
    return Revision(
        file=f"{revision}.py",
        text=REVISION_TEMPLATE.format(
            revision=revision,
            down_revision=chain.head,
            added=_literal(added),
            loosened=_literal(loosened),
            up=_sql_tuple(up),
            down=_sql_tuple(list(reversed(down))),
        ),
    )


def _literal(value: object) -> str:
    """JSON, which these values share with Python, with the trailing commas of the formatter."""
    return re.sub(r"([\"\]}])\n", r"\1,\n", json.dumps(value, indent=4))


def _sql_tuple(statements: list[str]) -> str:
    return "(\n" + "".join(f'    """{statement}""",\n' for statement in statements) + ")"


REVISION_TEMPLATE = '''"""Raw tables as the contracts say; generated by `opsgraph contracts sync`."""

from alembic import op

revision = "{revision}"
down_revision = "{down_revision}"

# What this revision adds: `contracts sync` adds these up to know what the chain already holds.
ADDED = {added}
LOOSENED = {loosened}

UPGRADE = {up}
DOWNGRADE = {down}


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
'''
