"""A real store in a folder of its own, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recolabel.settings import Settings
from recolabel.store import Store, open_store
from tests.backend.store.street import Street


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The store's clock."""
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A fresh data folder."""
    return Settings(data=tmp_path / "data", max_attempts=3)


@pytest.fixture
def store(settings: Settings, clock: Clock) -> Iterator[Store]:
    """An open store."""
    with open_store(settings, clock) as opened:
        yield opened


@pytest.fixture
def street(store: Store) -> Street:
    """A project with the classes road and car and two images of 40 x 30 pixels."""
    return Street(store)
