"""The built browser app, and the page that stands in for it while it is not built."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from recolabel.errors import NotFound

STATIC = Path(__file__).parents[1] / "static"

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}

_NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><title>ReCoLabel</title>
<h1>The server runs, its pages are not built</h1>
<p>Run <code>make ui</code> in the source folder and reload this page. It needs no restart.
<p>The command line and the HTTP interface (<a href="/api/docs">its description</a>) work without it.
</html>
"""

router = APIRouter(include_in_schema=False)


@router.api_route("/{path:path}", methods=["GET", "HEAD"])
def get_page(path: str, request: Request) -> Response:
    """A file of the built app; any other address that a browser opens gets the app itself, which knows its pages."""
    if path == "api" or path.startswith("api/"):
        raise NotFound("There is no such address here.")
    file = _built_files().get(path)
    if file is not None and path != "index.html":
        # Vite puts the hash of the content into the names below assets/.
        kept = "public, max-age=31536000, immutable" if path.startswith("assets/") else "no-cache"
        return FileResponse(file, media_type=_MEDIA_TYPES[file.suffix], headers={"Cache-Control": kept})
    if path not in ("", "index.html") and "text/html" not in request.headers.get("accept", ""):
        raise NotFound("There is no such file here.")
    index = STATIC / "index.html"
    if not index.is_file():
        return HTMLResponse(_NOT_BUILT, 503 if path else 200, {"Cache-Control": "no-store"})
    return FileResponse(index, media_type=_MEDIA_TYPES[".html"], headers={"Cache-Control": "no-cache"})


def _built_files() -> dict[str, Path]:
    """Address -> file. Addresses are looked up, never joined to a folder, so none can lead out of it."""
    return {
        file.relative_to(STATIC).as_posix(): file
        for file in STATIC.rglob("*")
        if file.suffix in _MEDIA_TYPES and file.is_file() and not file.is_symlink()
    }
