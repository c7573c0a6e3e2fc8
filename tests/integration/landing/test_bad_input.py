"""Bad messages: each is refused or handled by its contract's mode with its reason, and the rest lands."""

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from landing_plant import LOGS, MAINTENANCE, SENSORS, STARTED_AT, Plant, log_line, reading

from orchestration.ingest.contracts import ViolationMode
from orchestration.ingest.dead_letters import Selection, find
from orchestration.ingest.ledger import Counts
from orchestration.ingest.topics import MAX_MESSAGE_BYTES, dead_letter_topic

pytestmark = pytest.mark.integration


def test_every_kind_of_bad_sensor_message_is_handled_and_the_rest_lands(plant: Plant) -> None:
    """Forbids one bad message that stops, shifts or silently swallows its neighbors."""
    good = plant.datum(SENSORS, reading(1))
    two = good + good[5:]
    bad = {
        "truncated": (good[:-3], "UndecodableDatum"),
        "shifted boundary": (two[:-3], "UndecodableDatum"),
        "its other half": (good[:5] + two[-3:], "UndecodableDatum"),
        "trailing byte": (good + b"\x00", "UndecodableDatum"),
        "unknown schema id": (b"\x00\x00\x00\xff\xff" + good[5:], "UnknownSchemaId"),
        "schema of another topic": (b"\x00\x00\x00\x00\x66" + good[5:], "SchemaOfAnotherTopic"),
        "wrong magic byte": (b"\x07" + good[1:], "NotWireFormat"),
        "three bytes": (b"\x00\x00\x00", "NotWireFormat"),
        "not UTF-8": (good.replace(b"demo-plant", b"demo\xff\xfe\xfdant"), "UndecodableDatum"),
        "text with a null character": (good.replace(b"demo-plant", b"demo\x00plant"), "UnstorableText"),
        "event in 1970": (
            plant.datum(SENSORS, reading(1, event_at=datetime(1970, 1, 1, tzinfo=UTC))), "BelowMinimum",
        ),
        "event in 2100": (
            plant.datum(SENSORS, reading(1, event_at=datetime(2100, 1, 1, tzinfo=UTC))), "EventTimeInFuture",
        ),
        "event beyond year 9999": (
            good.replace(good[5 + 11 + 10 : 5 + 11 + 18], b"\xfe\xff\xff\xff\xff\xff\xff\x7f"), None,
        ),
        "5 MiB of noise": (good[:5] + bytes([0xFE]) * (5 * 1024 * 1024), "UndecodableDatum"),
    }  # fmt: skip
    offset_of = {name: 10 + 2 * number for number, name in enumerate(bad)}
    payloads: list[bytes | None] = [plant.datum(SENSORS, reading(number)) for number in range(10)]
    for payload, _ in bad.values():
        payloads += [payload, good]
    bad["no bytes"] = (b"", "EmptyPayload")
    offset_of["no bytes"] = len(payloads) + 1
    payloads += [None, b"", good]
    plant.produce(SENSORS, payloads)

    report = plant.land()

    found = plant.dead_letters()
    assert set(found) == set(offset_of.values())
    assert {name: found[offset_of[name]] for name, (_, kind) in bad.items() if kind} == {
        name: kind for name, (_, kind) in bad.items() if kind
    }
    # 10 good ones, one after each bad one, one at the end; 15 bad ones; a tombstone
    assert report.counts == Counts(landed=25, dead_lettered=15, tombstones=1)
    ledger = plant.check()
    assert ledger.is_balanced, ledger.faults
    kept = dict(plant.query("select kafka_offset, payload from ops.dead_letters"))
    assert all(bytes(kept[offset_of[name]]) == payload for name, (payload, _) in bad.items())


def test_the_dead_letter_topic_gets_the_original_bytes_and_the_reason(plant: Plant) -> None:
    """Forbids a dead-letter queue that nobody can replay: bytes changed, place or reason missing."""
    plant.produce(SENSORS, [b"hello"], key=b"demo-plant/CNC-A-101", headers=[("source", b"gateway-7")])
    plant.land()
    consumer = Consumer({"bootstrap.servers": plant.services.bootstrap_servers, "group.id": "none"})
    consumer.assign([TopicPartition(dead_letter_topic(plant.topic(SENSORS)), 0, OFFSET_BEGINNING)])
    message = consumer.poll(10)
    consumer.close()
    assert message is not None and message.error() is None
    assert (message.value(), message.key()) == (b"hello", b"demo-plant/CNC-A-101")
    headers = dict(message.headers() or [])
    assert headers["source"] == b"gateway-7"
    assert headers["error_class"] == b"NotWireFormat"
    assert b"0x68" in headers["error_message"]
    assert (headers["source_partition"], headers["source_offset"]) == (b"0", b"0")
    assert plant.query("select count(*) from ops.outbox where sent_at is null") == [(0,)]


def test_a_five_mib_log_line_lands(plant: Plant) -> None:
    """Forbids a size limit below 5 MiB anywhere between producer, broker and lander."""
    text = "x" * (5 * 1024 * 1024)
    plant.produce(LOGS, [json.dumps(log_line(0, message=text)).encode(), json.dumps(log_line(1)).encode()])
    assert plant.land(LOGS).counts == Counts(landed=2)
    assert plant.query("select max(length(message)) from raw.raw_logs") == [(5 * 1024 * 1024,)]


