"""The form in which each kind of receiver takes alerts, as its maker publishes it.

PagerDuty: Events API v2, `enqueue`. Alertmanager: API v2, `postAlerts`. Slack: incoming webhooks with Block
Kit. Mail: RFC 5322 with one thread per incident. Add a form as a pure function. Avoid the network.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

from orchestration.ingest.delivery.alert import Alert
from orchestration.ingest.delivery.channels import Channel

SLACK_HEADER, SLACK_SECTION, PAGERDUTY_SUMMARY = 150, 3000, 1024
STEPS_SHOWN = 4
ALERTMANAGER_LIFE = timedelta(days=7)
"""Until when Alertmanager keeps an alert that nobody ends: opsgraph itself ends it, or sends it again."""
_PAGERDUTY_ACTION = {"open": "trigger", "acknowledged": "acknowledge", "resolved": "resolve"}
_SLACK_MARK = {"critical": ":red_circle:", "warning": ":large_orange_circle:", "info": ":large_blue_circle:"}


def webhook_body(alerts: Sequence[Alert]) -> dict[str, Any]:
    """A list of alerts as opsgraph keeps them; a single one and a digest have the same form."""
    return {"version": "1", "alerts": [alert.as_json() for alert in alerts]}


def webhook_headers(body: bytes, alerts: Sequence[Alert], secret: str | None) -> dict[str, str]:
    """Headers by which a receiver tells a repetition, and that the body is ours."""
    identity = hashlib.sha256("".join(f"{one.fingerprint}/{one.revision}\n" for one in alerts).encode())
    headers = {"Content-Type": "application/json", "Idempotency-Key": identity.hexdigest()}
    if secret:
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Opsgraph-Signature"] = f"sha256={signature}"
    return headers


def pagerduty_event(alert: Alert, channel: Channel) -> dict[str, Any]:
    """An event of the Events API v2; the fingerprint is its `dedup_key`."""
    event: dict[str, Any] = {
        "routing_key": channel.routing_key,
        "event_action": _PAGERDUTY_ACTION[alert.status],
        "dedup_key": alert.fingerprint,
    }
    if alert.status == "open":
        event["client"] = "opsgraph"
        event["payload"] = {
            "summary": alert.title[:PAGERDUTY_SUMMARY],
            "source": alert.subject,
            "severity": alert.severity.value,
            "timestamp": alert.started_at.isoformat(),
            "component": alert.subject,
            "group": alert.tenant_id,
            "class": alert.body.get("family", ""),
            "custom_details": {
                "what_to_do": steps_of(alert),
                "refused": _refusal(alert),
                "causes": [cause["summary"] for cause in alert.body.get("causes", [])],
                "affected": alert.body.get("subjects", []),
                "incident": alert.body.get("incident", ""),
            },
        }
    return event


def alertmanager_alerts(alert: Alert) -> list[dict[str, Any]]:
    """A list for `POST /api/v2/alerts`; equal labels are one alert, so they hold nothing that changes."""
    ends_at = alert.ended_at if alert.status == "resolved" else alert.detected_at + ALERTMANAGER_LIFE
    return [
        {
            "labels": {
                "alertname": "OpsgraphIncident",
                "fingerprint": alert.fingerprint,
                "tenant": alert.tenant_id,
            },
            "annotations": {
                "summary": alert.title,
                "subject": alert.subject,
                "severity": alert.severity.value,
                "description": text_of(alert),
            },
            "startsAt": alert.started_at.isoformat(),
            "endsAt": (ends_at or alert.detected_at).isoformat(),
        }
    ]


def slack_message(alerts: Sequence[Alert]) -> dict[str, Any]:
    """A message of an incoming webhook; `text` is what notifications show."""
    if len(alerts) != 1:
        return _slack_digest(alerts)
    alert = alerts[0]
    found: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(f"{alert.status.upper()}: {alert.title}"[:SLACK_HEADER])},
        {
            "type": "section",
            "fields": [
                _mrkdwn(f"*Severity*\n{_SLACK_MARK[alert.severity.value]} {alert.severity.value}"),
                _mrkdwn(f"*First suspect*\n{_escape(alert.subject)}"),
                _mrkdwn(f"*Since*\n{alert.started_at:%Y-%m-%d %H:%M} UTC"),
                _mrkdwn(f"*Affected*\n{_escape(', '.join(alert.body.get('subjects', [])[:8]))[:1900]}"),
            ],
        },
    ]
    if steps := steps_of(alert):
        found.append(_section("*What to do*\n" + "\n".join(f"• {_escape(step)}" for step in steps)))
    elif refusal := _refusal(alert):
        found.append(_section(f"*No runbook*\n{_escape(refusal)}"))
    if causes := alert.body.get("causes"):
        found.append(
            _section("*Changed before*\n" + "\n".join(f"• {_escape(one['summary'])}" for one in causes))
        )
    identity = f"{alert.tenant_id} · incident {alert.fingerprint[:8]} · revision {alert.revision}"
    found.append({"type": "context", "elements": [_mrkdwn(_escape(identity))]})
    return {"text": f"{alert.severity.value}: {_escape(alert.title)}", "blocks": found}


def mail(alerts: Sequence[Alert], channel: Channel) -> EmailMessage:
    """A mail; all mails of an incident are one thread, and the same alert always has the same Message-ID."""
    message = EmailMessage()
    first = alerts[0]
    subject = (
        f"[opsgraph] {first.severity.value} {first.status}: {first.title}"
        if len(alerts) == 1
        else f"[opsgraph] {len(alerts)} alerts"
    )
    message["Subject"] = " ".join(subject.split())  # a line break here would start a header of its own
    message["From"] = channel.sender
    message["To"] = ", ".join(channel.to)
    domain = "opsgraph.invalid"
    if len(alerts) == 1:
        message["Message-ID"] = f"<{first.fingerprint}.{first.revision}@{domain}>"
        if first.revision:
            message["In-Reply-To"] = message["References"] = f"<{first.fingerprint}.0@{domain}>"
    else:
        identity = hashlib.sha256("".join(f"{a.fingerprint}/{a.revision}\n" for a in alerts).encode())
        message["Message-ID"] = f"<{identity.hexdigest()[:32]}@{domain}>"
    message.set_content("\n\n".join(text_of(alert) for alert in alerts))
    return message


def text_of(alert: Alert) -> str:
    """An alert as plain text for people."""
    lines = [
        alert.title,
        f"{alert.severity.value}, {alert.status}, since {alert.started_at:%Y-%m-%d %H:%M} UTC, "
        f"tenant {alert.tenant_id}, incident {alert.fingerprint[:8]}",
    ]
    if steps := steps_of(alert):
        lines += ["What to do:", *(f"- {step}" for step in steps)]
    elif refusal := _refusal(alert):
        lines.append(refusal)
    plan: Mapping[str, Any] = alert.body.get("plan") or {}
    if commands := plan.get("commands"):
        lines += ["Look first (these change nothing):", *(f"  {one['text']}" for one in commands[:2])]
    if causes := alert.body.get("causes"):
        lines += ["Changed before:", *(f"- {one['summary']} ({', '.join(one['reasons'])})" for one in causes)]
    if proposals := alert.body.get("proposals"):
        lines += [
            "Proposed:",
            *(f"- {one['action']}: {one['reason']} [{one['status']}]" for one in proposals),
        ]
    return "\n".join(lines)


def steps_of(alert: Alert) -> list[str]:
    """The steps of the plan, each with its citation."""
    plan: Mapping[str, Any] = alert.body.get("plan") or {}
    return [f"{step['text']} {step['citation']}" for step in plan.get("steps", [])[:STEPS_SHOWN]]


def as_bytes(value: Any) -> bytes:
    """JSON as it goes over the wire."""
    return json.dumps(value, ensure_ascii=False, default=str).encode()


def _slack_digest(alerts: Sequence[Alert]) -> dict[str, Any]:
    title = f"{len(alerts)} alerts"
    rows = [
        f"• {_SLACK_MARK[one.severity.value]} *{one.status}* {_escape(one.title)} `{one.fingerprint[:8]}`"
        for one in alerts
    ]
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(title)}]
    text = ""
    for row in rows:
        if len(text) + len(row) + 1 > SLACK_SECTION:
            blocks.append(_section(text))
            text = ""
        text += f"{row}\n"
    blocks.append(_section(text))
    return {"text": title, "blocks": blocks[:50]}  # Block Kit's limit


def _refusal(alert: Alert) -> str:
    plan: Mapping[str, Any] = alert.body.get("plan") or {}
    return str(plan.get("reason") or "")


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text[:SLACK_SECTION])}


def _mrkdwn(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def _plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


def _escape(text: str) -> str:
    """Slack reads `<`, `>` and `&` as markup: a log line must not become a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
