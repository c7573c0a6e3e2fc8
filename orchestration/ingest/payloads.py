"""Payloads of many messages as they lie in one run of bytes.

Add here how columns of payloads are picked and cut. Avoid their formats: `decode` knows those.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.uint8]
Places = NDArray[np.int64]


class Payloads(Sequence[bytes]):
    """Payloads by place: `body` holds them, `starts` and `sizes` (n,) say where.

    Between them other bytes may lie, the frames of Kafka's records for example.
    """

    def __init__(self, body: Matrix, starts: Places, sizes: Places) -> None:
        """Take payloads that lie within `body`."""
        self.body, self.starts, self.sizes = body, starts, sizes

    @classmethod
    def of(cls, items: Sequence[bytes]) -> "Payloads":
        """Put payloads side by side."""
        sizes = np.fromiter(map(len, items), np.int64, len(items))
        return cls(np.frombuffer(b"".join(items), np.uint8), np.cumsum(sizes) - sizes, sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: "slice | NDArray[np.integer]") -> "Payloads": ...
    def __getitem__(self, index: "int | slice | NDArray[np.integer]") -> "bytes | Payloads":
        """One payload, or some of them as columns."""
        if isinstance(index, slice | np.ndarray):
            return Payloads(self.body, self.starts[index], self.sizes[index])
        start = int(self.starts[index])
        return self.body[start : start + int(self.sizes[index])].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.items)

    @cached_property
    def items(self) -> list[bytes]:
        """Each payload as an object of its own, for what reads them one by one."""
        if not len(self):
            return []
        ends, first = self.starts + self.sizes, int(self.starts.min())
        body = self.body[first : int(ends.max())].tobytes()
        spans = zip((self.starts - first).tolist(), (ends - first).tolist(), strict=True)
        return [body[start:end] for start, end in spans]

    def side_by_side(self) -> "Payloads":
        """The same payloads with nothing between them."""
        total = int(self.sizes.sum())
        return self if total == len(self.body) else Payloads.of(self.items)

    def of_length(self, length: int) -> tuple[Matrix, Places | None]:
        """The payloads of one length as a table, and their positions; None where all have it."""
        if (self.sizes != length).any():
            rows = np.flatnonzero(self.sizes == length)
            return picked(self.body, self.starts[rows], length), rows
        if len(self.body) == length * len(self):
            return self.body.reshape(-1, length), None
        return picked(self.body, self.starts, length), None


def picked(body: Matrix, places: Places, size: int) -> Matrix:
    """The bytes from each of some places on, (n, size). They must all lie within the body."""
    if not size:
        return np.zeros((len(places), 0), np.uint8)
    # Every place of the body as the begin of a value: picking from it copies each value whole.
    values = np.ndarray((len(body) - size + 1,), f"V{size}", body.data, 0, (1,))
    return values[places].view(np.uint8).reshape(-1, size)
