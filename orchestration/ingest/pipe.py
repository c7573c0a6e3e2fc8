"""Bounded queues between the stages of a pipeline.

Add here what concerns handing over. Avoid knowing what is handed over.
"""

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
POLL_S = 0.1
UNLIMITED = 0  # for a writer that bounds what waits by another measure


class StoppedError(Exception):
    """Another stage has failed; this one has nothing left to do."""


class Pipe(Generic[Item]):
    """A bounded queue that can be closed by its writer and is given up when the pipeline stops."""

    def __init__(self, length: int, stop: threading.Event) -> None:
        self._queue: queue.Queue[Item | None] = queue.Queue(length)
        self._stop = stop

    def put(self, item: Item | None) -> None:
        """Wait for space.

        Raises:
            StoppedError: The pipeline was stopped meanwhile.
        """
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=POLL_S)
            except queue.Full:
                continue
            return
        raise StoppedError

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits now."""
        return self._queue.empty()

    def close(self) -> None:
        """Say that nothing follows."""
        self.put(None)

    def __iter__(self) -> Iterator[Item]:
        """Items until the writer closes."""
        while True:
            item = self.get(POLL_S)
            if item is None:
                return
            if not isinstance(item, Nothing):
                yield item

    def get(self, timeout_s: float) -> "Item | Nothing | None":
        """Next item; None when the writer has closed; `NOTHING` when there was none in time."""
        if self._stop.is_set():
            raise StoppedError
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return NOTHING


class Nothing:
    """Type of `NOTHING`."""


NOTHING = Nothing()
