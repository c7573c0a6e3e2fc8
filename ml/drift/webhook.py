"""The drift webhook: one JSON document per drift event, to whoever the plant names.

Shared by the inference service and the drift monitor. Avoid settings here: address and necessity come
in as values from whoever reads `DRIFT_WEBHOOK` and `REQUIRE_WEBHOOK`.
"""

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)


class WebhookRequiredError(RuntimeError):
    """A webhook is required and none is set."""


@dataclass(frozen=True)
class DriftWebhook:
    """Where drift events are posted; an empty address posts nothing.

    Attributes:
        url: `http(s)://…`, or empty.
        timeout_s: How long the receiver may take.
    """

    url: str = ""
    timeout_s: float = 3.0

    @classmethod
    def from_settings(cls, url: str, is_required: bool) -> "DriftWebhook":
        """Build it from `DRIFT_WEBHOOK` and `REQUIRE_WEBHOOK`.

        Raises:
            WebhookRequiredError: It is required and the address is empty, or not http.
        """
        address = url.strip()
        if is_required and not address:
            raise WebhookRequiredError(
                "REQUIRE_WEBHOOK is true and DRIFT_WEBHOOK is empty: nothing was started. Set DRIFT_WEBHOOK "
                "to the address that drift events go to, or REQUIRE_WEBHOOK to false."
            )
        if address and not address.startswith(("http://", "https://")):
            raise WebhookRequiredError(
                f"DRIFT_WEBHOOK {address!r} is not an http address: nothing was started."
            )
        return cls(address)

    def send(self, event: Mapping[str, Any]) -> bool:
        """Post one event. A receiver that does not answer costs a log line, never the caller's work.

        Returns:
            Whether the receiver took it; False without an address.
        """
        if not self.url:
            return False
        body = json.dumps(dict(event), default=str).encode()
        request = urllib.request.Request(  # noqa: S310  # from_settings lets http addresses in, nothing else
            self.url, data=body, headers={"content-type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as response:  # noqa: S310
                return 200 <= response.status < 300
        except (urllib.error.URLError, OSError) as error:
            log.warning(
                "Drift webhook %s did not take an event: %s. The event stays in the log.", self.url, error
            )
            return False
