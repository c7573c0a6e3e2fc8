"""Alerts by mail against a real SMTP server: once, in a thread, again after failures, never in the clear."""

import subprocess
from pathlib import Path

import httpx
import psycopg
import pytest
from made_up_signals import NOON, TENANT, finding, maker, write
from mail_server import MailServer, mail_server

from orchestration.ingest.delivery.channels import Channel, ChannelKind
from orchestration.ingest.delivery.queue import deliver
from orchestration.ingest.incidents import decisions
from orchestration.ingest.incidents.lifecycle import group_signals

pytestmark = pytest.mark.integration


def channel(server: MailServer, **fields: object) -> Channel:
    return Channel(
        name="mail", kind=ChannelKind.EMAIL, smtp=server.address,
        to=("ops@example.org", "night@example.org"), **fields,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip


def alert(database_url: str, to: Channel) -> str:
    """One incident, alerted to the channel; its fingerprint."""
    write(database_url, finding("orders", 0))
    with psycopg.connect(database_url) as connection:
        _, fingerprint = group_signals(connection).steps[-1]
    maker(channels=(to,)).alert_due(database_url)
    return fingerprint


def deliveries(database_url: str) -> list[tuple[str, int]]:
    with psycopg.connect(database_url) as connection:
        connection.execute("update ops.deliveries set next_attempt_at = now() - interval '1 second'")
        return connection.execute(
            "select state, attempts from ops.deliveries order by delivery_id"
        ).fetchall()


def test_a_mail_arrives_once_and_its_end_in_the_same_thread(database_url: str) -> None:
    """Forbids a mail that a real server does not take, one sent twice, and an end that nobody can place."""
    with mail_server() as server:
        to = channel(server)
        fingerprint = alert(database_url, to)
        assert deliver(database_url, to, httpx.Client()).sent == 1
        assert deliver(database_url, to, httpx.Client()).sent == 0
        with psycopg.connect(database_url) as connection:
            decisions.resolve(connection, TENANT, fingerprint, "ann", NOON, "restarted")
        maker(channels=(to,)).alert_due(database_url)
        assert deliver(database_url, to, httpx.Client()).sent == 1
    begin, end = server.mails
    assert server.recipients == [["ops@example.org", "night@example.org"]] * 2
    assert begin["Subject"].startswith("[opsgraph]") and "orders" in begin.as_string()
    assert end["In-Reply-To"] == begin["Message-ID"]


@pytest.mark.parametrize(
    ("verb", "answer", "state"),
    [
        ("DATA", "451 try again", "sent"),
        ("RCPT", "450 greylisted", "sent"),
        ("MAIL", "hang up", "sent"),
        ("DATA", "554 never", "refused"),
    ],
)
def test_what_passes_is_tried_again_and_what_does_not_is_kept(
    database_url: str, verb: str, answer: str, state: str
) -> None:
    """Forbids an alert lost to a greylisting or busy server, and one that is sent for ever in vain."""
    with mail_server() as server:
        server.answers = {verb: [answer] * (2 if verb == "RCPT" else 1)}  # both recipients are unknown yet
        to = channel(server)
        alert(database_url, to)
        assert deliver(database_url, to, httpx.Client()).sent == 0
        first = deliveries(database_url)
        assert first == [("pending" if state == "sent" else "refused", 1)]
        deliver(database_url, to, httpx.Client())
    assert deliveries(database_url)[0][0] == state
    assert len(server.mails) == (state == "sent")


def test_a_dead_mail_server_loses_nothing(database_url: str) -> None:
    """Forbids an alert that is gone because its server was down for a while."""
    with mail_server() as server:
        to = channel(server)
    alert(database_url, to)
    deliver(database_url, to, httpx.Client())
    assert deliveries(database_url) == [("pending", 1)]


def test_a_password_crosses_the_line_encrypted_only(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids a password in the clear, and one handed to a server that is not the one it says it is."""
    key, certificate, both = tmp_path / "key.pem", tmp_path / "certificate.pem", tmp_path / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_text(key.read_text() + certificate.read_text())
    login = {"smtp_user": "ops", "smtp_password": "geheim"}
    with mail_server() as bare, mail_server(both) as guarded:
        unknown = channel(bare, **login)
        alert(database_url, unknown)
        deliver(database_url, unknown, httpx.Client())  # offers no encryption
        to = channel(guarded, **login)
        deliveries(database_url)
        deliver(database_url, to, httpx.Client())  # its certificate is nobody's that is known
        assert bare.logins == guarded.logins == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        deliveries(database_url)
        assert deliver(database_url, to, httpx.Client()).sent == 1
    assert guarded.logins == [("ops", "geheim", True)]
