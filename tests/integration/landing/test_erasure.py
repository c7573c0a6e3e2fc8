"""Erasing a person leaves counts and hashes, and nothing that can be read."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from landing_plant import LOGS, MAINTENANCE, STARTED_AT, Plant, log_line

from orchestration.ingest.erasure import Erasure, UnknownSubjectError, erase
from orchestration.ingest.lake import Lake
from orchestration.ingest.lake_journal import LakeJournal
from orchestration.ingest.lake_writer import FlushSettings, LakeWriter
from orchestration.ingest.pii import PiiVault, Subject, original_of, token_of
from orchestration.ingest.retention import (
    expire_dead_letters,
    expire_everywhere,
    holds,
    place_hold,
    release_hold,
)

pytestmark = pytest.mark.integration


def event(number: int, technician: str, **changes: Any) -> dict[str, Any]:
    """One maintenance event by a technician."""
    return {
        "tenant_id": "demo-plant",
        "equipment_id": "CNC-A-101",
        "event_at": STARTED_AT + timedelta(hours=number),
        "event_type": "maintenance",
        "technician_id": technician,
        **changes,
    }


def land(plant: Plant, *events: dict[str, Any]) -> None:
    """Send events and land them."""
    plant.produce(MAINTENANCE, [plant.datum(MAINTENANCE, item) for item in events])
    plant.land(MAINTENANCE)


def test_an_erased_person_is_in_no_table_no_lake_and_no_dead_letter(plant: Plant) -> None:
    """Forbids an erasure that forgets a copy, takes a namesake along, or breaks the ledger."""
    refused_at = datetime(1970, 1, 1, tzinfo=UTC)
    land(
        plant,
        event(0, "T-17"),
        event(1, "T-170"),
        event(2, "T-17", event_at=refused_at),
        event(3, "T-170", event_at=refused_at),
    )
    tokens = plant.query("select technician_id from raw.maintenance_events order by event_at")
    before = plant.check(MAINTENANCE).counts

    erasure = erase(
        plant.services, plant.contracts, "demo-plant", "T-17", "the works council", "left the plant"
    )

    assert erasure.had_key
    assert erasure.is_complete, erasure.findings
    assert erasure.dead_letters == 1
    assert erasure.searched > 20
    assert erasure.token == tokens[0][0]
    assert plant.query("select technician_id from raw.maintenance_events order by event_at") == tokens
    with psycopg.connect(plant.services.database_url) as connection:
        assert original_of(connection, "demo-plant", tokens[0][0], "technician_id") is None
        assert original_of(connection, "demo-plant", tokens[1][0], "technician_id") == "T-170"
    balance = plant.check(MAINTENANCE)
    assert balance.is_balanced, balance.faults
    assert balance.counts == before


def test_a_lander_that_goes_on_stores_an_erased_person_who_comes_back(plant: Plant) -> None:
    """Forbids a lander's memory that outlives an erasure: the person's later originals would be lost."""
    with psycopg.connect(plant.services.database_url, autocommit=True) as connection:
        vault = PiiVault(connection)
        subject = Subject("demo-plant", token_of(b"key", "T-17"), "technician_id", "T-17")
        for _ in range(2):
            vault.store(connection, [subject, subject])
            assert original_of(connection, "demo-plant", subject.token, subject.field) == "T-17"
            connection.execute("delete from ops.pii_vault")
            connection.execute("delete from ops.pii_keys")


def test_a_refused_message_of_another_topic_is_emptied_in_the_lake_too(plant: Plant) -> None:
    """Forbids an erasure that leaves a readable copy in the lake's journal, which keeps dead letters."""
    land(plant, event(0, "T-17"))
    plant.produce(LOGS, [b'{"level": "by T-17', b'{"level": "by T-170'])
    plant.land(LOGS)
    LakeWriter(_lake(plant), plant.contract(LOGS), plant.services.database_url, FlushSettings()).catch_up()

    def kept() -> bytes:
        return b"".join(letter["payload"] for letter in LakeJournal(_table(plant)).letters())

    assert kept().count(b"T-17") == 2, "a writer that is opened again records nothing twice"

    erasure = erase(plant.services, plant.contracts, "demo-plant", "T-17", "somebody", "left the plant")

    assert erasure.is_complete, erasure.findings
    assert kept().count(b"T-17") == kept().count(b"T-170") == 1
    with psycopg.connect(plant.services.database_url) as connection:
        connection.execute("update ops.dead_letters set landed_at = now() - interval '91 days'")
    expire_everywhere(plant.services, plant.contracts.values(), timedelta(days=90), is_dry_run=False)
    assert b"T-170" not in kept()
    assert plant.check(LOGS).is_balanced


def _erase(plant: Plant, value: str) -> Erasure:
    return erase(plant.services, plant.contracts, "demo-plant", value, "somebody", "left the plant")


def test_another_tenants_namesake_keeps_the_letters(plant: Plant) -> None:
    """Forbids an erasure that destroys what another tenant has of another person of the same name."""
    land(plant, event(0, "T-17"))
    keys = (b"demo-plant/x", b"other/x", None)
    for key in keys:
        plant.produce(LOGS, [b'{"by": "T-17'], key=key)
    plant.produce(LOGS, [json.dumps(log_line(0, tenant_id="other", message="by T-17")).encode()])
    plant.land(LOGS)

    erasure = _erase(plant, "T-17")

    assert erasure.dead_letters == 2
    assert erasure.is_complete, erasure.findings
    left = "select message_key, erased_at is not null from ops.dead_letters order by kafka_offset"
    assert plant.query(left) == [(None, True), (b"other/x", False), (None, True)]


