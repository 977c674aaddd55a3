"""The whole server on a real socket: the feed over HTTP, and a stop that does not wait for open streams."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest
from fastapi import FastAPI

from recolabel.api.server import Server
from recolabel.cli.serving import listening_socket
from recolabel.client import Client
from recolabel.contract.jobs import JobKind
from recolabel.contract.projects import NewLabelClass, NewProject, ProjectPatch
from recolabel.contract.updates import ProjectChanged
from recolabel.errors import ServerUnreachable, UnsafeBind
from recolabel.settings import Settings

NEW = NewProject(name="Street", classes=[NewLabelClass(name="road")])


class Running:
    """A server in a thread of its own."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self.ready = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.server = Server(app, settings, on_ready=self.ready.set)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()
        assert self.ready.wait(20)
        self.token = settings.token_file.read_text().strip()

    def stop(self) -> float:
        started = time.monotonic()
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()
        return time.monotonic() - started


@pytest.fixture
def running(app: FastAPI, settings: Settings) -> Iterator[Running]:
    made = Running(app, settings)
    yield made
    made.stop()
    made.socket.close()


def test_a_listener_hears_changes_as_they_come_and_resumes_after_a_break(running: Running) -> None:
    with Client(running.url, running.token) as client:
        project = client.create_project(NEW)
        names = ["a", "b", "c"]
        for name in names:
            client.patch_project(project.project_id, ProjectPatch(name=name))

        listener = client.updates(project.project_id, after=0)
        first = next(listener)
        listener.close()  # type: ignore[attr-defined]
        resumed = client.updates(project.project_id, after=first.update_id)
        second = next(resumed)
        resumed.close()  # type: ignore[attr-defined]

    assert isinstance(first.hint, ProjectChanged)
    assert second.update_id > first.update_id


def test_a_browser_resumes_with_the_id_it_saw_last(running: Running) -> None:
    headers = {"Authorization": f"Bearer {running.token}", "Last-Event-ID": "0"}
    with Client(running.url, running.token) as client:
        project = client.create_project(NEW)
        client.patch_project(project.project_id, ProjectPatch(name="a"))

    with httpx2.stream("GET", f"{running.url}/api/v1/updates?after=999", headers=headers, timeout=10) as answer:
        lines = answer.iter_lines()
        seen = [next(lines) for _ in range(6)]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert "id: 0" in seen[:3]
    assert "retry: 1000" in seen[:3]
    assert any(line.startswith("data: {") for line in seen)
    assert any(line.startswith("id: ") and line != "id: 0" for line in seen)


def test_open_streams_do_not_hold_up_a_stop(running: Running) -> None:
    headers = {"Authorization": f"Bearer {running.token}"}
    with httpx2.stream("GET", f"{running.url}/api/v1/updates", headers=headers, timeout=10) as answer:
        lines = answer.iter_lines()
        next(lines)

        seconds = running.stop()

        assert not any(line.startswith("data") for line in lines)
    assert seconds < 4


def test_a_worker_that_waits_for_a_job_does_not_hold_up_a_stop(running: Running) -> None:
    answers: list[object] = []

    def wait() -> None:
        with Client(running.url, running.token) as client:
            answers.append(client.claim("worker", kinds=[JobKind.REFINE], wait_seconds=30))

    worker = threading.Thread(target=wait)
    worker.start()
    time.sleep(0.3)

    seconds = running.stop()

    worker.join(5)
    assert answers == [None]
    assert seconds < 4


def test_answers_are_not_kept_back_until_the_browser_has_acknowledged_their_first_part(settings: Settings) -> None:
    """Nagle's algorithm and a browser's late acknowledgement together cost 40 ms an answer."""
    seen: list[int] = []

    async def serve_one() -> None:
        def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            seen.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listening_socket(settings.model_copy(update={"port": 0}))
        address = listener.getsockname()
        async with await asyncio.start_server(note, sock=listener):
            reader, writer = await asyncio.open_connection(*address)
            await reader.read()
            writer.close()

    asyncio.run(serve_one())

    assert seen[0] != 0


def test_a_foreign_host_on_a_real_socket_is_sent_away(running: Running) -> None:
    answer = httpx2.get(f"{running.url}/", headers={"Host": "evil.example"})

    assert answer.status_code == 421
    assert "server" not in answer.headers


def test_after_a_stop_nobody_answers(running: Running) -> None:
    running.stop()

    with Client(running.url, running.token) as client, pytest.raises(ServerUnreachable):
        client.projects()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", "::"])  # noqa: S104 - to be refused
def test_only_addresses_of_this_machine_are_listened_on(app: FastAPI, settings: Settings, host: str) -> None:
    with pytest.raises(UnsafeBind):
        Server(app, settings.model_copy(update={"host": host}))
