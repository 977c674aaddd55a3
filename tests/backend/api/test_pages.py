"""What a browser gets that is not JSON: the app, the reference page, the readiness of the server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from recolabel.api import docs, openapi, ui
from recolabel.api import images as api_images
from recolabel.api.examples import EXAMPLES
from recolabel.contract import images, jobs, labels, model_versions, projects, questions
from tests.backend.api.requests import API, assert_problem

PAGE = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>app</title>")
    (folder / "assets" / "index-abc123.js").write_text("export {};")
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "secret.py").write_text("no page")
    (tmp_path / "token").write_text("secret")
    monkeypatch.setattr(ui, "STATIC", folder)
    return folder


@pytest.mark.parametrize("path", ["/", "/index.html", "/projects/1/annotate/2", "/models"])
def test_every_page_of_the_app_is_the_app(http: TestClient, built: Path, path: str) -> None:
    answer = http.get(path, headers=PAGE)

    assert answer.status_code == 200
    assert "<title>app</title>" in answer.text
    assert answer.headers["cache-control"] == "no-cache"


def test_files_with_a_hash_in_their_name_are_kept_forever(http: TestClient, built: Path) -> None:
    script = http.get("/assets/index-abc123.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "immutable" in script.headers["cache-control"]

    assert http.get("/icon.svg").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/gone.js",
        "/secret.py",
        "/../token",
        "/%2e%2e/token",
        "/..%2ftoken",
        "/assets/..%2f..%2ftoken",
        "/assets//etc/passwd",
        "/static../token",
        "//etc/passwd",
    ],
)
def test_no_address_leads_out_of_the_app(http: TestClient, built: Path, path: str) -> None:
    answer = http.get(path)

    assert_problem(answer, 404, "not_found")


def test_an_app_that_is_not_built_says_how(http: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "STATIC", tmp_path / "nothing")

    assert "make ui" in http.get("/", headers=PAGE).text


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v2/projects", f"{API}/nothing", f"{API}/projects/"])
def test_an_unknown_api_address_is_a_problem_and_no_page(http: TestClient, built: Path, path: str) -> None:
    assert_problem(http.get(path, headers=PAGE), 404, "not_found")


def test_the_server_says_that_it_is_ready_without_a_token(http: TestClient) -> None:
    answer = http.get("/healthz", headers={"Authorization": ""})

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_who_am_i(http: TestClient) -> None:
    assert http.get(f"{API}/users/me").json() == {"user_id": "local", "name": "local"}


def test_the_reference_page_needs_nothing_from_elsewhere_and_no_inline_code(http: TestClient) -> None:
    page = http.get("/api/docs")

    assert page.headers["content-type"].startswith("text/html")
    files = re.findall(r'(?:src|href)="(/api/docs/[^"]+)"', page.text)
    assert len(files) == 2
    for text in [page.text, *(http.get(file).text for file in files)]:
        assert not re.search(r"https?://|style=|onclick|innerHTML", text)
    assert_problem(http.get("/api/docs/..%2fguard.py"), 404, "not_found")
    assert docs.__doc__


def test_the_description_on_disk_is_the_one_of_this_code(http: TestClient) -> None:
    on_disk = (Path(__file__).parents[3] / "backend" / "openapi.json").read_text("utf-8")

    assert on_disk == openapi.document(), "run: make contract"
    assert http.get("/api/openapi.json").json() == json.loads(on_disk)


def test_every_operation_is_described_and_no_id_stands_twice() -> None:
    paths = json.loads(openapi.document())["paths"]
    operations = [operation for item in paths.values() for operation in item.values()]

    assert all(operation["description"] and operation["tags"] for operation in operations)
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))


def test_every_json_body_has_an_example_that_the_server_would_take(http: TestClient) -> None:
    paths = http.get("/api/openapi.json").json()["paths"]
    bodies = {
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        for item in paths.values()
        for operation in item.values()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    contract = {
        kind.__name__: kind
        for module in (projects, images, labels, questions, jobs, model_versions, api_images)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, projects.Contract)
    }

    assert bodies == set(EXAMPLES)
    for name, example in EXAMPLES.items():
        contract[name].model_validate_json(json.dumps(example))
