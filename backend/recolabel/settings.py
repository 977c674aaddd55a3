"""The only reader of environment variables. Everybody else gets a `Settings` value."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_data_dir() -> Path:
    """Where data lies when nobody says otherwise: the user's data folder, after the XDG convention."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "recolabel"


class Settings(BaseSettings):
    """Settings of a server. Each can be given as an environment variable, e.g. RECOLABEL_DATA."""

    model_config = SettingsConfigDict(env_prefix="RECOLABEL_", extra="ignore", frozen=True)

    data: Path = Field(default_factory=default_data_dir, description="folder that holds everything")
    host: str = Field(default="127.0.0.1", description="loopback address to listen on")
    port: int = Field(default=8737, ge=0, le=65_535, description="0 takes any free port")
    broker_url: str | None = Field(default=None, description="Redis or Valkey; none starts an embedded one")
    embedded_worker: bool = Field(default=True, description="start a worker beside the server")

    max_file_bytes: int = Field(default=512 * 1024 * 1024, description="an uploaded file")
    max_pixels: int = Field(default=100_000_000, description="an image")
    max_side: int = Field(default=32_768, description="an image's width or height in pixels")
    decode_seconds: float = Field(default=20.0, description="wall time that decoding one image may take")
    decode_memory_bytes: int = Field(default=4 * 1024**3, description="address space of the decoding child")
    max_json_bytes: int = Field(default=32 * 1024 * 1024, description="a request body that is not a file")
    free_disk_floor_bytes: int = Field(default=256 * 1024 * 1024, description="uploads are refused below this")

    lease_seconds: float = Field(default=30.0, description="a worker that is silent for longer loses its job")
    sweep_seconds: float = Field(default=1.0, description="pause between two looks at queued and expired jobs")
    max_attempts: int = Field(default=5, description="starts of one job before it is given up")

    retrain_quiet_seconds: float = Field(default=4.0, description="no new label for so long: train now")
    retrain_longest_wait_seconds: float = Field(default=30.0, description="new labels never wait longer than this")
    retrain_min_new_labels: int = Field(default=10, description="fewer new labels do not justify a training")

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data / "recolabel.sqlite3"

    @property
    def token_file(self) -> Path:
        """The token, readable by its owner only."""
        return self.data / "token"

    @property
    def address_file(self) -> Path:
        """Where a running server listens: one JSON object with url and pid."""
        return self.data / "server.json"

    @property
    def lock_file(self) -> Path:
        """Locked while a server works in the folder."""
        return self.data / "lock"

    @property
    def blobs(self) -> Path:
        """Files by content hash."""
        return self.data / "objects"

    @property
    def run(self) -> Path:
        """Sockets and other things that do not outlive a server."""
        return self.data / "run"