def test_bad_json_is_refused_with_its_kind(plant: Plant) -> None:
    """Forbids a JSON path that turns what it can't read into nulls or into its neighbor's row."""
    bad = {
        "not UTF-8": (b'{"tenant_id": "\xff\xfe"}', "NotUtf8"),
        "not JSON": (b'{"tenant_id": ', "NotJson"),
        "two objects": (json.dumps(log_line(1)).encode() * 2, "NotJson"),
        "only a space": (b" ", "NotJson"),
        "an array": (b"[1]", "NotJson"),
        "wrong type": (json.dumps(log_line(1, level=5)).encode(), "WrongType"),
        "null event time": (json.dumps(log_line(1, event_at=None)).encode(), "NullInRequiredField"),
        "time without zone": (json.dumps(log_line(1, event_at="2026-01-05T06:00:00")).encode(), "WrongType"),
        "unknown level": (json.dumps(log_line(1, level="LOUD")).encode(), "NotInEnum"),
        "NaN": (json.dumps(log_line(1, anomaly_score=float("nan"))).encode(), "NotFinite"),
    }
    payloads: list[bytes | None] = []
    for number, (payload, _) in enumerate(bad.values()):
        payloads += [payload, json.dumps(log_line(number), indent=1).encode()]
    plant.produce(LOGS, payloads)

    report = plant.land(LOGS)

    found = plant.dead_letters()
    assert {name: found.get(2 * number) for number, name in enumerate(bad)} == {
        name: kind for name, (_, kind) in bad.items()
    }
    assert report.counts == Counts(landed=len(bad), dead_lettered=len(bad))


def test_modes_of_the_contract(plant: Plant) -> None:
    """Forbids a contract's mode that is read and then not kept."""
    wild = plant.datum(SENSORS, reading(1, temperature_c=900.0, rotation_rpm=float("inf")))
    unknown_level = json.dumps(log_line(1, level="LOUD", response_time_ms=-1)).encode()
    plant.produce(SENSORS, [wild])
    plant.produce(LOGS, [unknown_level])
    rules = plant.contract(LOGS)
    fields = tuple(
        f if f.name != "level" else type(f)(**{**f.__dict__, "on_violation": ViolationMode.DISCARD_ROW})
        for f in rules.fields
    )

    sensors = plant.land()
    logs = plant.with_contract(LOGS, fields=fields).land(LOGS)

    # temperature above 250 and a speed that is not finite: both values are replaced by null
    assert sensors.counts == Counts(landed=1, discarded_values=2)
    assert plant.query("select temperature_c, rotation_rpm, vibration_mm_s from raw.equipment_sensors") == [
        (None, None, 2.5)
    ]
    assert logs.counts == Counts(discarded=1)
    assert plant.query("select count(*) from ops.dead_letters") == [(0,)]


@pytest.mark.parametrize(
    ("value", "error_class"),
    [
        (b"yesterday", "BadKnownAt"),
        (b"2026-01-05T06:00:00", "BadKnownAt"),
        (b"2100-01-01T00:00:00Z", "KnownAtInFuture"),
    ],
)
def test_a_wrong_known_time_is_refused(plant: Plant, value: bytes, error_class: str) -> None:
    """Forbids a header that would place a row in the wrong 'as known at T', or lift the future limit."""
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(1))], headers=[("known_at", value)])
    plant.land()
    assert plant.dead_letters() == {0: error_class}


def test_a_dead_letter_that_its_reason_makes_too_large_does_not_hold_up_the_others(plant: Plant) -> None:
    """Forbids an outbox that is blocked for ever by one message near the broker's limit."""
    noise = b"\x07" * (MAX_MESSAGE_BYTES - 200)  # 200 bytes are enough for a record, not for the reason
    plant.produce(SENSORS, [noise, b"hello"])
    report = plant.land()
    assert report.counts == Counts(dead_lettered=2) and report.findings == ()
    assert plant.query("select count(*) from ops.outbox where sent_at is null") == [(0,)]
    assert plant.query("select length(payload) from ops.dead_letters order by kafka_offset") == [
        (len(noise),),
        (5,),
    ]


def test_a_clock_that_runs_ahead_does_not_move_the_plant_clock(plant: Plant) -> None:
    """Forbids one machine's wrong clock from maturing the labels of the whole plant."""
    ahead = plant.datum(SENSORS, reading(0, event_at=STARTED_AT + timedelta(hours=20)))
    plant.produce(SENSORS, [ahead], headers=[("known_at", STARTED_AT.isoformat().encode())])
    assert plant.land().counts == Counts(landed=1)
    assert plant.query("select plant_now_at from ops.plant_clock") == [(STARTED_AT,)]


def test_refused_messages_of_a_topic_with_personal_fields_are_kept_encrypted(plant: Plant) -> None:
    """Forbids a technician's id in plain bytes beside the tables that tokens keep clean of it."""
    event = {
        "tenant_id": "demo-plant",
        "equipment_id": "CNC-A-101",
        "event_at": datetime(1970, 1, 1, tzinfo=UTC),
        "event_type": "maintenance",
        "technician_id": "T-99-secret",
    }
    payload = plant.datum(MAINTENANCE, event)
    plant.produce(MAINTENANCE, [payload])
    plant.land(MAINTENANCE)

    assert plant.query("select position('T-99'::bytea in payload) from ops.dead_letters") == [(0,)]
    assert plant.query("select payload from ops.outbox") == [(None,)]
    with psycopg.connect(plant.services.database_url) as connection:
        (letter,) = find(connection, Selection())
    assert letter.payload == payload
