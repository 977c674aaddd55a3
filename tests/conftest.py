"""Fixtures of the whole suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server, StartServer


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers; all are stopped at the end of the test.

    `start_server("up")` or `start_server("serve")`; a data folder, options and environment may be given.
    """
    started: list[Server] = []

    def start(
        command: str = "up",
        *options: str,
        data: Path | None = None,
        port: int = 0,
        environment: dict[str, str] | None = None,
    ) -> Server:
        extra = ("--no-browser",) if command == "up" else ()
        server = Server(
            command, data or tmp_path / "data", "--port", str(port), *extra, *options, environment=environment
        )
        started.append(server)
        return server.wait_until_ready()

    yield start
    for server in started:
        server.stop()