def test_every_spelling_of_a_name_and_every_header_is_found(plant: Plant) -> None:
    """Forbids a proof that is false: escaped JSON, bytes beyond ASCII, headers, rows that were sent."""
    name = "Jörg Müller"
    land(plant, event(0, name))
    plant.produce(
        LOGS,
        [
            b'{"by": "J\\u00f6rg M\\u00FCller',
            '{"by": "Jörg Müller'.encode(),
            '{"by": "Jörg Müllerson'.encode(),
            b'{"said": "{\\"by\\": \\"J\\\\u00f6rg M\\\\u00fcller',
        ],
    )
    plant.produce(LOGS, [b"{broken"], headers=[("author", name.encode())])
    plant.produce(LOGS, [b"{broken"], key=f"{name}/x".encode())
    plant.produce(LOGS, [b'{"by": "Anna'], key=b"demo-plant/x")
    plant.land(LOGS)
    with psycopg.connect(plant.services.database_url) as connection:
        connection.execute("create table ops.a_copy (tenant_id text, kept bytea, said text)")
        connection.execute(
            "insert into ops.a_copy values ('demo-plant', %s, %s), ('other', %s, %s)",
            (b"by " + name.encode(), "line\\nJ\\u00f6rg M\\u00fcller", name.encode(), name),
        )

    erasure = _erase(plant, name)

    emptied = "select kafka_offset from ops.dead_letters where erased_at is not null order by 1"
    assert [offset for (offset,) in plant.query(emptied)] == [0, 1, 3, 4]
    found = {finding.place: finding.rows for finding in erasure.findings}
    assert found == {"ops.a_copy.kept": 1, "ops.a_copy.said": 1}
    headers = plant.query("select headers from ops.outbox order by outbox_id")
    named = [{str(pair[0]) for pair in row[0]} for row in headers]
    assert "author" not in set().union(*named)
    assert all("source_offset" in names for names in named)  # a repetition can still be told
    kept = LakeJournal(_table(plant)).letters()
    assert [len(letter["headers"]) for letter in kept] == [0] * 7


def _lake(plant: Plant) -> Lake:
    return Lake(plant.services.lake_url, plant.services.catalog_uri)


def _table(plant: Plant) -> Any:
    table = _lake(plant).table(plant.contract(LOGS))
    assert table.current_snapshot() is None  # no row has landed: the journal stands alone
    return table


def test_the_search_finds_what_an_erasure_can_not_reach(plant: Plant) -> None:
    """Forbids a proof that never fails: a copy in a text field must be found and named."""
    land(plant, event(0, "T-17", description="called T-17 at night"))

    erasure = erase(
        plant.services, plant.contracts, "demo-plant", "T-17", "the works council", "left the plant"
    )

    places = {finding.place for finding in erasure.findings}
    assert places == {"raw.maintenance_events.description", "lake maintenance_events"}
    assert not erasure.is_complete


def test_a_token_or_an_unknown_tenant_is_refused(plant: Plant) -> None:
    """Forbids an erasure that reports success without having known whom to look for."""
    for tenant, value in (("nobody", "T-17"), ("demo-plant", "pii_" + "0" * 32)):
        with pytest.raises(UnknownSubjectError):
            erase(plant.services, plant.contracts, tenant, value, "somebody", "no reason")


def test_old_dead_letters_lose_their_bytes_and_a_hold_keeps_them(plant: Plant) -> None:
    """Forbids an expiry that changes counts, works in a dry run, or ignores a legal hold."""
    plant.produce(MAINTENANCE, [b"hello"])
    plant.land(MAINTENANCE)
    connection = psycopg.connect(plant.services.database_url, autocommit=True)
    with connection:
        hold = place_hold(connection, "lawsuit 7", "legal")
        assert expire_dead_letters(connection, timedelta(0), is_dry_run=False).held == holds(connection)
        assert release_hold(connection, hold)
        assert expire_dead_letters(connection, timedelta(days=1), is_dry_run=False).count == 0
        assert expire_dead_letters(connection, timedelta(0), is_dry_run=True).count == 1
        kept = plant.query("select payload = 'hello'::bytea or expired_at is null from ops.dead_letters")
        assert kept == [(True,)]
        assert expire_dead_letters(connection, timedelta(0), is_dry_run=False).count == 1
    assert plant.query("select expired_at is not null from ops.dead_letters") == [(True,)]
    assert plant.check(MAINTENANCE).is_balanced


def test_bytes_of_replayed_letters_and_sent_messages_go_too(plant: Plant) -> None:
    """Forbids a retention under which the bytes of what was repaired stay for ever."""
    plant.produce(LOGS, [b"{one", b"{two"], headers=[("author", b"T-17")])
    plant.land(LOGS)
    with psycopg.connect(plant.services.database_url, autocommit=True) as connection:
        connection.execute("update ops.dead_letters set replayed_at = now() where kafka_offset = 1")
        connection.execute("insert into ops.outbox (topic, payload) values ('waits', 'x')")
        hold = place_hold(connection, "lawsuit 7", "legal")
        assert expire_dead_letters(connection, timedelta(0), is_dry_run=False).ids == []
        assert plant.query("select count(*) from ops.outbox") == [(3,)]
        release_hold(connection, hold)
        done = expire_dead_letters(connection, timedelta(0), is_dry_run=False)
        assert (done.count, done.sent) == (2, 2)
    assert plant.query("select topic from ops.outbox") == [("waits",)]
