"""A real store in a folder of its own, with a clock that the test moves."""

from __future__ import annotations

import shutil
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


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that was opened once, so that not every test pays for the migrations."""
    folder = tmp_path_factory.mktemp("new") / "data"
    open_store(Settings(data=folder)).close()
    return folder


@pytest.fixture
def settings(tmp_path: Path, new_folder: Path) -> Settings:
    """An empty data folder."""
    shutil.copytree(new_folder, tmp_path / "data")
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
