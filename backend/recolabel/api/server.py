"""uvicorn, set up for this app: open update streams end when the server stops."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from recolabel.api.deps import Parts
from recolabel.errors import UnsafeBind
from recolabel.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_STOP_SECONDS = 5
"""Requests that still run after this are cut off; what was not acknowledged is sent again by its sender."""


class Server(uvicorn.Server):
    """Runs an app of `create_app` on a socket that is bound already."""

    def __init__(self, app: FastAPI, settings: Settings, *, on_ready: Callable[[], None] | None = None) -> None:
        """
        Args:
            on_ready: called once the server listens and can answer; it runs in the event loop, so it must not wait.

        Raises:
            UnsafeBind: the host is not an address of this machine alone.
        """
        if settings.host not in LOOPBACK:
            raise UnsafeBind
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                # No proxy stands before this server, so nobody may claim another scheme or address.
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_STOP_SECONDS,
                ws="none",
                lifespan="on",
            )
        )
        self._app = app
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then say so."""
        await super().startup(sockets)
        if self.started and not self.should_exit and self._on_ready is not None:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the update streams first: uvicorn waits for open connections, and those never end by themselves."""
        parts: Parts = self._app.state.parts
        parts.feed.close()
        await super().shutdown(sockets)
