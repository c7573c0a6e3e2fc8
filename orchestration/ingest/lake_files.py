"""The data files of a lake table: names, atomic publication, removal of orphans.

Add here what depends on the file system under the lake. Avoid Iceberg's metadata: pyiceberg keeps it.
Local files appear whole by rename after fsync; an object store shows an object only when its upload
has ended.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import os
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow import fs

if TYPE_CHECKING:
    from pyiceberg.table import Table

DATA_DIR = "data"
PREFIX, SUFFIX, UNFINISHED = "landing-", ".parquet", ".inflight"
CLOCK_SLACK = timedelta(days=1)


class LakeFiles:
    """Files below the location of one table."""

    def __init__(self, table: "Table") -> None:
        """Take the file system from the table's location (`file://…`, `s3://…`)."""
        self._table = table
        self._scheme = table.location().split("://", 1)[0]
        self._is_local = self._scheme == "file"
        filesystem, root = fs.FileSystem.from_uri(table.location())
        self._filesystem: fs.FileSystem = filesystem
        self._data = f"{root}/{DATA_DIR}"

    def new_path(self, day: date, prefix: str = PREFIX, folder: str = DATA_DIR) -> str:
        """Path of a file that does not exist yet, for rows landed on a day.

        Only files of the lander's own prefix are its orphans; upkeep names its files otherwise.
        """
        of_day = f"{self._data.removesuffix(DATA_DIR)}{folder}/landed_on={day.isoformat()}"
        if self._is_local:
            self._filesystem.create_dir(of_day, recursive=True)
        return f"{of_day}/{prefix}{uuid.uuid4().hex}{SUFFIX}"

    def open(self, path: str) -> Any:
        """Stream that the file is written to."""
        return self._filesystem.open_output_stream(path + UNFINISHED if self._is_local else path)

    def publish(self, path: str) -> str:
        """Give a closed file its name, so that it survives a power failure; return its path."""
        if self._is_local:
            unfinished = path + UNFINISHED
            _fsync(unfinished)
            Path(unfinished).rename(path)
            _fsync(str(Path(path).parent))
        return path

    def url(self, path: str) -> str:
        """The path as Iceberg's metadata names it."""
        return f"{self._scheme}://{path}"

    def remove(self, path: str) -> None:
        """Delete a file."""
        self._filesystem.delete_file(path)

    def remove_orphans(self) -> list[str]:
        """Delete files of flushes that never became a snapshot; return their paths.

        Only the days since the newest snapshot can have any: a lander removes its predecessor's
        before it writes. Files that any kept snapshot names are left alone.
        """
        listed = self._filesystem.get_file_info(
            fs.FileSelector(self._data, recursive=True, allow_not_found=True)
        )
        own = [info.path for info in listed if info.is_file and Path(info.path).name.startswith(PREFIX)]
        first_day = self._first_uncertain_day()
        recent = [path for path in own if _day_of(path) >= first_day]
        if not recent:
            return []
        named = self._named_files()
        orphans = [path for path in recent if path.endswith(UNFINISHED) or self.url(path) not in named]
        for path in orphans:
            self._filesystem.delete_file(path)
        return orphans

    def remove_unnamed(self, prefix: str, before: datetime | None = None) -> list[str]:
        """Delete files of a prefix that no kept snapshot names; return their paths.

        Args:
            prefix: Whose files. Without `before` nobody else may be writing files of this prefix.
            before: Only files that were written before this instant: what a lander writes now has no
                snapshot yet.
        """
        listed = self._filesystem.get_file_info(
            fs.FileSelector(self._data, recursive=True, allow_not_found=True)
        )
        own = [
            info.path
            for info in listed
            if info.is_file
            and Path(info.path).name.startswith(prefix)
            and (before is None or info.mtime < before)
        ]
        if not own:
            return []
        named = self._named_files()
        unnamed = [path for path in own if path.endswith(UNFINISHED) or self.url(path) not in named]
        for path in unnamed:
            self._filesystem.delete_file(path)
        return unnamed

    def _first_uncertain_day(self) -> date:
        snapshot = self._table.current_snapshot()
        if snapshot is None:
            return date.min
        return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC).date() - CLOCK_SLACK

    def _named_files(self) -> set[str]:
        if self._table.current_snapshot() is None:
            return set()
        return set(self._table.inspect.all_files().column("file_path").to_pylist())


def _day_of(path: str) -> date:
    return date.fromisoformat(Path(path).parent.name.removeprefix("landed_on="))


def _fsync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
