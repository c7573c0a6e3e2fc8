"""Channels: who is told, how much, and where; read from one YAML file.

Add a kind of receiver here with its form in `formats`. Avoid sending.
"""

from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestration.ingest.incidents.model import Severity

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"


class ChannelKind(StrEnum):
    """Kinds of receivers."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    ALERTMANAGER = "alertmanager"
    EMAIL = "email"


class ChannelsError(ValueError):
    """The file of channels can't be used; names the file, the channel and the field."""


class Channel(BaseModel):
    """One receiver of alerts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="Unique name, for people and for the record of deliveries.")
    kind: ChannelKind
    url: str | None = Field(None, description="Where to post: webhook address, Alertmanager's root, …")
    secret: str | None = Field(None, description="Key with which a webhook's body is signed (HMAC-SHA256).")
    routing_key: str | None = Field(None, description="PagerDuty's integration key.")
    smtp: str | None = Field(None, description="`host:port` of the mail server.")
    smtp_user: str | None = None
    smtp_password: str | None = None
    sender: str = "opsgraph@localhost"
    to: tuple[str, ...] = Field((), description="Mail addresses.")
    tenants: tuple[str, ...] = Field((), description="Whose alerts; empty means all tenants'.")
    min_severity: Severity = Field(Severity.WARNING, description="Leave out alerts below this.")
    per_minute: int = Field(30, ge=1, description="Messages a minute at most; the others wait.")
    digest_minutes: float = Field(
        0.0, ge=0, description="Collect alerts for this long into one message; critical ones go at once."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> "Channel":
        needed = {
            ChannelKind.WEBHOOK: ("url",),
            ChannelKind.SLACK: ("url",),
            ChannelKind.PAGERDUTY: ("routing_key",),
            ChannelKind.ALERTMANAGER: ("url",),
            ChannelKind.EMAIL: ("smtp", "to"),
        }[self.kind]
        missing = [name for name in needed if not getattr(self, name)]
        if missing:
            raise ValueError(f"a {self.kind.value} channel needs {', '.join(missing)}")
        if self.digest_minutes and self.kind in {ChannelKind.PAGERDUTY, ChannelKind.ALERTMANAGER}:
            raise ValueError(f"{self.kind.value} groups by itself; leave digest_minutes out")
        return self

    def wants(self, tenant_id: str, severity: Severity) -> bool:
        """Whether alerts of this tenant and severity go here."""
        return (not self.tenants or tenant_id in self.tenants) and severity.rank >= self.min_severity.rank


def read_channels(path: Path) -> tuple[Channel, ...]:
    """Read the file of channels; a file that is absent means that alerts go to Kafka alone.

    Raises:
        ChannelsError: The file is not what it should be. Nothing of it is used then.
    """
    if not path.exists():
        return ()
    try:
        value: Any = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ChannelsError(f"{path} can't be read: {error}") from error
    rows = cast(dict[str, Any], value).get("channels") if isinstance(value, dict) else None
    if not isinstance(rows, list):
        raise ChannelsError(f"{path} must hold a list `channels:`; see docs/incidents.md")
    channels: list[Channel] = []
    for number, row in enumerate(cast(list[Any], rows), start=1):
        try:
            channels.append(Channel.model_validate(row))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise ChannelsError(f"{path}, channel {number}, {where}: {first['msg']}") from error
    names = [channel.name for channel in channels]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ChannelsError(f"{path} names {', '.join(twice)} twice; each channel needs its own name")
    return tuple(channels)
