"""Every error meets a status in one table, and nothing that a user sends becomes a traceback."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import anyio
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.testclient import TestClient

from recolabel import errors
from recolabel.api import problems
from recolabel.contract.projects import NewProject
from recolabel.errors import RecolabelError
from tests.backend.api.requests import assert_problem


def all_errors(base: type[RecolabelError] = RecolabelError) -> Iterator[type[RecolabelError]]:
    """Errors of the server; those of the worker's own commands, in the same process by chance, are not its concern."""
    if base.__module__.startswith("recolabel."):
        yield base
    for error in base.__subclasses__():
        yield from all_errors(error)


# Errors of the command line and of the start; no route can raise them.
NOT_FROM_ROUTES = {
    errors.RecolabelError,
    errors.PortInUse,
    errors.DataFolderInUse,
    errors.DataFolderTooNew,
    errors.UnsafeSqlite,
    errors.UnsafeBind,
    errors.ServerUnreachable,
    errors.ServerRefused,
    errors.WorkerMissing,
    errors.BenchImpossible,
}


@pytest.fixture
def http() -> Iterator[TestClient]:
    app = FastAPI()
    problems.install(app)
    app.add_middleware(problems.LastResort)
    by_code = {errors.code_of(error): error for error in all_errors() if error is not errors.ServerRefused}

    @app.get("/raise/{code}")
    def raise_error(code: str) -> None:
        raise by_code[code]

    @app.get("/bug")
    def fail_unexpectedly() -> None:
        raise ZeroDivisionError("a secret detail")

    @app.get("/disk/{number}")
    def meet_the_disk(number: int) -> None:
        raise OSError(number, "a secret detail")

    @app.get("/endless")
    def write_until_the_reader_leaves() -> StreamingResponse:
        def pieces() -> Iterator[str]:
            yield "a"
            raise anyio.BrokenResourceError

        return StreamingResponse(pieces())

    @app.post("/projects")
    def create(new: NewProject) -> str:
        return new.name

    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("error", set(all_errors()) - NOT_FROM_ROUTES, ids=errors.code_of)
def test_every_error_of_a_route_has_a_status_and_says_its_sentence(
    http: TestClient, error: type[RecolabelError]
) -> None:
    answer = http.get(f"/raise/{errors.code_of(error)}")

    assert problems.status_of(error) != 500
    assert_problem(answer, problems.status_of(error), errors.code_of(error), error().sentence)


def test_a_busy_server_says_when_to_come_back(http: TestClient) -> None:
    assert http.get("/raise/busy").headers["retry-after"] == "1"


def test_a_bug_is_answered_with_an_id_that_stands_in_the_log(
    http: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = http.get("/bug")

    request_id = answer.headers["x-request-id"]
    assert_problem(answer, 500, "internal_error", request_id)
    assert "secret" not in answer.text
    logged = capsys.readouterr()
    assert request_id in logged.out + logged.err
    assert "ZeroDivisionError" in logged.out + logged.err


def test_a_full_disk_is_told_wherever_it_shows(http: TestClient) -> None:
    assert_problem(http.get(f"/disk/{errno.ENOSPC}"), 507, "storage_full", "Free some space")
    assert_problem(http.get(f"/disk/{errno.EPERM}"), 500, "internal_error")


def test_a_reader_who_leaves_an_endless_answer_is_no_fault(
    http: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert http.get("/endless").text == "a"

    logged = capsys.readouterr()
    assert "unexpectedly" not in logged.out + logged.err


BAD_BODIES = [
    (b"", "The body is missing."),
    (b"{", "not valid JSON"),
    (b"[]", "The body"),
    (b'{"classes": [{"name": "road"}]}', "Field `name` is missing."),
    (
        b'{"name": "x", "classes": [{"name": "a"}, {"name": ""}]}',
        "Field `classes[1].name`: string should have at least",
    ),
    (b'{"name": "x", "classes": [{"name": "a"}], "owner": 1}', "Field `owner` is not known here."),
    (b'{"name": "x", "classes": []}', "Field `classes`: list should have at least 1 item"),
    (b'{"name": "x", "classes": [{"name": "a"}, {"name": "A"}]}', "the class 'A' stands twice in the list"),
    (b'{"name": "\\ud800", "classes": [{"name": "a"}]}', "name"),
    (b'{"name": "x\\u0000", "classes": [{"name": "a"}]}', "Field `name`: the name has characters that cannot be shown"),
    (b'{"name": "x", "classes": [{"name": "a\\nb"}]}', "Field `classes[0].name`: the name has characters"),
    (b'{"name": NaN, "classes": [{"name": "a"}]}', "name"),
    (b"[" * 100_000, "JSON"),
    (b"\xff\xfe", "JSON"),
]


@pytest.mark.parametrize(("body", "words"), BAD_BODIES, ids=lambda value: repr(value)[:40])
def test_a_bad_body_gets_a_sentence_that_names_the_field(http: TestClient, body: bytes, words: str) -> None:
    answer = http.post("/projects", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code in (400, 422)
    assert answer.json()["code"] in ("invalid_request", "unreadable_body")
    assert words in answer.json()["detail"]


def test_addresses_and_methods_that_are_unknown_are_problems_too(http: TestClient) -> None:
    assert_problem(http.get("/nothing"), 404, "not_found")
    assert_problem(http.delete("/projects"), 405, "method_not_allowed")
