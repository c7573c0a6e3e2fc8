"""What is to be landed, from the broker's bounds and the positions."""

import uuid

import pytest

from orchestration.ingest.ledger import Counts
from orchestration.ingest.offsets import Bounds, LandingError, PartitionId, Range, plan

FIRST_LIFE, SECOND_LIFE = uuid.UUID(int=1), uuid.UUID(int=2)
P0 = PartitionId("t", FIRST_LIFE, 0)


@pytest.mark.parametrize(
    ("bounds", "position", "until", "pending", "lost"),
    [
        (Bounds(0, 10), None, None, Range(0, 10), None),
        (Bounds(4, 10), None, None, Range(4, 10), None),  # never landed: what is gone was never ours
        (Bounds(0, 10), 7, None, Range(7, 10), None),
        (Bounds(0, 10), 10, None, Range(10, 10), None),
        (Bounds(8, 10), 5, None, Range(8, 10), Range(5, 8)),
        (Bounds(10, 10), 5, None, Range(10, 10), Range(5, 10)),
        (Bounds(0, 10), 2, {0: 6}, Range(2, 6), None),
        (Bounds(0, 10), 8, {0: 6}, Range(8, 8), None),
        (Bounds(0, 10), 2, {0: 99}, Range(2, 10), None),
    ],
)
def test_pending_and_lost(
    bounds: Bounds, position: int | None, until: dict[int, int] | None, pending: Range, lost: Range | None
) -> None:
    """Forbids ranges that begin before the broker's first offset, go back, or pass their limit."""
    found = plan({P0: bounds}, {} if position is None else {P0: position}, until)
    assert found.pending == {P0: pending}
    assert found.lost == ({P0: lost} if lost else {})


def test_position_of_a_former_life_does_not_count() -> None:
    """Forbids a recreated topic that waits until it is longer than its predecessor."""
    found = plan({PartitionId("t", SECOND_LIFE, 0): Bounds(0, 3)}, {P0: 1_000})
    assert found.lag == 3


def test_broker_that_ends_before_the_position_is_refused() -> None:
    """Forbids landing other messages under offsets that were landed before."""
    with pytest.raises(LandingError, match=r"t\[0\].*up to offset 12, but the broker ends at 10"):
        plan({P0: Bounds(0, 10)}, {P0: 12})


def test_counts_add_up_term_by_term() -> None:
    """Forbids discarded values in the sum of offsets: their rows have landed."""
    total = Counts(landed=5, discarded_values=3) + Counts(1, 2, 3, 4, 5, 6)
    assert total == Counts(6, 2, 3, 4, 5, 9)
    assert total.span == 20
