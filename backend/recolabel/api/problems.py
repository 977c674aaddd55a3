"""What went wrong, as application/problem+json: the one place where an error meets a status."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import anyio
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recolabel import errors
from recolabel.errors import RecolabelError

_log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"

STATUS: dict[type[RecolabelError], int] = {
    errors.RecolabelError: 500,
    errors.NotFound: 404,
    errors.LabelRefused: 422,
    errors.ImageReplaced: 409,
    errors.ClassRetired: 409,
    errors.EventIdTaken: 409,
    errors.ImageRefused: 422,
    errors.NotAnImage: 415,
    errors.ImageUnsupported: 415,
    errors.ImageTooLarge: 413,
    errors.FileTooLarge: 413,
    errors.MaskRefused: 422,
    errors.ClassNameTaken: 409,
    errors.ProjectNameTaken: 409,
    errors.NothingToTrain: 409,
    errors.TrainingActive: 409,
    errors.TooManyClasses: 409,
    errors.NothingToExport: 409,
    errors.LeaseLost: 409,
    errors.JobEnded: 409,
    errors.ContractMismatch: 409,
    errors.NotLoggedIn: 401,
    errors.ForeignHost: 421,
    errors.ForeignOrigin: 403,
    errors.StorageFull: 507,
    errors.StorageBroken: 503,
    errors.Busy: 503,
    errors.BlobDamaged: 422,
    errors.BadArgument: 422,
}
"""Error class -> status. A class that is not listed has the status of the nearest base class that is."""

_EXTRA_HEADERS: dict[type[RecolabelError], dict[str, str]] = {
    errors.Busy: {"Retry-After": "1"},
    errors.NotLoggedIn: {"WWW-Authenticate": "Bearer"},
}


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="a sentence for people: what is wrong, what is safe, what to do next")
    code: str = Field(description="stable, for machines, e.g. image_replaced")
    request_id: str | None = Field(default=None, description="stands in the server's log, when the fault is its own")


def status_of(error: type[RecolabelError]) -> int:
    """The status that an error is answered with."""
    return next(STATUS[base] for base in error.__mro__ if base in STATUS)


def problem(
    status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **more: object
) -> JSONResponse:
    """An answer that says what is wrong: `code` for machines, `detail` for people."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code}
    return JSONResponse(body | more, status, headers, media_type=PROBLEM_JSON)


def problem_of(error: RecolabelError) -> JSONResponse:
    """The answer to one of our own errors."""
    return problem(
        status_of(type(error)), error.code, error.sentence, headers=_EXTRA_HEADERS.get(type(error)), **_data_of(error)
    )


def _data_of(error: RecolabelError) -> dict[str, object]:
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return {"request_id": request_id} if status_of(type(error)) == 500 and request_id else {}


def install(app: FastAPI) -> None:
    """Register the handlers of everything that routes may raise."""
    app.add_exception_handler(RecolabelError, _own_error)
    app.add_exception_handler(OSError, _disk_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _gone)


def _own_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RecolabelError)
    status = status_of(type(error))
    if status >= 500:
        _log.error("request failed", code=error.code, exc_info=error if status == 500 else None)
    return problem_of(error)


def _disk_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise error
    return _own_error(request, errors.StorageFull())


def _invalid_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    sentence = sentence_of(faults[0])
    if len(faults) > 1:
        others = len(faults) - 1
        sentence += f" ({others} more {'field is' if others == 1 else 'fields are'} wrong.)"
    return problem(422, "invalid_request", f"{sentence} Nothing was changed.")


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    sentences = {
        400: ("unreadable_body", "The body of the request cannot be read as JSON."),
        404: ("not_found", "There is no such address here."),
        405: ("method_not_allowed", "This address does not know that method."),
    }
    code, detail = sentences.get(error.status_code, ("http_error", str(error.detail)))
    return problem(error.status_code, code, detail, headers=dict(error.headers or {}))


def _gone(_: Request, __: Exception) -> JSONResponse:
    return problem(400, "body_incomplete", "The connection ended before the whole body had come. Nothing was changed.")


def sentence_of(fault: dict[str, Any]) -> str:
    """One fault of pydantic's list as a sentence that names the field."""
    if fault["type"] == "json_invalid":
        return f"The body is not valid JSON: {fault.get('ctx', {}).get('error', 'it cannot be read')}."
    place = _place(fault["loc"])
    if fault["type"] == "missing":
        return f"{place} is missing."
    if fault["type"] == "extra_forbidden":
        return f"{place} is not known here."
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{place}: {message[:1].lower()}{message[1:]}."


def _place(loc: Sequence[str | int]) -> str:
    """`body, classes, 2, name` -> `classes[2].name`, after where it stands when not in the body."""
    where, *path = loc
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    names = {"body": "Field", "query": "Query parameter", "path": "Part of the address", "header": "Header"}
    return f"{names.get(str(where), 'Field')} `{text}`" if text else "The body"


def _nobody_reads(error: Exception) -> bool:
    """Whether it only says that a browser left while an endless answer was being written to it."""
    if isinstance(error, ExceptionGroup):
        return all(_nobody_reads(part) for part in error.exceptions)
    return isinstance(error, anyio.BrokenResourceError)


class LastResort:
    """Gives each request an id, and answers what nobody foresaw with that id instead of a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(6)
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, watched_send)
            except Exception as error:
                if started and _nobody_reads(error):
                    return
                _log.exception("request failed unexpectedly", method=scope["method"], path=scope["path"])
                if started:
                    raise  # the answer is on its way: cutting the connection is the only honest signal left
                answer = problem(
                    500,
                    "internal_error",
                    f"Something went wrong in the server. Its log tells more under the id {request_id}.",
                    request_id=request_id,
                )
                await answer(scope, receive, watched_send)
