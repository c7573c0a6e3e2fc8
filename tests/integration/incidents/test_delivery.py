"""Alerts reach receivers in the form that each publishes, once, in order, however long one is down."""

import smtplib
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes

import httpx
import psycopg
import pytest
from jsonschema import Draft202012Validator
from made_up_signals import NOON, TENANT, finding, maker, write
from receiver import Receiver, receiving

from orchestration.ingest.delivery import formats
from orchestration.ingest.delivery.alert import Alert
from orchestration.ingest.delivery.channels import Channel, ChannelKind, ChannelsError, read_channels
from orchestration.ingest.delivery.queue import deliver
from orchestration.ingest.incidents import decisions
from orchestration.ingest.incidents.lifecycle import group_signals
from orchestration.ingest.incidents.model import Severity

pytestmark = pytest.mark.integration

# PagerDuty, "Send an event to PagerDuty", Events API v2.
PAGERDUTY = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "properties": {
        "routing_key": {"type": "string"},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "maxLength": 255},
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "properties": {
                "summary": {"type": "string", "maxLength": 1024},
                "source": {"type": "string"},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": {"type": "string"},
                "component": {"type": "string"},
                "group": {"type": "string"},
                "class": {"type": "string"},
                "custom_details": {"type": "object"},
            },
            "additionalProperties": False,
        },
        "client": {"type": "string"},
    },
    "additionalProperties": False,
}
# Prometheus Alertmanager, OpenAPI v2, `postableAlerts`.
LABELS = {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}
ALERTMANAGER = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["labels"],
        "properties": {
            "labels": LABELS,
            "annotations": LABELS,
            "startsAt": {"type": "string"},
            "endsAt": {"type": "string"},
            "generatorURL": {"type": "string"},
        },
        "additionalProperties": False,
    },
}
# Slack, Block Kit reference: limits of header, section, fields and context.
TEXT = {"type": "object", "required": ["type", "text"]}
SLACK = {
    "type": "object",
    "required": ["text"],
    "properties": {
        "blocks": {
            "maxItems": 50,
            "items": {
                "oneOf": [
                    {"properties": {"type": {"const": "header"}, "text": {
                        "properties": {"type": {"const": "plain_text"}, "text": {"maxLength": 150}}}},
                     "required": ["text"]},
                    {"properties": {"type": {"const": "section"}, "text": {
                        "properties": {"type": {"const": "mrkdwn"},
                                       "text": {"minLength": 1, "maxLength": 3000}}},
                        "fields": {"maxItems": 10, "items": {"properties": {"text": {"maxLength": 2000}}}}}},
                    {"properties": {"type": {"const": "context"}, "elements": {"maxItems": 10}},
                     "required": ["elements"]},
                ]
            },
        }
    },
}  # fmt: skip
HOSTILE = Alert(
    TENANT, "f" * 32, 0, "open", Severity.CRITICAL,
    "<!channel> | a\r\nBcc: everybody@example.org " + "x" * 400,
    "orders", NOON, NOON, None, {"subjects": ["s" * 300] * 30, "plan": {"status": "planned", "reason": "",
    "steps": [{"text": "y" * 2000, "citation": "[1]"}] * 9, "commands": []}},
)  # fmt: skip


def channel(kind: ChannelKind, url: str, **fields) -> Channel:
    needed = {"routing_key": "R" * 32} if kind is ChannelKind.PAGERDUTY else {}
    return Channel(name=kind.value, kind=kind, url=url, **needed, **fields)


def alert(database_url: str, *channels: Channel, subject: str = "orders", minute: float = 0) -> str:
    """One incident, alerted to the channels; its fingerprint."""
    write(database_url, finding(subject, minute))
    with psycopg.connect(database_url) as connection:
        _, fingerprint = group_signals(connection).steps[-1]
    maker(channels=channels).alert_due(database_url)
    return fingerprint


