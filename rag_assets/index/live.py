"""The build that answers right now, in a process that lives long: watches the alias and swaps.

A question holds the build that it started on until it ends; the old build is let go only after
that, so a swap fails no question. Avoid building and ranking here.
"""

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from rag_assets.index.builds import IndexBuild
from rag_assets.index.contract import BuildUnavailableError
from rag_assets.retrieval import Retriever

WATCH_SECONDS = 1.0
BuildOpener = Callable[[IndexBuild, tuple[IndexBuild, Retriever] | None], Retriever]
"""Opens a build; the second argument is what the process answers from meanwhile."""

_log = logging.getLogger(__name__)


@dataclass
class _Held:
    """An open build and how many questions are using it."""

    build: IndexBuild
    retriever: Retriever
    users: int = 0
    is_replaced: bool = False


class LiveIndex:
    """Serves the build that the alias names.

    Args:
        read_alias: Returns the build that the alias names now, or None.
        open_build: Opens a build for reading; is given the build that answers until then, which stays open
            and from which it may take what did not change.
        follow: Is given the open build at every look, to bring up to date what changes between builds.
    """

    def __init__(
        self,
        read_alias: Callable[[], IndexBuild | None],
        open_build: BuildOpener,
        follow: Callable[[Retriever], None] = lambda _: None,
    ) -> None:
        self._read_alias = read_alias
        self._open_build = open_build
        self._follow = follow
        self._held: _Held | None = None
        self._guard = threading.Lock()
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    @contextmanager
    def lease(self) -> Generator[tuple[IndexBuild, Retriever]]:
        """The current build, kept open until the block ends.

        Raises:
            BuildUnavailableError: No build has been published, or none could be opened.
        """
        held = self._acquire()
        try:
            yield held.build, held.retriever
        finally:
            self._release(held)

    def current(self) -> IndexBuild | None:
        """The build that is open now."""
        held = self._held
        return held.build if held else None

    def refresh(self) -> bool:
        """Open the alias's build if it is another one, then let the old one go.

        Returns:
            Whether the build changed. A build that can't be opened changes nothing: the old one
            keeps answering, and the next call tries again. After `close` nothing is opened any more.
        """
        with self._refreshing:
            if self._stop.is_set():
                return False
            wanted = self._read_alias()
            held = self._held
            if held:
                # Before the next build is opened, which may fail again and again.
                self._follow(held.retriever)
            if wanted is None or (held and held.build.build_id == wanted.build_id):
                return False
            answering = (held.build, held.retriever) if held else None
            opened = _Held(wanted, self._open_build(wanted, answering))
            with self._guard:
                self._held = opened
                replaced = held if held and held.users == 0 else None
                if held:
                    held.is_replaced = True
            if replaced:
                replaced.retriever.close()
            return True

    def watch(self, seconds: float = WATCH_SECONDS) -> None:
        """Refresh in the background until `close`."""
        self._watcher = threading.Thread(target=self._watch, args=(seconds,), name="index-alias", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Stop watching and let the build go; one that is being opened is waited for."""
        self._stop.set()
        if self._watcher:
            self._watcher.join()
        with self._refreshing, self._guard:
            held, self._held = self._held, None
            is_idle = held is not None and held.users == 0
            if held:
                held.is_replaced = True
        if held and is_idle:
            held.retriever.close()

    def _acquire(self) -> _Held:
        if self._held is None:
            self.refresh()
        with self._guard:
            if self._held is None and self._stop.is_set():
                raise BuildUnavailableError("the index is closed: the process that answers is stopping")
            if self._held is None:
                raise BuildUnavailableError(
                    "no index build has been published: run `opsgraph index PATH --tenant T`"
                )
            self._held.users += 1
            return self._held

    def _release(self, held: _Held) -> None:
        with self._guard:
            held.users -= 1
            is_last = held.is_replaced and held.users == 0
        if is_last:
            held.retriever.close()

    def _watch(self, seconds: float) -> None:
        while not self._stop.is_set():
            try:
                if self.refresh():
                    _log.info("index build %s answers now", self._held.build.build_id if self._held else None)
            except Exception:
                _log.exception("the alias's index build could not be opened; the old one keeps answering")
            self._stop.wait(seconds)
