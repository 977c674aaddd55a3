"""The description of the HTTP interface as a page that works without the internet."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic.json_schema import models_json_schema

from recolabel.api.examples import EXAMPLES
from recolabel.api.problems import PROBLEM_JSON, Problem
from recolabel.contract.updates import Update
from recolabel.errors import NotFound

_FOLDER = Path(__file__).parent / "reference"
_FILES = {
    "reference.css": "text/css; charset=utf-8",
    "reference.js": "text/javascript; charset=utf-8",
}

router = APIRouter(include_in_schema=False)


@router.get("/api/docs")
def get_reference() -> Response:
    """The page."""
    return FileResponse(_FOLDER / "index.html", media_type="text/html; charset=utf-8")


@router.get("/api/docs/{name}")
def get_reference_file(name: str) -> Response:
    """Its script and its style."""
    if name not in _FILES:
        raise NotFound("There is no such file here.")
    return FileResponse(_FOLDER / name, media_type=_FILES[name], headers={"Cache-Control": "no-cache"})


@router.get("/api/openapi.json")
def get_openapi(request: Request) -> Response:
    """The description for machines."""
    return JSONResponse(describe(request.app))


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the app, corrected where FastAPI tells it otherwise than it is.

    Every refusal is a problem document, every JSON body has an example, the token is asked for, and the feed's entries
    have a shape as well.
    """
    document = copy.deepcopy(app.openapi())
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _, more = models_json_schema(
        [(Problem, "serialization"), (Update, "serialization")], ref_template="#/components/schemas/{model}"
    )
    document["components"]["schemas"] = dict(sorted((more["$defs"] | schemas).items()))
    for name, example in EXAMPLES.items():
        document["components"]["schemas"][name]["examples"] = [example]
    refusal = {
        "description": "A refusal: what is wrong and what to do next.",
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for path, item in document["paths"].items():
        for operation in item.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = refusal
            if path.startswith("/api/"):
                operation["security"] = [{"token": []}]
    document["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "The text of the data folder's token file."}
    }
    return document
