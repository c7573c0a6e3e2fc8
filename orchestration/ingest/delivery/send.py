"""One try to hand alerts to a receiver: taken, try again later, or refused for good.

Add a kind of receiver's way of answering here. Avoid retrying: `queue` decides when.
"""

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import httpx

from orchestration.ingest.delivery import formats
from orchestration.ingest.delivery.alert import Alert
from orchestration.ingest.delivery.channels import PAGERDUTY_URL, Channel, ChannelKind

TIMEOUT_S = 5.0
_PASSING = frozenset({408, 409, 425, 429})


class Outcome(Enum):
    """How a try ended."""

    TAKEN = "taken"
    LATER = "later"
    REFUSED = "refused"


@dataclass(frozen=True)
class Attempt:
    """A try and its answer.

    Attributes:
        outcome: How it ended.
        reason: The receiver's words, unless it took the alerts.
        retry_after_s: Wait that the receiver asked for; None where it asked for none.
    """

    outcome: Outcome
    reason: str = ""
    retry_after_s: float | None = None


def send(channel: Channel, alerts: Sequence[Alert], client: httpx.Client) -> Attempt:
    """Try once.

    Args:
        channel: Receiver.
        alerts: One alert, or several as a digest; PagerDuty and Alertmanager get one at a time.
        client: HTTP client to use.
    """
    if channel.kind is ChannelKind.EMAIL:
        return _send_mail(channel, alerts)
    try:
        return _read(_post(channel, alerts, client))
    except httpx.HTTPError as error:
        return Attempt(Outcome.LATER, f"{type(error).__name__}: {error}")


def _post(channel: Channel, alerts: Sequence[Alert], client: httpx.Client) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    match channel.kind:
        case ChannelKind.PAGERDUTY:
            url = channel.url or PAGERDUTY_URL
            body = formats.as_bytes(formats.pagerduty_event(alerts[0], channel))
        case ChannelKind.ALERTMANAGER:
            url = f"{(channel.url or '').rstrip('/')}/api/v2/alerts"
            body = formats.as_bytes(formats.alertmanager_alerts(alerts[0]))
        case ChannelKind.SLACK:
            url, body = channel.url or "", formats.as_bytes(formats.slack_message(alerts))
        case _:
            url, body = channel.url or "", formats.as_bytes(formats.webhook_body(alerts))
            headers = formats.webhook_headers(body, alerts, channel.secret)
    return client.post(url, content=body, headers=headers, timeout=TIMEOUT_S)


def _read(response: httpx.Response) -> Attempt:
    if response.is_success:
        return Attempt(Outcome.TAKEN)
    reason = f"HTTP {response.status_code}: {response.text[:200]}"
    if response.is_server_error or response.status_code in _PASSING:
        asked = response.headers.get("Retry-After", "")
        return Attempt(Outcome.LATER, reason, float(asked) if asked.isdigit() else None)
    return Attempt(Outcome.REFUSED, reason)


def _send_mail(channel: Channel, alerts: Sequence[Alert]) -> Attempt:
    host, _, port = (channel.smtp or "").partition(":")
    try:
        with smtplib.SMTP(host, int(port or 25), timeout=TIMEOUT_S) as server:
            if channel.smtp_user:
                server.starttls(context=ssl.create_default_context())  # smtplib's own checks no certificate
                server.login(channel.smtp_user, channel.smtp_password or "")
            server.send_message(formats.mail(alerts, channel))
    except smtplib.SMTPResponseException as error:
        refused = error.smtp_code >= 500
        reason = f"SMTP {error.smtp_code}: {error.smtp_error!r}"
        return Attempt(Outcome.REFUSED if refused else Outcome.LATER, reason)
    except smtplib.SMTPRecipientsRefused as error:
        # A greylisting server says 450 to whom it does not know yet, and takes the mail minutes later.
        passing = any(code < 500 for code, _ in error.recipients.values())
        reason = f"no recipient was taken: {error.recipients}"
        return Attempt(Outcome.LATER if passing else Outcome.REFUSED, reason)
    except (OSError, smtplib.SMTPException) as error:
        return Attempt(Outcome.LATER, f"{type(error).__name__}: {error}")
    return Attempt(Outcome.TAKEN)
