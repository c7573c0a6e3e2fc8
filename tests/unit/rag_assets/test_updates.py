import json
from typing import Any, cast

import psycopg
import pytest

from rag_assets.documents import Document
from rag_assets.sources import updates
from rag_assets.sources.updates import apply_updates


def test_a_bad_message_is_listed_and_the_next_one_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids that a message which can never be applied rolls the batch back for ever."""
    stored: list[Document] = []
    monkeypatch.setattr(updates, "delete_path", lambda *_: 0)
    monkeypatch.setattr(updates, "store_update", lambda _, document: len([stored.append(document)]))
    messages: list[tuple[str, bytes | None]] = [
        ("plant/date.md", json.dumps({"content": "---\neffective_date: 2026-02-30\n---\nx"}).encode()),
        ("plant/half.md", rb'{"content": "\ud800"}'),
        ("plant/meta.md", rb'{"content": "x", "metadata": {"owner": "\ud800"}}'),
        ("plant/nul.md", rb'{"content": "a\u0000b"}'),
        ("plant/number.md", b'{"content": 7}'),
        ("plant/deep.md", b"[" * 100_000),
        ("pl\x00ant/a.md", None),
        ("plant/good.md", rb'{"content": "Grease it.", "metadata": {"owner": "\ud83d\ude00"}}'),
    ]

    applied = apply_updates(cast(psycopg.Connection[Any], None), messages)

    assert [item.path for item in applied.broken] == [key for key, _ in messages[:-1]]
    assert [(item.document_id, item.owner) for item in stored] == [("good", "\N{GRINNING FACE}")]
