"""Real servers for tests: started through the command line on free ports of 127.0.0.1, stopped by the tests."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from recolabel.client import Client

ROOT = Path(__file__).parents[1]
CAMVID = ROOT.parent / "shared" / "data" / "camvid"


class Server:
    """A `recolabel up` or `recolabel serve` of one test, with everything that it printed."""

    def __init__(self, command: str, data: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.data = data
        self.lines: list[str] = []
        self._ready: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "recolabel", command, "--data", str(data), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | (environment or {}),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(r"http://[\w.:\[\]]+/\?token=\S+", line):
                self._ready.put(found.group())
        self._ready.put(None)

    def wait_until_ready(self, seconds: float = 60) -> Server:
        """Wait for the printed address.

        Raises:
            AssertionError: the server ended instead; with all that it said.
        """
        address = self._ready.get(timeout=seconds)
        assert address is not None, "the server ended:\n" + "\n".join(self.lines)
        self.address = address
        self.url, self.token = address.split("/?token=")
        return self

    def client(self) -> Client:
        """A client with the server's token."""
        return Client(self.url, self.token)

    def kill(self) -> None:
        """Pull the plug: SIGKILL, no goodbye."""
        self.process.kill()
        self.process.wait(timeout=30)

    def stop(self) -> int:
        """Ask it to stop; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait(timeout=30)
        self._reader.join(timeout=10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


StartServer = Callable[..., Server]


def wait_for(condition: Callable[[], object], *, seconds: float, what: str, pause: float = 0.1) -> None:
    """Poll until a condition is truthy.

    Raises:
        AssertionError: it was not, within the time; names what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(pause)


def descendants(pid: int) -> dict[int, str]:
    """Processes below one: process id -> command line (Linux)."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue  # it ended while we looked
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in parents.get(waiting.pop(), []):
            try:
                command = (Path("/proc") / str(child) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            found[child] = command
            waiting.append(child)
    return found


def run_cli(*arguments: str, data: Path | None = None, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run `recolabel ...` as a stranger would, and hand back status, stdout and stderr."""
    where = ["--data", str(data)] if data else []
    return subprocess.run(
        [sys.executable, "-m", "recolabel", *arguments, *where],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
