"""The only reader of environment variables of the worker. Everybody else gets a `WorkerSettings` value."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from recolabel.errors import ServerUnreachable


def default_cache_dir() -> Path:
    """Where copies of images lie between jobs: the user's cache folder, after the XDG convention."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "recolabel"


class WorkerSettings(BaseSettings):
    """Settings of a worker. Each can be given as an environment variable, e.g. RECOLABEL_URL."""

    model_config = SettingsConfigDict(env_prefix="RECOLABEL_", extra="ignore", frozen=True)

    url: str | None = Field(default=None, description="address of the server; none: the one in the data folder")
    token: str | None = Field(default=None, repr=False, description="its token; none: the one in the data folder")
    data: Path | None = Field(default=None, description="data folder of a server on this machine")
    broker_url: str | None = Field(default=None, description="Redis or Valkey to be woken by; none: ask only")

    cache: Path = Field(default_factory=default_cache_dir, description="copies of images; may be deleted at any time")
    cache_bytes: int = Field(default=2 * 1024**3, description="oldest copies are deleted above this")
    features_bytes: int = Field(
        default=4 * 1024**3,
        description="features of images on disk, for the fast head; the longest unused go above this",
    )
    feature_memory_bytes: int = Field(default=512 * 1024**2, description="features that the fast head holds in memory")
    training_bytes: int = Field(default=2 * 1024**3, description="decoded images that one training holds in memory")
    device: str = Field(default="auto", description="cpu, cuda, cuda:1 ...; auto takes the first GPU if there is one")
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, description="CPU threads of the training")
    refine_threads: int = Field(default=1, ge=1, description="CPU threads of the fast head")
    refine_children: int = Field(
        default=1,
        ge=0,
        description="projects whose clicks are answered at the same time, each by a process; 0: only train",
    )
    wait_seconds: float = Field(default=20.0, ge=0, le=30, description="how long one question of the fast head waits")

    poll_seconds: float = Field(
        default=2.0, gt=0, description="pause between two questions for work; bells may be lost"
    )
    renew_seconds: float = Field(default=5.0, gt=0, description="pause between two renewals of the lease")
    report_seconds: float = Field(default=0.25, ge=0, description="shortest pause between two reports of progress")
    out_of_touch_seconds: float = Field(
        default=25.0, gt=0, description="a job is dropped when the server is silent so long"
    )
    term_seconds: float = Field(default=5.0, gt=0, description="a cancelled child that does not answer gets SIGTERM")
    kill_seconds: float = Field(default=10.0, gt=0, description="... and SIGKILL this long after the wish to cancel")
    wind_up_seconds: float = Field(
        default=60.0, gt=0, description="a cancelled child may need so long to hand in its work"
    )
    jobs_per_child: int = Field(default=50, ge=1, description="a fresh child afterwards")

    map_seconds: float = Field(default=10.0, ge=0, description="pause between two early maps of a running training")
    checkpoint_seconds: float = Field(default=10.0, ge=0, description="pause between two checkpoints")


class ServerAddress(NamedTuple):
    """Where the server is, and what opens its door."""

    url: str
    token: str


def find_server(settings: WorkerSettings) -> ServerAddress:
    """Read the server's address anew: one that was started again may listen elsewhere.

    Raises:
        ServerUnreachable: nothing says where the server is, or it has not left its address yet.
    """
    if settings.url is not None and settings.token is not None:
        return ServerAddress(settings.url, settings.token)
    if settings.data is None:
        raise ServerUnreachable("Nothing says where the server is: set RECOLABEL_DATA, or RECOLABEL_URL and its token.")
    try:
        token = settings.token or (settings.data / "token").read_text(encoding="utf-8").strip()
        url = settings.url or str(json.loads((settings.data / "server.json").read_text(encoding="utf-8"))["url"])
    except FileNotFoundError as error:
        raise ServerUnreachable(f"No server runs in {settings.data}.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServerUnreachable(f"The address or the token in {settings.data} cannot be read: {error}.") from error
    return ServerAddress(url, token)
