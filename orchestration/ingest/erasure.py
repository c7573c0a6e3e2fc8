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
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from orchestration.ingest.contracts import Direction, TopicContract
from orchestration.ingest.dead_letters import Selection, find
from orchestration.ingest.lake import Lake
from orchestration.ingest.lake_journal import LakeJournal, renew_letters
from orchestration.ingest.pii import ALL_TENANTS, TENANT_KEY, tenant_of, token_of
from orchestration.ingest.postgres_sink import headers_from_json
from orchestration.ingest.services import LandingServices
from orchestration.ingest.spellings import Spellings, spellings

ERASED = b"opsgraph erased: the person that this message named asked for it\n"
ERASED_REASON = "the person that this message named was erased"
TOKEN_FORM = re.compile(r"pii_[0-9a-f]{32}")
TEXT_TYPES = ("text", "character varying", "jsonb", "json", "bytea")
# Copies of the originals that are meant to be there; their keys are what an erasure deletes.
NOT_SEARCHED = {("ops", "pii_vault"), ("ops", "pii_keys"), ("ops", "erasures")} | {
    ("ops", "dead_letters"), ("ops", "outbox"),  # searched message by message
}  # fmt: skip
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
        searched: Columns, lake tables and kinds of kept messages that were searched.
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
        named = spellings(value)
        letters = _erase_dead_letters(connection, tenant_id, named)
        lake = Lake(services.lake_url, services.catalog_uri)
        renew_letters(connection, lake, _landed(contracts), letters)
        deleted = connection.execute(
            "delete from ops.pii_keys where tenant_id = %s and subject_token = %s", (tenant_id, token)
        ).rowcount
        connection.execute(
            "delete from ops.pii_vault where tenant_id = %s and subject_token = %s", (tenant_id, token)
        )
        connection.commit()
        findings, searched = _search(connection, services, contracts, tenant_id, named)
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


def _erase_dead_letters(connection: psycopg.Connection[Any], tenant_id: str, named: Spellings) -> list[int]:
    """Take the bytes out of dead letters that name the person; the rows and their counts stay."""
    letters = [
        letter.dead_letter_id
        for letter in find(connection, Selection(is_replayed=None))
        if _may_name(tenant_id, letter.message_key) and named.is_in(_parts(asdict(letter)))
    ]
    connection.execute(
        """
        update ops.dead_letters
        set payload = %s, message_key = null, headers = '[]', error_message = %s, erased_at = now()
        where dead_letter_id = any(%s)
        """,
        (ERASED, ERASED_REASON, letters),
    )
    # The same message on its way to the dead-letter topic, or there already. What waits still leaves, with
    # the last four headers alone: they tell a repetition, and the producer did not write them.
    connection.execute(
        """
        update ops.outbox as o set payload = case when o.payload is not null then %s end, message_key = null,
            headers = jsonb_path_query_array(o.headers, '$[last - 3 to last]')
        from ops.dead_letters as d
        where d.dead_letter_id = any(%s)
            and jsonb_path_query_array(o.headers, '$[last - 2 to last]') = jsonb_build_array(
                jsonb_build_array('source_topic_id', encode(d.topic_id::text::bytea, 'base64')),
                jsonb_build_array('source_partition', encode(d.kafka_partition::text::bytea, 'base64')),
                jsonb_build_array('source_offset', encode(d.kafka_offset::text::bytea, 'base64')))
        """,
        (ERASED, letters),
    )
    return letters


def _may_name(tenant_id: str, message_key: bytes | None) -> bool:
    """Whether a message is the tenant's, or nobody can tell whose it is."""
    return tenant_of(message_key) in (tenant_id, ALL_TENANTS)


def _parts(letter: Mapping[str, Any]) -> Iterator[bytes | None]:
    """Everything of a message in which a person can be named."""
    yield letter["payload"]
    yield letter["message_key"]
    yield str(letter.get("error_message", "")).encode()
    for name, header in headers_from_json(letter["headers"]):
        yield name.encode()
        yield header


