import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from rag_assets.index.builds import IndexBuild
from rag_assets.index.contract import BuildUnavailableError
from rag_assets.index.live import LiveIndex
from rag_assets.retrieval import Retriever


def build(name: str) -> IndexBuild:
    return IndexBuild(
        name,
        name,
        "words",
        64,
        "chunker",
        "digest",
        1,
        1,
        1,
        "verified",
        datetime(2026, 1, 1, tzinfo=UTC),
        None,
    )


@dataclass
class FakeRetriever:
    """Knows whether it was closed while somebody used it."""

    name: str
    is_closed: bool = False

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


@dataclass
class FakeStore:
    """The alias, and what was opened."""

    alias: IndexBuild | None = None
    unreadable: set[str] = field(default_factory=set)
    opened: list[FakeRetriever] = field(default_factory=list)

    def open(self, wanted: IndexBuild, _: object) -> Retriever:
        """Open a build, or fail."""
        if wanted.build_id in self.unreadable:
            raise BuildUnavailableError("gone")
        self.opened.append(FakeRetriever(wanted.build_id))
        return self.opened[-1]  # type: ignore[return-value]

    def live(self) -> LiveIndex:
        """The object under test."""
        return LiveIndex(lambda: self.alias, self.open)


def test_a_question_keeps_the_build_it_started_on() -> None:
    """Forbids that a swap closes the build under a question that is still running."""
    store = FakeStore(build("a"))
    live = store.live()

    with live.lease() as (held, _):
        store.alias = build("b")
        assert live.refresh()
        assert held.build_id == "a"
        assert not store.opened[0].is_closed
    assert store.opened[0].is_closed
    with live.lease() as (held, _):
        assert held.build_id == "b"


def test_an_unused_build_is_let_go_at_once() -> None:
    """Forbids that old builds stay open, and locked, for ever."""
    store = FakeStore(build("a"))
    live = store.live()
    live.refresh()
    store.alias = build("b")
    live.refresh()

    assert [item.is_closed for item in store.opened] == [True, False]
    live.close()
    assert store.opened[1].is_closed


def test_a_build_that_cannot_be_opened_leaves_the_old_one_answering() -> None:
    """Forbids that a broken new build stops all answers."""
    store = FakeStore(build("a"), unreadable={"b"})
    live = store.live()
    live.refresh()
    store.alias = build("b")

    with pytest.raises(BuildUnavailableError):
        live.refresh()
    with live.lease() as (held, _):
        assert held.build_id == "a"


def test_without_a_build_the_message_says_what_to_do() -> None:
    """Forbids an attribute error as the first thing that a new user sees."""
    with pytest.raises(BuildUnavailableError, match="opsgraph index"), FakeStore().live().lease():
        pass


def test_no_question_fails_while_builds_are_swapped() -> None:
    """Forbids a race between taking a build and letting it go: 4 askers, 200 swaps."""
    store = FakeStore(build("0"))
    live = store.live()
    stop = threading.Event()
    failures: list[str] = []

    def ask() -> None:
        while not stop.is_set():
            with live.lease() as (_, retriever):
                if retriever.is_closed:  # type: ignore[attr-defined]
                    failures.append("used a closed build")

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for number in range(1, 201):
        store.alias = build(str(number))
        live.refresh()
    stop.set()
    for asker in askers:
        asker.join()
    live.close()

    assert not failures
    assert all(item.is_closed for item in store.opened)


def test_what_changes_between_builds_is_followed_at_every_look() -> None:
    """Forbids that a promoted ranker waits for the next build."""
    store, followed = FakeStore(build("build-1")), []
    live = LiveIndex(lambda: store.alias, store.open, followed.append)
    live.refresh()
    assert followed == []  # a build that was just opened has read everything anew
    live.refresh()
    assert followed == [store.opened[0]]


def test_a_promoted_ranker_does_not_wait_for_a_build_that_cannot_be_opened() -> None:
    """Forbids that one unreadable build freezes what changes between builds."""
    store, followed = FakeStore(build("a"), unreadable={"b"}), []
    live = LiveIndex(lambda: store.alias, store.open, followed.append)
    live.refresh()
    store.alias = build("b")

    with pytest.raises(BuildUnavailableError):
        live.refresh()
    assert followed == [store.opened[0]]


def test_a_question_after_the_end_opens_nothing() -> None:
    """Forbids a build that is opened, and locked, after everything was let go."""
    store = FakeStore(build("a"))
    live = store.live()
    live.close()

    with pytest.raises(BuildUnavailableError, match="is closed"), live.lease():
        pass
    assert not live.refresh()
    assert store.opened == []


def test_a_build_that_is_being_opened_at_the_end_is_let_go() -> None:
    """Forbids that a first question, still opening the build while the process stops, keeps it."""
    store, is_opening, may_open = FakeStore(build("a")), threading.Event(), threading.Event()

    def open_slowly(wanted: IndexBuild, answering: object) -> Retriever:
        is_opening.set()
        may_open.wait(5)
        return store.open(wanted, answering)

    live = LiveIndex(lambda: store.alias, open_slowly)
    opener, closer = threading.Thread(target=live.refresh), threading.Thread(target=live.close)
    opener.start()
    assert is_opening.wait(5)
    closer.start()
    closer.join(0.1)  # time for a close that would not wait
    may_open.set()
    opener.join()
    closer.join()

    assert [item.is_closed for item in store.opened] == [True]
