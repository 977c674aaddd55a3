"""Broker and worker live and die with the server, on a socket that nobody else reaches."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest

from recolabel import embedded
from recolabel.embedded import Embedded, answers
from recolabel.settings import Settings
from tests.servers import descendants, wait_for

pytestmark = pytest.mark.skipif(embedded.find_valkey() is None, reason="no Valkey or Redis on this machine")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[Embedded, str]]:
    """A broker without a worker, and its address."""
    both, url = start(Settings(data=tmp_path, embedded_worker=False))
    yield both, url
    both.stop()


def start(settings: Settings) -> tuple[Embedded, str]:
    urls: Queue[str] = Queue()
    both = Embedded(settings)
    both.start(urls.put)
    return both, urls.get(timeout=20)


def socket_of(url: str) -> Path:
    return Path(url.removeprefix("redis+socket://"))


def broker_processes(path: Path) -> list[int]:
    return [pid for pid, command in descendants(os.getpid()).items() if "valkey" in command and str(path) in command]


def test_the_broker_answers_on_a_private_socket_and_on_no_port(started: tuple[Embedded, str]) -> None:
    path = socket_of(started[1])

    assert answers(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert embedded._ask(path, b"CONFIG GET port\r\n").endswith(b"\r\n0\r\n")


def test_celery_can_send_through_the_address(started: tuple[Embedded, str]) -> None:
    from recolabel.doorbell import celery_app

    app = celery_app(started[1])
    app.send_task("recolabel.run", args=["job"], ignore_result=True, retry=False)

    with app.connection_for_read() as connection:
        assert connection.default_channel.client.llen("celery") == 1
    app.close()


def test_a_broker_that_is_killed_comes_back(started: tuple[Embedded, str]) -> None:
    path = socket_of(started[1])
    [first] = broker_processes(path)

    os.kill(first, signal.SIGKILL)

    wait_for(lambda: broker_processes(path) not in ([], [first]) and answers(path), seconds=20, what="a new broker")


def test_nothing_is_left_after_a_stop(tmp_path: Path) -> None:
    both, url = start(Settings(data=tmp_path, embedded_worker=False))

    both.stop()

    assert not socket_of(url).exists()
    assert broker_processes(socket_of(url)) == []


def test_a_data_folder_deep_down_gets_a_short_socket_path(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20) / ("down" * 10)
    both, url = start(Settings(data=deep, embedded_worker=False))

    assert answers(socket_of(url))
    assert len(str(socket_of(url))) < 100
    both.stop()
    assert not socket_of(url).parent.exists()


def test_a_socket_that_nobody_answers_on_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "run" / "valkey.sock"))

    both, url = start(Settings(data=tmp_path, embedded_worker=False))

    assert answers(socket_of(url))
    both.stop()


def test_a_broker_left_over_from_a_killed_server_is_used_again(tmp_path: Path) -> None:
    # Given a broker that outlived its server
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    binary = embedded.find_valkey()
    assert binary is not None
    command = embedded._valkey_command(binary, run / "valkey.sock", run / "valkey.log")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as left_over:
        wait_for(lambda: answers(run / "valkey.sock"), seconds=20, what="the broker")

        # When the next server starts and stops
        both, url = start(Settings(data=tmp_path, embedded_worker=False))

        # I expect it to use that broker, start no other, and end it
        assert socket_of(url) == run / "valkey.sock"
        assert broker_processes(run) == [left_over.pid]
        both.stop()
        assert left_over.wait(timeout=20) == 0


def test_without_any_broker_program_a_folder_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_valkey", lambda: None)

    both, url = start(Settings(data=tmp_path, embedded_worker=False))

    assert url == f"filesystem://{tmp_path}/run/bells"
    assert (tmp_path / "run" / "bells").is_dir()
    both.stop()


def test_a_broker_of_the_settings_is_used_as_it_is(tmp_path: Path) -> None:
    both, url = start(Settings(data=tmp_path, embedded_worker=False, broker_url="redis://broker.example:6379/0"))

    assert url == "redis://broker.example:6379/0"
    assert not (tmp_path / "run").exists()
    both.stop()


SERVER = """
import sys, threading
from pathlib import Path
from recolabel.embedded import Embedded
from recolabel.settings import Settings
both = Embedded(Settings(data=Path(sys.argv[1]), embedded_worker=False))
both.start(lambda url: print(url, flush=True))
threading.Event().wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_server_takes_its_broker_along(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        path = socket_of(server.stdout.readline().strip())
        assert answers(path)

        server.kill()

    wait_for(lambda: not answers(path), seconds=20, what="the end of the broker")
