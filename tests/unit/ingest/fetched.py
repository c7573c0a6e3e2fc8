"""Payloads as a fetch gives them: other bytes lie between."""

from collections.abc import Sequence

from orchestration.ingest.kafka_records import Messages, Record
from orchestration.ingest.payloads import Payloads


def messages_of(payloads: Sequence[bytes | None]) -> Messages:
    """Messages at offsets from 0."""
    return Messages.of([Record(offset, b"key", payload) for offset, payload in enumerate(payloads)])


def fetched(payloads: Sequence[bytes]) -> Payloads:
    """Payloads within the records of a batch."""
    return messages_of(payloads).payloads
