"""Finds the lake's tables again when the catalog's database was lost with the rest of Postgres.

Each commit leaves a metadata file beside its table; the newest whose data are all there is the table.
Add here what concerns losing the catalog. Avoid rows: `restore` reads them.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyarrow import fs

from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.lake import NAMESPACE, Lake, warehouse_url
from orchestration.ingest.services import LandingServices

if TYPE_CHECKING:
    from pyiceberg.table import Table

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
