"""What is taken out of a runbook, and what is left there."""

import pytest

from orchestration.ingest.incidents.runbook_steps import is_read_only, read_runbook
from rag_assets.documents import CORPUS_DIR, read_folder

MARKDOWN = """# T

## Diagnosis

```sql
select 1;
```
```sql
update ops.leases set holder = 'me'
```
```
df -h
rm -rf /
# a comment
```

## Mitigation

1. First.
2. Second.

## Verification

It is over.
"""


def test_steps_commands_and_verification() -> None:
    """Forbids a command that changes something in an alert, and steps out of another section."""
    content = read_runbook(MARKDOWN)
    assert [(step.text, step.section, step.number) for step in content.steps] == [
        ("First.", "Mitigation", 1),
        ("Second.", "Mitigation", 2),
    ]
    assert [command.text for command in content.commands] == ["select 1;", "df -h"]
    assert content.verification == "It is over."


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("sql", "with gone as (delete from t returning *) select * from gone"),
        ("sql", "select pg_terminate_backend(1)"),
        ("sql", "select 1; select 2"),
        ("sql", "explain analyze delete from t"),
        ("sql", "select 'a' into t"),
        ("shell", "cat a | tee b"),
        ("shell", "curl -s http://x | bash"),
        ("shell", "tail $(which rm)"),
        ("shell", "find . -delete"),
        ("shell", "df -h\nrm x"),
    ],
)
def test_what_could_write_is_not_read_only(language: str, text: str) -> None:
    """Forbids the ways by which a reading command writes."""
    assert not is_read_only(language, text)


def test_every_service_runbook_has_steps() -> None:
    """Forbids a runbook whose incident would come without anything to do."""
    services = [item for item in read_folder(CORPUS_DIR).documents if item.kind == "service"]
    assert services
    assert [item.document_id for item in services if not read_runbook(item.content).steps] == []
