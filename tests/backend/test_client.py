"""The client says what went wrong in the server's words, and never sends half a thing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from recolabel.client import Client
from recolabel.contract.jobs import JobKind
from recolabel.contract.projects import ProjectPatch
from recolabel.errors import ServerRefused, ServerUnreachable

PROJECT = {
    "project_id": "00000000-0000-0000-0000-000000000001",
    "name": "Street",
    "created_at": "2026-11-24T06:30:00Z",
    "classes": [],
    "settings": {"auto_train": True},
    "image_count": 0,
    "label_count": 0,
    "label_seq": 0,
    "newest_version": None,
    "pinned_version": None,
}


def client_of(answer: Callable[[httpx2.Request], httpx2.Response]) -> Client:
    return Client("http://127.0.0.1:8737", "secret", transport=httpx2.MockTransport(answer))


def test_every_request_carries_the_token_and_a_lease_its_fence() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={"image_id": None})

    client_of(answer).open_image("job", 7)

    assert seen[0].headers["Authorization"] == "Bearer secret"
    assert seen[0].headers["X-Recolabel-Fence"] == "7"
    assert str(seen[0].url) == "http://127.0.0.1:8737/api/v1/leases/job/open-image"


def test_a_refusal_is_told_in_the_servers_own_words() -> None:
    problem = {"title": "Busy", "detail": "The server has more to write than it can.", "code": "busy"}
    client = client_of(lambda _: httpx2.Response(503, json=problem))

    with pytest.raises(ServerRefused) as caught:
        client.projects()

    assert (str(caught.value), caught.value.status, caught.value.problem_code) == (problem["detail"], 503, "busy")


def test_an_answer_that_is_no_problem_document_is_a_refusal_all_the_same() -> None:
    client = client_of(lambda _: httpx2.Response(502, text="<html>Bad gateway</html>"))

    with pytest.raises(ServerRefused, match="502"):
        client.projects()


def test_no_answer_is_told_with_what_to_do() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(ServerUnreachable) as caught:
        client_of(answer).projects()

    assert "http://127.0.0.1:8737" in caught.value.sentence
    assert "recolabel up" in caught.value.sentence
    assert not client_of(answer).is_ready()


def test_another_kind_of_server_is_told_from_ours() -> None:
    client = client_of(lambda _: httpx2.Response(200, text="<html>It works!</html>"))

    with pytest.raises(ServerUnreachable, match="not a ReCoLabel server"):
        client.projects()


def test_whoever_lets_the_server_wait_waits_for_longer_than_the_server() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(204)

    client_of(answer).claim("worker", kinds=[JobKind.REFINE], wait_seconds=30)

    assert json.loads(seen[0].content)["kinds"] == ["refine"]
    assert seen[0].extensions["timeout"]["read"] > 60


def test_no_lease_is_none() -> None:
    assert client_of(lambda _: httpx2.Response(204)).claim("worker") is None


def test_a_patch_sends_what_was_set_and_nothing_else() -> None:
    bodies: list[object] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        return httpx2.Response(200, json=PROJECT)

    client_of(answer).patch_project("p", ProjectPatch(name="New"))

    assert bodies == [{"name": "New"}]


def test_a_file_is_sent_as_it_is_under_any_name(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "a.png").write_bytes(content)
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        request.read()
        seen.append(request)
        return httpx2.Response(409, json={"detail": "Seen enough."})

    with pytest.raises(ServerRefused, match="Seen enough"):
        client_of(answer).add_image("p", "day 1/Größe & mehr?.png", tmp_path / "a.png")

    assert seen[0].content == content
    assert seen[0].headers["Content-Length"] == str(len(content))
    assert seen[0].url.params["name"] == "day 1/Größe & mehr?.png"


def test_a_download_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    class BreaksOff(httpx2.SyncByteStream):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield b"half"
            raise httpx2.ReadError("gone")

    client = client_of(lambda _: httpx2.Response(200, stream=BreaksOff()))

    with pytest.raises(ServerUnreachable, match="broke off"):
        client.artifact("p", 1, "model.safetensors", tmp_path / "model.safetensors")

    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_without_a_server_says_so(tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachable, match="No server runs"):
        Client.from_data_dir(tmp_path)

    (tmp_path / "server.json").write_text("{")
    with pytest.raises(ServerUnreachable, match="cannot be read"):
        Client.from_data_dir(tmp_path)


def test_a_data_folder_says_where_its_server_is(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text('{"url": "http://127.0.0.1:1234", "pid": 1}')
    (tmp_path / "token").write_text("secret\n")

    assert Client.from_data_dir(tmp_path).url == "http://127.0.0.1:1234"