def _search(
    connection: psycopg.Connection[Any],
    services: LandingServices,
    contracts: Mapping[str, TopicContract],
    tenant_id: str,
    named: Spellings,
) -> tuple[list[Finding], int]:
    """Search everything that is the tenant's or can't be told apart; gives findings and places."""
    counted = dict(_in_messages(connection, tenant_id, named))
    for schema, table, column, kind, has_tenant in _text_columns(connection):
        name = sql.Identifier(column)
        is_bytes = kind == "bytea"
        text = sql.SQL("encode({}, 'escape')" if is_bytes else "{}::text").format(name)
        own = sql.SQL("(tenant_id::text = %(tenant)s or tenant_id is null) and " if has_tenant else "")
        query = sql.SQL("select count(*) from {} where {} {} ~ %(pattern)s").format(
            sql.Identifier(schema, table), own, text
        )
        pattern = named.escaped if is_bytes else named.text
        row = connection.execute(query, {"tenant": tenant_id, "pattern": pattern}).fetchone()
        counted[f"{schema}.{table}.{column}"] = int(row[0]) if row else 0
    lake = Lake(services.lake_url, services.catalog_uri)
    for contract in _landed(contracts):
        counted[f"lake {contract.table}"] = _in_lake(lake, contract, tenant_id, named)
    return [Finding(place, rows) for place, rows in counted.items() if rows], len(counted)


def _in_messages(
    connection: psycopg.Connection[Any], tenant_id: str, named: Spellings
) -> Iterator[tuple[str, int]]:
    """Kept messages: their tenant stands in their key, and their headers are encoded."""
    letters = (asdict(letter) for letter in find(connection, Selection(is_replayed=None)))
    with connection.cursor(row_factory=dict_row) as cursor:
        waiting = cursor.execute("select message_key, payload, headers from ops.outbox").fetchall()
    for place, messages in (("ops.dead_letters", letters), ("ops.outbox", waiting)):
        yield (
            place,
            sum(named.is_in(_parts(item)) for item in messages if _may_name(tenant_id, item["message_key"])),
        )


def _text_columns(connection: psycopg.Connection[Any]) -> Iterator[tuple[str, str, str, str, bool]]:
    """Every column that can hold a text, of tables (a partitioned table stands for its partitions)."""
    rows = connection.execute(
        """
        select c.table_schema, c.table_name, c.column_name, c.data_type, exists (
            select from information_schema.columns as t
            where t.table_schema = c.table_schema and t.table_name = c.table_name
                and t.column_name = 'tenant_id'
        )
        from information_schema.columns as c
        inner join pg_class as t on t.oid = format('%%I.%%I', c.table_schema, c.table_name)::regclass
        where (c.table_schema = any(%s) or c.table_schema like 'asof\\_%%') and c.data_type = any(%s)
            and t.relkind in ('r', 'p') and not t.relispartition
        order by 1, 2, 3
        """,
        (list(SEARCHED_SCHEMAS), list(TEXT_TYPES)),
    ).fetchall()
    for schema, table, *column in rows:
        if (schema, table) not in NOT_SEARCHED:
            yield schema, table, *column


def _in_lake(lake: Lake, contract: TopicContract, tenant_id: str, named: Spellings) -> int:
    """Rows of a lake table that hold the value in any text column, and refused messages beside them."""
    import polars as pl
    from pyiceberg.expressions import EqualTo, IsNull, Or

    table = lake.existing_table(contract)
    if table is None:
        return 0
    texts = [field.name for field in contract.fields if field.physical_type == "string"]
    own = Or(EqualTo("tenant_id", tenant_id), IsNull("tenant_id"))  # pyright: ignore[reportCallIssue]
    rows = 0
    for batch in table.scan(row_filter=own, selected_fields=tuple(texts)).to_arrow_batch_reader():
        frame = pl.DataFrame(batch)
        rows += frame.filter(pl.any_horizontal(pl.col(texts).str.contains(named.text))).height
    return rows + sum(
        named.is_in(_parts(letter))
        for letter in LakeJournal(table).letters()
        if _may_name(tenant_id, letter["message_key"])
    )