def states(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as connection:
        return [row[0] for row in connection.execute("select state from ops.deliveries order by delivery_id")]


def hurry(database_url: str) -> None:
    """Let the pauses of waiting deliveries be over."""
    with psycopg.connect(database_url) as connection:
        connection.execute("update ops.deliveries set next_attempt_at = now() - interval '1 second'")


@pytest.mark.parametrize(
    ("kind", "path", "schema"),
    [
        (ChannelKind.PAGERDUTY, "/", PAGERDUTY),
        (ChannelKind.ALERTMANAGER, "/api/v2/alerts", ALERTMANAGER),
        (ChannelKind.SLACK, "/", SLACK),
    ],
)
def test_each_receiver_gets_its_own_form(
    database_url: str, kind: ChannelKind, path: str, schema: dict
) -> None:
    """Forbids a payload that the real receiver would refuse, at the start and at the end of an incident."""
    with receiving() as received:
        to = channel(kind, received.url)
        fingerprint = alert(database_url, to)
        deliver(database_url, to, httpx.Client())
        with psycopg.connect(database_url) as connection:
            decisions.acknowledge(connection, TENANT, fingerprint, "kim", NOON)
        maker(channels=[to]).alert_due(database_url)
        with psycopg.connect(database_url) as connection:
            decisions.resolve(connection, TENANT, fingerprint, "kim", NOON)
        maker(channels=[to]).alert_due(database_url)
        deliver(database_url, to, httpx.Client())
    assert received.paths == [path] * 3
    for body in received.bodies:
        assert not list(Draft202012Validator(schema).iter_errors(body))
    if kind is ChannelKind.PAGERDUTY:
        assert [body["event_action"] for body in received.bodies] == ["trigger", "acknowledge", "resolve"]
        assert {body["dedup_key"] for body in received.bodies} == {fingerprint}
    if kind is ChannelKind.ALERTMANAGER:
        assert len({str(body[0]["labels"]) for body in received.bodies}) == 1


def test_hostile_text_breaks_no_form() -> None:
    """Forbids a log line that becomes a mention, a header of a mail, or a block over Slack's limits."""
    message = formats.slack_message([HOSTILE])
    assert not list(Draft202012Validator(SLACK).iter_errors(message))
    assert "<!channel>" not in message["text"]
    mail = formats.mail([HOSTILE], Channel(name="m", kind=ChannelKind.EMAIL, smtp="h:25", to=("a@b.c",)))
    assert message_from_bytes(mail.as_bytes())["Bcc"] is None
    to = channel(ChannelKind.PAGERDUTY, "http://x")
    assert not list(Draft202012Validator(PAGERDUTY).iter_errors(formats.pagerduty_event(HOSTILE, to)))


def test_a_receiver_that_is_down_gets_its_alert_later(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids losing an alert to an outage of its receiver, and asking a dead one again at once."""
    monkeypatch.setattr("orchestration.ingest.delivery.queue.FIRST_PAUSE", timedelta(minutes=1))
    with receiving() as received:
        received.answers = [503, 503, 200]
        to = channel(ChannelKind.WEBHOOK, received.url, secret="s3")
        alert(database_url, to)
        assert deliver(database_url, to, httpx.Client()).sent == 0
        assert deliver(database_url, to, httpx.Client()).sent == 0  # its pause is not over: nothing was asked
        assert received.answers == [503, 200]
        hurry(database_url)
        deliver(database_url, to, httpx.Client())
        hurry(database_url)
        assert deliver(database_url, to, httpx.Client()).sent == 1
        assert deliver(database_url, to, httpx.Client()).sent == 0
    assert states(database_url) == ["sent"]
    assert received.headers[0]["X-Opsgraph-Signature"].startswith("sha256=")
    assert len(received.headers[0]["Idempotency-Key"]) == 64


def test_a_refused_alert_is_kept_and_holds_up_none(database_url: str) -> None:
    """Forbids trying for ever what can't be taken, and blocking those behind it."""
    with receiving() as received:
        received.answers = [400, 200]
        to = channel(ChannelKind.WEBHOOK, received.url)
        alert(database_url, to)
        alert(database_url, to, subject="mail", minute=30)
        done = deliver(database_url, to, httpx.Client())
    # Half an hour on the clock ends the first incident: its end and the second's begin were taken.
    assert (done.sent, done.refused) == (2, 1)
    assert states(database_url) == ["refused", "sent", "sent"]


def test_no_more_than_the_pace_of_a_channel(database_url: str) -> None:
    """Forbids a storm of pages: the rest waits for the next minute."""
    with receiving() as received:
        to = channel(ChannelKind.WEBHOOK, received.url, per_minute=2)
        for number in range(2):
            alert(database_url, to, subject=f"service{number}", minute=number * 30)
        # Two beginnings, and the first one's end half an hour later: three messages, two a minute.
        assert deliver(database_url, to, httpx.Client()).sent == 2
        assert deliver(database_url, to, httpx.Client()).sent == 0
    assert states(database_url) == ["sent", "sent", "pending"]


def test_a_digest_is_one_message(database_url: str) -> None:
    """Forbids a message per warning where one an hour was asked for."""
    with receiving() as received:
        to = channel(ChannelKind.SLACK, received.url, digest_minutes=10)
        for number in range(2):
            alert(database_url, to, subject=f"service{number}", minute=number * 30)
        assert deliver(database_url, to, httpx.Client()).sent == 0
        with psycopg.connect(database_url) as connection:
            connection.execute("update ops.alerts set created_at = created_at - interval '11 minutes'")
        assert deliver(database_url, to, httpx.Client()).sent == 1
    (only,) = received.bodies
    assert only["text"] == "3 alerts"  # two beginnings, and the first one's end
    assert states(database_url) == ["sent"] * 3


def test_a_mail_thread_per_incident() -> None:
    """Forbids a mail that lands outside of its incident's thread."""
    to = Channel(name="m", kind=ChannelKind.EMAIL, smtp="h:25", to=("a@b.c",))
    first, second = formats.mail([HOSTILE], to), formats.mail([replace(HOSTILE, revision=1)], to)
    assert second["In-Reply-To"] == first["Message-ID"]


def test_a_mail_server_that_refuses_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids giving a mail up because its server was busy."""
    from orchestration.ingest.delivery import send

    def busy(*_args, **_kwargs):
        raise smtplib.SMTPConnectError(421, b"try again")

    monkeypatch.setattr(smtplib, "SMTP", busy)
    to = Channel(name="m", kind=ChannelKind.EMAIL, smtp="h:25", to=("a@b.c",))
    assert send.send(to, [HOSTILE], httpx.Client()).outcome is send.Outcome.LATER


def test_channels_that_lack_something_are_told(tmp_path) -> None:
    """Forbids a channel that is read half and stays silent on the night that it is needed."""
    file = tmp_path / "channels.yaml"
    file.write_text("channels:\n  - {name: oncall, kind: pagerduty}\n")
    with pytest.raises(ChannelsError, match=r"channel 1.*needs routing_key"):
        read_channels(file)
    file.write_text(
        "channels:\n  - {name: a, kind: slack, url: http://x}\n  - {name: a, kind: slack, url: http://y}\n"
    )
    with pytest.raises(ChannelsError, match="names a twice"):
        read_channels(file)
    assert read_channels(tmp_path / "absent.yaml") == ()


def test_receiver_is_a_receiver() -> None:
    """Forbids tests that pass because nothing was asked."""
    with receiving() as received:
        assert isinstance(received, Receiver)
        assert httpx.post(received.url, json={"a": 1}).status_code == 200
    assert received.bodies == [{"a": 1}]
