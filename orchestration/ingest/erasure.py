"""Erases one person: deletes the key, takes the person out of dead letters, and searches for what is left.

Rows, hashes and counts stay as they are: they hold tokens. The search is the proof, and it is kept. Add a
place to search when personal values can reach another one. Avoid Kafka: a topic forgets by its retention,
and the report says until when.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from orchestration.ingest.contracts import Direction, TopicContract
from orchestration.ingest.dead_letters import Selection, find
from orchestration.ingest.lake import Lake
from orchestration.ingest.lake_journal import LakeJournal, renew_letters
from orchestration.ingest.pii import TENANT_KEY, token_of
from orchestration.ingest.services import LandingServices

ERASED = b"opsgraph erased: the person that this message named asked for it\n"
TOKEN_FORM = re.compile(r"pii_[0-9a-f]{32}")
TEXT_TYPES = ("text", "character varying", "jsonb", "json", "bytea")
# Copies of the originals that are meant to be there; their keys are what an erasure deletes.
NOT_SEARCHED = {("ops", "pii_vault"), ("ops", "pii_keys"), ("ops", "erasures")}
SEARCHED_SCHEMAS = ("raw", "intermediate", "marts", "ml", "rag", "logs", "ops")


class UnknownSubjectError(Exception):
    """The tenant has no personal data, or a token was given where the search needs the value itself."""


@dataclass(frozen=True)
class Finding:
    """A place where the original value can still be read."""

    place: str
    rows: int


@dataclass(frozen=True)
class Erasure:
    """What an erasure did.

    Attributes:
        tenant_id: Tenant.
        token: Token that stands for the person in every table.
        had_key: Whether there was a key to delete.
        dead_letters: Dead letters whose bytes were taken out.
        searched: Columns and lake tables that were searched.
        findings: Where the value can still be read; empty is the proof.
    """

    tenant_id: str
    token: str
    had_key: bool
    dead_letters: int
    searched: int
    findings: tuple[Finding, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing readable is left."""
        return not self.findings


def erase(
    services: LandingServices,
    contracts: Mapping[str, TopicContract],
    tenant_id: str,
    value: str,
    requested_by: str,
    reason: str,
) -> Erasure:
    """Erase a person from everything that opsgraph keeps.

    Args:
        services: Addresses.
        contracts: Contracts by topic.
        tenant_id: Tenant whose data name the person.
        value: The personal value as the sources write it, for example `T-17`.
        requested_by: Who asked.
        reason: Why, for the record.

    Raises:
        UnknownSubjectError: No key of this tenant exists, or `value` is a token.
    """
    if TOKEN_FORM.fullmatch(value):
        raise UnknownSubjectError(
            f"{value} is a token. Give the value itself: without it nobody can search for what is left"
        )
    with psycopg.connect(services.database_url) as connection:
        token = _token(connection, tenant_id, value)
        letters = _erase_dead_letters(connection, value)
        lake = Lake(services.lake_url, services.catalog_uri)
        renew_letters(connection, lake, _landed(contracts), letters)
        deleted = connection.execute(
            "delete from ops.pii_keys where tenant_id = %s and subject_token = %s", (tenant_id, token)
        ).rowcount
        connection.execute(
            "delete from ops.pii_vault where tenant_id = %s and subject_token = %s", (tenant_id, token)
        )
        connection.commit()
        findings, searched = _search(connection, services, contracts, value)
        erasure = Erasure(tenant_id, token, deleted > 0, len(letters), searched, tuple(findings))
        connection.execute(
            """
            insert into ops.erasures (tenant_id, subject_token, requested_by, reason, proof)
            values (%s, %s, %s, %s, %s)
            """,
            (tenant_id, token, requested_by, reason, Jsonb(asdict(erasure))),
        )
    return erasure


def _token(connection: psycopg.Connection[Any], tenant_id: str, value: str) -> str:
    row = connection.execute(
        "select encryption_key from ops.pii_keys where tenant_id = %s and subject_token = %s",
        (tenant_id, TENANT_KEY),
    ).fetchone()
    if row is None:
        raise UnknownSubjectError(f"tenant {tenant_id!r} has no personal data: nothing was erased")
    return token_of(bytes(row[0]), value)


def _landed(contracts: Mapping[str, TopicContract]) -> list[TopicContract]:
    return [contract for contract in contracts.values() if contract.direction is Direction.IN]


