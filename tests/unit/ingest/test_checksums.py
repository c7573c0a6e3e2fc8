"""Checksums: equal to another implementation's at every size at which another step begins."""

import random

import pytest
from kafka.record.util import calc_crc32c

from orchestration.ingest.checksums import FOLDED, ONTO, crc32c

STEP = FOLDED - ONTO[0]
BORDERS = [FOLDED, FOLDED + STEP, 2 * FOLDED, 2 * (FOLDED + STEP), 4 * FOLDED]
SIZES = [4, 5, 100, *(border + near for border in BORDERS for near in (-1, 0, 1)), 200_000]


@pytest.mark.parametrize("size", SIZES)
def test_checksums_are_those_of_another_implementation(size: int) -> None:
    """Forbids a checksum that refuses whole batches, or that bytes of one place do not change."""
    content = random.Random(size).randbytes(size)
    assert crc32c(content) == crc32c(memoryview(content)) == calc_crc32c(content)
