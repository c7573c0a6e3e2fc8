"""Single documents that arrive as messages: one is stored, replaced or withdrawn at a time.

The topic is `knowledge-updates`; reading it is `orchestration.ingest`'s work, which hands over bytes.
Avoid consuming here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from rag_assets.documents import BrokenDocument, SourceFile, read_file
from rag_assets.formats.content import READERS, UnreadableError
from rag_assets.index.corpus import UPDATES, delete_path, store_update


@dataclass(frozen=True)
class AppliedUpdates:
    """What a run of messages did.

    Attributes:
        stored: Documents that are new or different.
        withdrawn: Documents that were taken out.
        broken: Messages that could not be applied, with the reason.
    """

    stored: int
    withdrawn: int
    broken: tuple[BrokenDocument, ...]


def apply_updates(
    connection: psycopg.Connection[Any], messages: Sequence[tuple[str, bytes | None]]
) -> AppliedUpdates:
    """Apply messages in order, inside the caller's transaction.

    Args:
        connection: In a transaction that also moves the reader's position.
        messages: Key `tenant/path` and value; a message without value withdraws the document. The value is
            JSON: `{"content": "…", "metadata": {…}}`, `content` in the format that the path's suffix names.
    """
    stored = withdrawn = 0
    broken: list[BrokenDocument] = []
    for key, value in messages:
        tenant, _, path = key.partition("/")
        if not tenant or not path or "\x00" in key:
            broken.append(BrokenDocument(key, "the key must be tenant/path"))
            continue
        if value is None:
            withdrawn += delete_path(connection, UPDATES, tenant, path)
            continue
        try:
            document = read_file(_file(path, value), tenant)
        except UnreadableError as error:
            broken.append(BrokenDocument(key, str(error)))
            continue
        delete_path(connection, UPDATES, tenant, path)
        stored += store_update(connection, document)
    return AppliedUpdates(stored, withdrawn, tuple(broken))


def _file(path: str, value: bytes) -> SourceFile:
    suffix = path[path.rfind(".") :].lower()
    if suffix not in READERS or suffix == ".pdf":
        raise UnreadableError(f"{path} must end in one of .md .html .txt")
    try:
        row: dict[str, Any] = json.loads(value)
        content: str = row["content"]
        # YAML reads JSON: the metadata take the place of a sidecar. It does not join escaped halves of a
        # character as JSON does, so nothing is escaped.
        metadata = json.dumps(row.get("metadata") or {}, ensure_ascii=False)
        return SourceFile(path, content.encode(), metadata.encode())
    except UnicodeEncodeError as error:
        raise UnreadableError("it holds half a character (a lone surrogate)") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableError('expected {"content": "…", "metadata": {…}}') from error
