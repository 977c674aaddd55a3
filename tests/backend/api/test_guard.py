"""The first door, in front of an app that answers everything: what comes through was let through by the guard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from recolabel.api.guard import Guard
from recolabel.api.login import Login, cookie_name
from recolabel.settings import Settings

URL = "http://127.0.0.1:8737"


async def answer_everything(request: Request) -> Response:
    return PlainTextResponse(f"let in with {len(await request.body())} bytes")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, max_json_bytes=100, max_file_bytes=1_000)


@pytest.fixture
def token(settings: Settings) -> str:
    Login(settings)
    return settings.token_file.read_text().strip()


@pytest.fixture
def door(settings: Settings) -> Iterator[TestClient]:
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    inner = Starlette(routes=[Route("/{path:path}", answer_everything, methods=methods)])
    with TestClient(Guard(inner, settings, Login(settings)), base_url=URL, follow_redirects=False) as client:
        yield client


def code_of(response: object) -> str:
    return str(response.json()["code"])  # type: ignore[attr-defined]


HOSTS = [
    ("127.0.0.1:8737", 200, "as printed at start"),
    ("localhost:8737", 200, "as people type it"),
    ("LocalHost:8737", 200, "names have no case"),
    ("[::1]:8737", 200, "IPv6 loopback"),
    ("evil.example:8737", 421, "a name that was rebound to this machine"),
    ("127.0.0.1.evil.example:8737", 421, "a look-alike in front"),
    ("evil-localhost:8737", 421, "a look-alike behind"),
    ("localhost.:8737", 421, "a trailing dot is another name"),
    ("localhost:8738", 421, "another port"),
    ("localhost", 421, "no port means port 80"),
    ("localhost:8737/x?", 421, "poison for URL building"),
    ("a@localhost:8737", 421, "a user in front"),
    ("", 421, "empty"),
]


@pytest.mark.parametrize(("host", "status", "remark"), HOSTS)
@pytest.mark.parametrize("path", ["/", "/healthz", "/assets/app.js", "/api/v1/projects", "/api/nothing"])
def test_only_names_of_this_machine_are_answered_to(
    door: TestClient, token: str, host: str, status: int, remark: str, path: str
) -> None:
    response = door.get(path, headers={"Host": host, "Authorization": f"Bearer {token}"})

    assert response.status_code == status, remark
    if status == 421:
        assert code_of(response) == "foreign_host"


def test_a_doubled_host_is_refused(door: TestClient, token: str) -> None:
    headers = [("Host", "127.0.0.1:8737"), ("Host", "127.0.0.1:8737"), ("Authorization", f"Bearer {token}")]

    assert door.get("/api/v1/projects", headers=headers).status_code == 421


def test_a_forwarded_host_changes_nothing(door: TestClient) -> None:
    response = door.get("/", headers={"Host": "evil.example", "X-Forwarded-Host": "127.0.0.1:8737"})

    assert response.status_code == 421


ORIGINS: list[tuple[dict[str, str], int, str]] = [
    ({}, 200, "a program, or a page that was typed in"),
    ({"Origin": URL}, 200, "our own page"),
    ({"Origin": "null"}, 403, "a sandboxed frame"),
    ({"Origin": "https://127.0.0.1:8737"}, 403, "another scheme"),
    ({"Origin": "http://127.0.0.1:8738"}, 403, "another port of this machine"),
    ({"Origin": "http://localhost:8737"}, 403, "this machine under another name than was asked for"),
    ({"Origin": "http://127.0.0.1:8737.evil.example"}, 403, "a look-alike"),
    ({"Origin": ""}, 403, "empty"),
    ({"Sec-Fetch-Site": "same-origin"}, 200, "our own page"),
    ({"Sec-Fetch-Site": "none"}, 200, "typed into the address bar"),
    ({"Sec-Fetch-Site": "same-site"}, 403, "a page of another port: cookies do not know ports"),
    ({"Sec-Fetch-Site": "cross-site"}, 403, "an image on another site"),
    (
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        403,
        "a link on another site into the API",
    ),
]


@pytest.mark.parametrize(("headers", "status", "remark"), ORIGINS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_other_site_may_ask(
    door: TestClient, token: str, headers: dict[str, str], status: int, remark: str, method: str
) -> None:
    response = door.request(method, "/api/v1/projects", headers=headers | {"Authorization": f"Bearer {token}"})

    assert response.status_code == status, remark
    if status == 403:
        assert code_of(response) == "foreign_origin"


def test_a_link_on_another_site_may_open_the_first_page_and_no_frame_may(door: TestClient) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

    assert door.get("/", headers=link).status_code == 200
    assert door.get("/", headers=link | {"Sec-Fetch-Dest": "iframe"}).status_code == 403


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic {token}", "{token}"])
def test_without_the_token_nobody_gets_into_the_api(door: TestClient, token: str, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.format(token=token)}

    response = door.get("/api/v1/anything", headers=headers)

    assert response.status_code == 401
    assert code_of(response) == "not_logged_in"
    assert "recolabel up" in response.json()["detail"]
    assert response.headers["www-authenticate"] == "Bearer"


def test_the_pages_need_no_token(door: TestClient) -> None:
    assert door.get("/").status_code == 200
    assert door.get("/healthz").status_code == 200
    assert door.post("/").status_code == 405


def test_the_printed_address_logs_a_browser_in_and_leaves_no_token_behind(door: TestClient, token: str) -> None:
    response = door.get("/", params={"token": token})

    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("recolabel-8737=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(re.split("; ?", cookie))
    assert token not in cookie
    assert door.get("/api/v1/projects").status_code == 200


def test_a_login_survives_a_restart_and_not_a_new_token(door: TestClient, settings: Settings, token: str) -> None:
    door.get("/", params={"token": token})
    cookie = f"{cookie_name(8737)}={door.cookies[cookie_name(8737)]}".encode()

    assert Login(settings).admits([(b"cookie", cookie)], 8737)
    settings.token_file.unlink()
    assert not Login(settings).admits([(b"cookie", cookie)], 8737)


def test_a_cookie_of_the_server_on_another_port_does_not_open_this_one(
    settings: Settings, door: TestClient, token: str
) -> None:
    door.get("/", params={"token": token})
    cookie = f"{cookie_name(8738)}={door.cookies[cookie_name(8737)]}".encode()

    assert not Login(settings).admits([(b"cookie", cookie)], 8737)


@pytest.mark.parametrize("wrong", ["", "wrong", "é", "wrong&token=again"])
def test_a_wrong_token_in_the_address_gets_a_page_that_says_what_to_do(door: TestClient, wrong: str) -> None:
    response = door.get(f"/?token={wrong}")

    assert response.status_code == 401
    assert "recolabel up" in response.text
    assert "set-cookie" not in response.headers


def test_the_token_file_is_for_its_owner_only_and_made_once(settings: Settings, token: str) -> None:
    assert settings.token_file.stat().st_mode & 0o777 == 0o600
    assert len(token) >= 40
    assert Login(settings).is_token(token)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonx", 415),
        ("", 415),
    ],
)
def test_bodies_are_json(door: TestClient, token: str, content_type: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}

    assert door.post("/api/v1/projects", content=b"{}", headers=headers).status_code == status


BODIES = [
    ("POST", "/api/v1/projects", 100, 200, "just fits"),
    ("POST", "/api/v1/projects", 101, 413, "one byte more"),
    ("PUT", "/api/v1/projects/x/images", 1_000, 200, "files may be larger"),
    ("PUT", "/api/v1/projects/x/images", 1_001, 413, "one byte more"),
    ("PUT", "/api/v1/images/x/file", 1_001, 413, "a replaced file"),
    ("PUT", "/api/v1/leases/x/blobs/y", 1_001, 413, "a blob"),
    ("POST", "/api/v1/projects/x/images", 101, 413, "no file route by this method"),
]


@pytest.mark.parametrize(("method", "path", "size", "status", "remark"), BODIES)
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_is_limited_whether_its_length_is_announced_or_not(
    door: TestClient, token: str, method: str, path: str, size: int, status: int, remark: str, announced: bool
) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = b"x" * size

    response = door.request(method, path, content=body if announced else iter([body[:50], body[50:]]), headers=headers)

    assert response.status_code == status, remark
    if status == 413:
        assert code_of(response) in ("request_too_large", "file_too_large")
        assert "allowed" in response.json()["detail"]


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 5_000, "abc"])
def test_a_length_that_is_no_number_is_refused(door: TestClient, token: str, length: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Content-Length": length}

    assert door.post("/api/v1/projects", content=b"{}", headers=headers).status_code == 413


@pytest.mark.parametrize("path", ["/", "/healthz", "/?token=wrong", "/api/v1/projects", "/api/v1/secret"])
@pytest.mark.parametrize("host", ["127.0.0.1:8737", "evil.example"])
def test_every_answer_carries_the_security_headers(door: TestClient, path: str, host: str) -> None:
    headers = door.get(path, headers={"Host": host}).headers

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
