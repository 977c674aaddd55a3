"""The description of the HTTP interface as a page that works without the internet."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

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
    return JSONResponse(request.app.openapi())
