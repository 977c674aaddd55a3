"""One look at the update table per process, fanned out in memory to every open stream."""

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
_PAGE = 500
_MAX_WAITING = 2_000


class Feed:
    """Tails the update table while somebody listens. Lives in one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: set[asyncio.Queue[Update | None]] = set()
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End every stream, so that a server can stop. Browsers come back by themselves."""
        self._closed.set()
        for queue in self._listeners:
            _put(queue, None)

    async def run(self) -> None:
        """Look at the table until `close`."""
        position = await self._newest(None)
        while not self._closed.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), POLL_SECONDS)
            try:
                page = await self._page(None, position)
            except Exception:
                _log.exception("updates: cannot read the table, trying again")
                continue
            for update in page:
                position = update.update_id
                for queue in self._listeners:
                    _put(queue, update)

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
            while not self._closed.is_set() and (waiting := await queue.get()) is not None:
                if waiting.update_id > position and project_id in (None, waiting.project_id):
                    position = waiting.update_id
                    yield waiting
        finally:
            self._listeners.discard(queue)

    async def _newest(self, project_id: str | None) -> int:
        return await anyio.to_thread.run_sync(self._store.updates.newest_id, project_id)

    async def _page(self, project_id: str | None, after: int) -> list[Update]:
        return await anyio.to_thread.run_sync(self._store.updates.since, project_id, after, _PAGE)


def _put(queue: asyncio.Queue[Update | None], item: Update | None) -> None:
    try:
        queue.put_nowait(item)
    except asyncio.QueueFull:
        # A stream with a hole would be worse than one that ends: the browser resumes after the last id it saw.
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)
