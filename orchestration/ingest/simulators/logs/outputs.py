"""Where generated lines go: the terminal, a rotating file, a file of JSON lines, Kafka.

Add a destination here. Avoid making lines: `lines` does.
"""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from orchestration.ingest.producer import Delivery, DeliveryError, MessageProducer
from orchestration.ingest.simulators.logs.lines import LogLine

TOPIC = "raw_logs"
TRIES, PAUSE_S = 3, 2.0
"""The mission's: a line is tried 3 times, 2 s apart."""
FILE_BYTES, FILES_KEPT = 10 * 1024 * 1024, 5


class Output(Protocol):
    """A destination of lines."""

    def write(self, line: LogLine) -> None:
        """Take one line."""
        ...

    def close(self) -> None:
        """Finish: what was taken is where it belongs, or an error says what is not."""
        ...


class TerminalOutput:
    """Lines as text on stdout."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        """Write to a stream; stdout by default."""
        self._stream = stream or sys.stdout

    def write(self, line: LogLine) -> None:
        """Print one line."""
        self._stream.write(line.text() + "\n")

    def close(self) -> None:
        """Flush."""
        self._stream.flush()


class RotatingFileOutput:
    """Lines as text in a file of at most 10 MiB, five older ones beside it."""

    def __init__(self, path: Path) -> None:
        """Open the file; its folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handler = RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT)

    def write(self, line: LogLine) -> None:
        """Append one line."""
        self._handler.emit(logging.LogRecord("", logging.INFO, "", 0, line.text(), None, None))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class JsonLinesOutput:
    """Records of the contract, one JSON object a line."""

    def __init__(self, path: Path, tenant_id: str, *, with_truth: bool = True) -> None:
        """Open the file for appending; its folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._tenant_id, self._with_truth = tenant_id, with_truth

    def write(self, line: LogLine) -> None:
        """Append one record."""
        self._file.write(line.encode(self._tenant_id, with_truth=self._with_truth) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass
class DeliveryReport:
    """What became of the lines that were sent.

    Attributes:
        sent: Lines handed over.
        delivered: Lines that the broker confirmed.
        retries: Batches that had to be tried again.
        errors: What was wrong, latest last.
    """

    sent: int = 0
    delivered: int = 0
    retries: int = 0
    errors: list[str] = field(default_factory=list[str])


class Sender(Protocol):
    """The part of a producer that is needed."""

    def send(self, topic: str, key: bytes | None, payload: bytes | None) -> None:
        """Hand over one message."""
        ...

    def flush(self) -> Delivery:
        """Wait for confirmations."""
        ...


class KafkaOutput:
    """Records on the topic `raw_logs`, key = source; batches that fail are tried 3 times, 2 s apart."""

    def __init__(
        self,
        sender: Sender,
        tenant_id: str,
        *,
        with_truth: bool = True,
        batch_lines: int = 10_000,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Send through a producer.

        Args:
            sender: A `MessageProducer`, which is idempotent: its own retries make no duplicates.
            tenant_id: Owner of the lines.
            with_truth: Whether labels go along.
            batch_lines: Lines between two confirmations.
            pause: Waits that many seconds.
        """
        self._sender, self._tenant_id, self._with_truth = sender, tenant_id, with_truth
        self._batch_lines, self._pause = batch_lines, pause
        self._waiting: list[tuple[bytes, bytes]] = []
        self.report = DeliveryReport()

    @classmethod
    def to(cls, bootstrap_servers: str, tenant_id: str, *, with_truth: bool = True) -> "KafkaOutput":
        """Send to a broker."""
        return cls(MessageProducer(bootstrap_servers), tenant_id, with_truth=with_truth)

    def write(self, line: LogLine) -> None:
        """Send one line; every 10,000 lines the broker's word is awaited."""
        self._waiting.append(
            (line.source.encode(), line.encode(self._tenant_id, with_truth=self._with_truth))
        )
        if len(self._waiting) >= self._batch_lines:
            self.flush()

    def flush(self) -> DeliveryReport:
        """Wait for confirmations.

        Raises:
            DeliveryError: The batch failed three times; the report says what was delivered.
        """
        batch, self._waiting = self._waiting, []
        self.report.sent += len(batch)
        for tried in range(1, TRIES + 1):
            try:
                for key, payload in batch:
                    self._sender.send(TOPIC, key, payload)
                self._sender.flush()
                self.report.delivered += len(batch)
                break
            except DeliveryError as error:
                self.report.errors.append(str(error))
                if tried == TRIES:
                    raise
                # The whole batch again: at least once is what a log line needs, and landing shows repeats.
                self.report.retries += 1
                self._pause(PAUSE_S)
        return self.report

    def close(self) -> None:
        """Send the rest and wait."""
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