def _erase_dead_letters(connection: psycopg.Connection[Any], value: str) -> list[int]:
    """Take the bytes out of dead letters that name the person; the rows and their counts stay."""
    word = _word(value)
    named = [
        letter.dead_letter_id
        for letter in find(connection, Selection(is_replayed=None))
        if any(part and word.search(part) for part in (letter.payload, letter.message_key))
    ]
    connection.execute(
        """
        update ops.dead_letters set payload = %s, message_key = null, headers = '[]', erased_at = now()
        where dead_letter_id = any(%s)
        """,
        (ERASED, named),
    )
    # What waits for the dead-letter topic is the same message; its place in the ledger does not change.
    connection.execute(
        """
        update ops.outbox as o set payload = %s, message_key = null
        from ops.dead_letters as d
        where d.dead_letter_id = any(%s) and o.payload is not null
            and o.headers @> jsonb_build_array(jsonb_build_array(
                'source_offset', encode(convert_to(d.kafka_offset::text, 'UTF8'), 'base64')))
            and o.headers @> jsonb_build_array(jsonb_build_array(
                'source_topic_id', encode(convert_to(d.topic_id::text, 'UTF8'), 'base64')))
        """,
        (ERASED, named),
    )
    return named


def _word(value: str) -> "re.Pattern[bytes]":
    """The value, not followed by what would make it another one: T-17 is not found in T-170.

    >>> bool(_word("T-17").search(b"by T-170")), bool(_word("T-17").search(b'"T-17"'))
    (False, True)
    """
    # What stands before is not looked at: Avro writes a length there, and some lengths are letters.
    return re.compile(re.escape(value.encode()) + rb"(?![0-9A-Za-z])")


def _search(
    connection: psycopg.Connection[Any],
    services: LandingServices,
    contracts: Mapping[str, TopicContract],
    value: str,
) -> tuple[list[Finding], int]:
    found: list[Finding] = []
    searched = 0
    for schema, table, column, kind in _text_columns(connection):
        searched += 1
        text = sql.SQL("{}::text").format(sql.Identifier(column))
        pattern = r"(^|[^0-9A-Za-z])" + re.escape(value) + r"($|[^0-9A-Za-z])"
        if kind == "bytea":
            text = sql.SQL("encode({}, 'escape')").format(sql.Identifier(column))
            pattern = re.escape(value) + r"($|[^0-9A-Za-z])"
        query = sql.SQL("select count(*) from {} where {} ~ %s").format(sql.Identifier(schema, table), text)
        row = connection.execute(query, (pattern,)).fetchone()
        if row and row[0]:
            found.append(Finding(f"{schema}.{table}.{column}", int(row[0])))
    lake = Lake(services.lake_url, services.catalog_uri)
    for contract in _landed(contracts):
        searched += 1
        if rows := _in_lake(lake, contract, value):
            found.append(Finding(f"lake {contract.table}", rows))
    return found, searched


def _text_columns(connection: psycopg.Connection[Any]) -> Iterator[tuple[str, str, str, str]]:
    """Every column that can hold a text, of tables (a partitioned table stands for its partitions)."""
    rows = connection.execute(
        """
        select c.table_schema, c.table_name, c.column_name, c.data_type
        from information_schema.columns as c
        inner join pg_class as t on t.oid = format('%%I.%%I', c.table_schema, c.table_name)::regclass
        where (c.table_schema = any(%s) or c.table_schema like 'asof\\_%%') and c.data_type = any(%s)
            and t.relkind in ('r', 'p') and not t.relispartition
        order by 1, 2, 3
        """,
        (list(SEARCHED_SCHEMAS), list(TEXT_TYPES)),
    ).fetchall()
    for schema, table, column, kind in rows:
        if (schema, table) not in NOT_SEARCHED:
            yield schema, table, column, kind


def _in_lake(lake: Lake, contract: TopicContract, value: str) -> int:
    """Rows of a lake table that hold the value in any text column, and refused messages beside them."""
    import polars as pl

    table = lake.existing_table(contract)
    if table is None:
        return 0
    pattern = r"(^|[^0-9A-Za-z])" + re.escape(value) + r"($|[^0-9A-Za-z])"
    texts = [field.name for field in contract.fields if field.physical_type == "string"]
    rows = 0
    for batch in table.scan(selected_fields=tuple(texts)).to_arrow_batch_reader():
        frame = pl.DataFrame(batch)
        rows += frame.filter(pl.any_horizontal(pl.col(texts).str.contains(pattern))).height
    word = _word(value)
    return rows + sum(bool(word.search(part)) for part in LakeJournal(table).refused_bytes())
