"""Finds the lake's tables again when the catalog's database was lost with the rest of Postgres.

Each commit leaves a metadata file beside its table; the newest whose data are all there is the table.
Add here what concerns losing the catalog. Avoid rows: `restore` reads them.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from pyarrow import fs

from orchestration.ingest.contracts import Direction, TopicContract
from orchestration.ingest.lake import NAMESPACE, Lake, warehouse_url
from orchestration.ingest.lake_journal import Kind, LakeJournal
from orchestration.ingest.offsets import TopicRefusedError, positions
from orchestration.ingest.services import LandingServices

if TYPE_CHECKING:
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

METADATA_SUFFIX = ".metadata.json"


def find_tables(services: LandingServices, contracts: Sequence[TopicContract]) -> list[str]:
    """Enter tables into the catalog that it does not know and the lake's files do.

    Args:
        services: Addresses.
        contracts: Contracts whose tables are wanted.

    Returns:
        Tables that were entered.
    """
    lake = Lake(services.lake_url, services.catalog_uri)
    found: list[str] = []
    for contract in contracts:
        if lake.existing_table(contract) is None and (path := _newest(services, contract)):
            lake.register(contract, path)
            found.append(contract.table)
    return found


def reserve_numbers(services: LandingServices, contracts: Mapping[str, TopicContract]) -> None:
    """Let no new batch or dead letter have a number that the lake has of any topic.

    Topics come back one by one, and others are landed between them: whoever took a number that stands in
    the lake's journals would keep its topic from ever coming back.
    """
    lake = Lake(services.lake_url, services.catalog_uri)
    batch = letter = 0
    for contract in contracts.values():
        if contract.direction is not Direction.IN:
            continue
        if table := lake.existing_table(contract) or _table_of_files(services, contract):
            journal = LakeJournal(table)
            batch = max(batch, journal.highest(Kind.LEDGER), _highest_batch(table))
            letter = max(letter, journal.highest(Kind.LETTERS))
    with psycopg.connect(services.database_url) as connection:
        _raise(connection, "ops.batch_id", batch)
        _raise(connection, "ops.dead_letters_dead_letter_id_seq", letter)


def _raise(connection: psycopg.Connection[Any], sequence: str, number: int) -> None:
    """Move a sequence up to a number; one that is beyond it stays."""
    statement = sql.SQL(
        "select setval({}, %(number)s) from {} where last_value <= %(number)s and %(number)s > 0"
    )
    connection.execute(
        statement.format(sql.Literal(sequence), sql.Identifier(*sequence.split("."))), {"number": number}
    )


def _highest_batch(table: "Table") -> int:
    """Highest batch of a table's rows by its files' statistics: a table may be older than its journal."""
    if table.current_snapshot() is None:
        return 0
    files = table.inspect.files().column("readable_metrics").to_pylist()
    return max((int(item["batch_id"]["upper_bound"] or 0) for item in files), default=0)


def refuse_after_loss(
    services: LandingServices, contracts: Mapping[str, TopicContract], topics: Sequence[str]
) -> None:
    """Refuse to land a topic from its start into a Postgres that was lost, while the lake has its rows.

    They would get new batches and known times, and never come together with the lake again. Asked only of
    topics that have no position, so a running system pays one query. A lake that is away has nothing to say:
    it never keeps Postgres from landing. Topics that the lake does not know may begin at once, with numbers
    that none of the others will need when it comes back.

    Raises:
        TopicRefusedError: The lake has rows of a topic that Postgres knows nothing of.
    """
    with psycopg.connect(services.database_url) as connection:
        known = {item.topic for item in positions(connection, topics)}
        row = connection.execute("select is_called from ops.batch_id").fetchone()
    unknown = [contracts[topic] for topic in topics if topic not in known]
    if unknown and row is not None and not row[0]:  # a Postgres that has never landed anything
        try:
            reserve_numbers(services, contracts)
        except OSError as error:
            log.warning("the lake can't be asked which numbers it has given (%s); landing goes on", error)
    for contract in unknown:
        if _has_rows(services, contract):
            raise TopicRefusedError(
                contract.topic,
                f"{contract.topic}: Postgres has no ledger of it, but the lake has its rows. Nothing of it "
                "was landed. If Postgres was lost, bring it back with `opsgraph restore --from-lake`; to "
                "begin anew, give the lake another place (LAKE_URL).",
            )


def _has_rows(services: LandingServices, contract: TopicContract) -> bool:
    try:
        table = Lake(services.lake_url, services.catalog_uri).existing_table(contract)
        if table:
            return table.current_snapshot() is not None
        return _newest(services, contract) is not None
    except OSError as error:
        log.warning(
            "%s: the lake can't be asked whether it has rows (%s); landing goes on", contract.topic, error
        )
        return False


def _table_of_files(services: LandingServices, contract: TopicContract) -> "Table | None":
    """A table that the catalog does not know, by its files; it can only be read."""
    from pyiceberg.table import StaticTable

    address = _newest(services, contract)
    return StaticTable.from_metadata(address) if address else None


def _newest(services: LandingServices, contract: TopicContract) -> str | None:
    """Address of the newest metadata file whose data files all exist; None where the table never was.

    Two commits that raced leave two files of the same number, and only the winner's data are sure to stay.
    """
    url = f"{warehouse_url(services.lake_url)}/{NAMESPACE}/{contract.table}"
    scheme = url.split("://", 1)[0]
    filesystem, root = fs.FileSystem.from_uri(url)
    listed = filesystem.get_file_info(fs.FileSelector(f"{root}/metadata", allow_not_found=True))
    written = sorted(
        (info for info in listed if info.path.endswith(METADATA_SUFFIX)),
        key=lambda info: (_number(info.path), info.mtime_ns or 0),
        reverse=True,
    )
    for info in written:
        address = f"{scheme}://{info.path}"
        if _is_whole(address, filesystem):
            return address
    return None


def _number(path: str) -> int:
    return int(Path(path).name.split("-", 1)[0])


def _is_whole(address: str, filesystem: fs.FileSystem) -> bool:
    from pyiceberg.table import StaticTable

    table: Table = StaticTable.from_metadata(address)
    if table.current_snapshot() is None:
        return True
    try:
        named = table.inspect.files().column("file_path").to_pylist()
    except FileNotFoundError:
        return False
    paths = [str(path).split("://", 1)[1] for path in named]
    return all(info.type == fs.FileType.File for info in filesystem.get_file_info(paths))
