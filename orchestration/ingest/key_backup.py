"""Copies of the keys of personal data, for the day on which Postgres is lost.

The lake must not hold them: deleting a key is what an erasure is. Without a copy, a restore from the lake
gives tokens whose originals nobody can read, and new messages get other tokens for the same people. A copy
is itself personal data: whoever keeps it must delete it when a person in it is erased (`export` says so).
Add nothing that can be derived. Avoid the vault's use: `pii` has it.
"""

import json
import os
from pathlib import Path
from typing import Any

import psycopg

TABLES = ("pii_keys", "pii_vault")
FORM = "opsgraph keys 1"


class KeyFileError(Exception):
    """A file that is no copy of keys."""


def export_keys(connection: psycopg.Connection[Any], path: Path) -> int:
    """Write keys and vault to a new file that only its owner may read.

    Args:
        connection: Connection to Postgres.
        path: File that does not exist yet.

    Returns:
        Keys that were written.

    Raises:
        FileExistsError: The file exists; it was not touched.
    """
    rows = {
        table: [line for (line,) in connection.execute(f"select to_jsonb(t) from ops.{table} as t")]  # noqa: S608
        for table in TABLES
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"form": FORM, **rows}, file)
        file.flush()
        os.fsync(file.fileno())
    return len(rows["pii_keys"])


def import_keys(connection: psycopg.Connection[Any], path: Path) -> int:
    """Bring keys and vault back, in the caller's transaction; what is there stays as it is.

    People who were erased here since the copy was made stay erased.

    Returns:
        Keys that were added.

    Raises:
        KeyFileError: The file holds something else.
    """
    try:
        kept = json.loads(path.read_text())
        is_copy = kept.get("form") == FORM
    except (ValueError, AttributeError):
        is_copy, kept = False, {}
    if not is_copy:
        raise KeyFileError(
            f"{path} is no copy of keys; `opsgraph vault export FILE` writes one. Nothing was changed."
        )
    added = 0
    for table in TABLES:
        added_rows = connection.execute(
            f"""
            insert into ops.{table}
            select r.* from jsonb_populate_recordset(null::ops.{table}, %s::jsonb) as r
            where not exists (select from ops.erasures as e
                where e.tenant_id = r.tenant_id and e.subject_token = r.subject_token)
            on conflict do nothing
            """,  # noqa: S608 - one of two names above
            (json.dumps(kept[table]),),
        ).rowcount
        added += added_rows if table == "pii_keys" else 0
    return added
