"""A real server in the process: real store, real decode child, a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from recolabel.api.app import create_app
from recolabel.contract.projects import Project
from recolabel.settings import Settings
from tests.backend.api.requests import URL, authorization, new_project


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Limits small enough to be met; no automatic training within a test's time."""
    return Settings(
        data=tmp_path / "data",
        max_file_bytes=2_000_000,
        max_json_bytes=200_000,
        max_pixels=1_000_000,
        max_side=4_000,
        retrain_quiet_seconds=600,
        retrain_longest_wait_seconds=600,
    )


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """The app, not started yet."""
    return create_app(settings)


@pytest.fixture
def http(app: FastAPI, settings: Settings) -> Iterator[TestClient]:
    """A logged-in client of the started app."""
    with TestClient(app, base_url=URL, headers=authorization(settings), follow_redirects=False) as client:
        yield client


@pytest.fixture
def project(http: TestClient) -> Project:
    """A project with the classes road and car."""
    return new_project(http, "Street", "road", "car")
