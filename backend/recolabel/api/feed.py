"""News of the data folder: one look at the update table per process, fanned out in memory to every open stream, and a
beat for those who wait for a change of any kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio.to_thread
import structlog

from recolabel.contract.updates import Update
from recolabel.store import Store

_log = structlog.get_logger(__name__)

POLL_SECONDS = 0.15
"""Pause between two looks where nobody says that something changed: another process may have written."""
_PAGE = 500
_MAX_WAITING = 2_000


class Feed:
    """Tails the update table while somebody listens. Made in the event loop that it lives in."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._listeners: set[asyncio.Queue[Update | None]] = set()
        self._beat = asyncio.Event()
        self.closed = False

    def close(self) -> None:
        """End every stream and every wait, so that a server can stop. Browsers come back by themselves."""
        self.closed = True
        for queue in self._listeners:
            _put(queue, None)
        self._strike()

    def stir(self) -> None:
        """Say that something changed. From any thread; never waits."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._strike)

    def next_beat(self) -> asyncio.Event:
        """What is set at the next change. Ask for it before looking at what may change: nothing is missed then."""
        return self._beat

    async def run(self) -> None:
        """Look at the table at every beat, and every `POLL_SECONDS`, until `close`."""
        position = await self._newest(None)
        was_told = True
        while not self.closed:
            beat = self.next_beat()
            try:
                page = await self._page(None, position)
            except Exception:
                _log.exception("updates: cannot read the table, trying again")
                page = []
            for update in page:
                position = update.update_id
                for queue in self._listeners:
                    _put(queue, update)
            if page and not was_told:
                self._strike()  # another process wrote: this one's commits strike by themselves
            was_told = len(page) == _PAGE or await heard(beat, POLL_SECONDS)

    async def listen(self, project_id: str | None, after: int | None) -> AsyncIterator[Update | int]:
        """First the position that the stream starts at, then every update after it, once each and in order.

        Ends when the feed closes, or when this listener is too slow to follow; it resumes with the last id it saw.
        """
        queue: asyncio.Queue[Update | None] = asyncio.Queue(_MAX_WAITING)
        # Listening before reading the past: what comes in between is seen twice and sent once.
        self._listeners.add(queue)
        try:
            newest = await self._newest(project_id)
            # An id from the future is from another data folder; waiting for it would mean silence.
            position = newest if after is None else min(after, newest)
            yield position
            while page := await self._page(project_id, position):
                for update in page:
                    position = update.update_id
                    yield update
            while not self.closed and (waiting := await queue.get()) is not None:
                if waiting.update_id > position and project_id in (None, waiting.project_id):
                    position = waiting.update_id
                    yield waiting
        finally:
            self._listeners.discard(queue)

    async def _newest(self, project_id: str | None) -> int:
        return await anyio.to_thread.run_sync(self._store.updates.newest_id, project_id)

    async def _page(self, project_id: str | None, after: int) -> list[Update]:
        return await anyio.to_thread.run_sync(self._store.updates.since, project_id, after, _PAGE)

    def _strike(self) -> None:
        struck, self._beat = self._beat, asyncio.Event()
        struck.set()


async def heard(beat: asyncio.Event, seconds: float) -> bool:
    """Wait for a beat; False: the time is up."""
    try:
        await asyncio.wait_for(beat.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _put(queue: asyncio.Queue[Update | None], item: Update | None) -> None:
    try:
        queue.put_nowait(item)
    except asyncio.QueueFull:
        # A stream with a hole would be worse than one that ends: the browser resumes after the last id it saw.
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)
