"""What a fetcher makes of answers that come late, in part, or damaged; no broker is asked."""

import struct
import uuid
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaException
from kafka.future import Future

from orchestration.ingest.fetch import CERTAIN_AFTER, Fetched, Fetcher, UnreadableBatchError
from orchestration.ingest.offsets import PartitionId
from tests.unit.ingest.test_kafka_records import COUNT_PLACE, LENGTH_PLACE, MAGIC_PLACE, plain, values

TOPIC_ID = uuid.UUID(int=7)
P0, P1 = PartitionId("t", TOPIC_ID, 0), PartitionId("t", TOPIC_ID, 1)
THIS_BROKER, OTHER_BROKER = 1, 2
UNKNOWN_SERVER_ERROR = -1


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    """A fetcher of two partitions that connects to nobody."""
    fetcher = Fetcher("127.0.0.1:1", {P0: 0, P1: 0})
    yield fetcher
    fetcher.close()


def answer(records: bytes = b"", last_stable_offset: int = 0) -> SimpleNamespace:
    """A broker's answer on one partition."""
    return SimpleNamespace(
        error_code=0, records=records, last_stable_offset=last_stable_offset, aborted_transactions=None
    )


def answered(
    fetcher: Fetcher,
    answers: Mapping[PartitionId, Any],
    asked: Mapping[PartitionId, int],
    node: int = THIS_BROKER,
    error_code: int = 0,
) -> list[Fetched]:
    """What the fetcher takes from an answer to what it had asked."""
    partitions = [
        SimpleNamespace(partition_index=item.partition, **vars(found)) for item, found in answers.items()
    ]
    whole = SimpleNamespace(
        API_VERSION=16, error_code=error_code,
        responses=[SimpleNamespace(topic_id=TOPIC_ID, partitions=partitions)],
    )  # fmt: skip
    fetcher._asked[node] = (Future().success(whole), dict(asked))
    return fetcher._taken(node)


def test_a_second_answer_to_the_same_question_is_not_taken(fetcher: Fetcher) -> None:
    """Forbids doubled messages: a partition that changes its leader is asked for at both brokers."""
    new = answer(plain(b"a", 0) + plain(b"b", 1))
    (first,) = answered(fetcher, {P0: new}, {P0: 0}, OTHER_BROKER)
    assert (values(first.messages), first.end) == ({0: b"a", 1: b"b"}, 2)
    assert answered(fetcher, {P0: answer(plain(b"a", 0))}, {P0: 0}) == []
    assert fetcher._positions[P0] == 2


def test_nothing_is_taken_for_absent_before_several_answers_say_so_for_a_while(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids messages that are skipped because a broker was held up, or sent other partitions."""
    nothing, other = answer(last_stable_offset=9), answer(plain(b"a", 0), 1)
    assert [item.partition for item in answered(fetcher, {P0: nothing, P1: other}, {P0: 0, P1: 0})] == [P1]
    for _ in range(CERTAIN_AFTER):  # at once
        assert answered(fetcher, {P0: nothing}, {P0: 0}) == []
    monkeypatch.setattr("orchestration.ingest.fetch.CERTAIN_AFTER_S", 0.0)
    fetcher._empty.clear()
    for _ in range(CERTAIN_AFTER - 1):
        assert answered(fetcher, {P0: nothing}, {P0: 0}) == []
    assert [item.end for item in answered(fetcher, {P0: nothing}, {P0: 0})] == [9]


def test_an_error_of_the_whole_answer_is_raised(fetcher: Fetcher) -> None:
    """Forbids a reader that asks again and again without a word: such an answer names no partition."""
    with pytest.raises(KafkaException, match=r"broker 1.*UnknownError"):
        answered(fetcher, {}, {P0: 0}, error_code=UNKNOWN_SERVER_ERROR)


def damaged(place: int, form: str, value: int) -> bytes:
    """A batch at offset 5 with another number somewhere in its head."""
    found = bytearray(plain(b"a", 5))
    struct.pack_into(form, found, place, value)
    return bytes(found)


@pytest.mark.parametrize(
    "records",
    [
        damaged(LENGTH_PLACE, ">i", -12),  # ends where it begins
        damaged(LENGTH_PLACE, ">i", 1 << 20),  # ends beyond the answer: would be waited for without end
        damaged(MAGIC_PLACE, ">b", 1),
        damaged(0, ">q", 3),  # ends before what was asked for
    ],
)
def test_a_damaged_head_is_named_with_its_partition(fetcher: Fetcher, records: bytes) -> None:
    """Forbids a reader that stands still, or turns for ever, at a batch whose head is damaged."""
    fetcher._positions[P0] = 5
    with pytest.raises(UnreadableBatchError, match=r"t\[0\].*offset 5 can.t be read"):
        answered(fetcher, {P0: answer(records, 9)}, {P0: 5})


@pytest.mark.parametrize("place", [LENGTH_PLACE, MAGIC_PLACE, COUNT_PLACE])
def test_what_comes_before_a_damaged_batch_is_read(fetcher: Fetcher, place: int) -> None:
    """Forbids good messages that are deleted with a damaged batch because they came in one answer with it."""
    bad = bytearray(plain(b"c", 2))
    struct.pack_into(">b", bad, place, -3)
    records = plain(b"a", 0) + plain(b"b", 1) + bytes(bad) + plain(b"d", 3)
    (first,) = answered(fetcher, {P0: answer(records, 4)}, {P0: 0})
    assert (values(first.messages), first.end) == ({0: b"a", 1: b"b"}, 2)
    with pytest.raises(UnreadableBatchError, match="offset 2 can't be read") as caught:
        answered(fetcher, {P1: answer(plain(b"e", 0), 1), P0: answer(bytes(bad), 4)}, {P0: 2, P1: 0})
    assert (caught.value.partition, caught.value.offset) == (P0, 2)
    fetcher.leave_out([P0])  # the others go on, and have lost nothing
    (other,) = answered(fetcher, {P1: answer(plain(b"e", 0), 1), P0: answer(bytes(bad), 4)}, {P0: 2, P1: 0})
    assert (other.partition, values(other.messages)) == (P1, {0: b"e"})
