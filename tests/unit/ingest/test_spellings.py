"""A value is found however a program has written it, and as a word of its own only."""

import io
import json
import re

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.ingest.spellings import spellings

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
PERSON = {
    "type": "record",
    "name": "p",
    "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "long"}],
}


@given(NAMES, st.integers(-(2**40), 2**40))
def test_whatever_json_and_avro_write_is_found(name: str, next_value: int) -> None:
    """Forbids a proof of erasure that misses what an ordinary library has written."""
    found = spellings(name)
    plain, escaped = json.dumps({"by": name}, ensure_ascii=False), json.dumps({"by": name})
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(PERSON), {"a": name, "b": next_value})

    for text in (plain, escaped, json.dumps(escaped), json.dumps(json.dumps(escaped))):
        assert found.is_in([text.encode()]), text
        assert re.search(found.text, text), text
        assert re.search(found.escaped, _as_postgres_escapes(text.encode())), text
    assert found.is_in([buffer.getvalue()])
    assert re.search(found.escaped, _as_postgres_escapes(buffer.getvalue()))


@pytest.mark.parametrize("other", ["T-170", "T-17b", "T-1", "t-17"])
def test_a_longer_value_is_another_one(other: str) -> None:
    """Forbids an erasure that takes a namesake along."""
    found = spellings("T-17")
    assert not found.is_in([f"by {other} at noon".encode(), None])
    assert not re.search(found.text, f"by {other} at noon")
    assert not re.search(found.escaped, f"by {other} at noon")


def test_an_escape_before_the_value_is_no_letter_of_it() -> None:
    """Forbids a value that is missed since JSON wrote a line end before it."""
    found = spellings("T-17")
    assert re.search(found.text, json.dumps("shift\nT-17"))
    assert not re.search(found.text, "XT-17")


def _as_postgres_escapes(part: bytes) -> str:
    """`encode(part, 'escape')` as the documentation of Postgres has it ("Binary String Functions")."""
    return "".join(
        f"\\{byte:03o}" if byte == 0 or byte > 127 else "\\\\" if byte == 92 else chr(byte) for byte in part
    )
