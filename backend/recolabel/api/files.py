"""Answers that are files: stored blobs and the small ones made on the way."""

from __future__ import annotations

import gzip
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import FileResponse, Response

from recolabel.blobs import Blobs

FOREVER = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"

PLANE_ANSWER: dict[int | str, dict[str, object]] = {
    200: {
        "description": "height * width bytes, row by row.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
"""How the API's description words what `plane_answer` sends."""

# What a user uploaded is never a page, whatever its bytes look like.
_INERT = {"Content-Security-Policy": "default-src 'none'; sandbox"}


def blob_answer(
    request: Request,
    blobs: Blobs,
    sha256: str,
    media_type: str,
    *,
    version: str | None = None,
    download_name: str | None = None,
) -> Response:
    """A stored file. Its hash is the ETag; a URL that names its version as `?v=` may be kept forever.

    Args:
        version: what `?v=` has to say; the file's own hash when left out.

    Raises:
        BlobNotFound: it is not on disk.
    """
    etag = f'"{sha256}"'
    headers = _INERT | {
        "ETag": etag,
        "Cache-Control": FOREVER if request.query_params.get("v") == (version or sha256) else ASK_AGAIN,
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    path = blobs.path(sha256)
    if download_name is not None:
        headers["Content-Disposition"] = attachment(download_name)
    return FileResponse(path, headers=headers, media_type=media_type)


def plane_answer(request: Request, blobs: Blobs, sha256: str, *, keep: bool = True) -> Response:
    """A raw plane of a map, packed on the way. A map never changes, so it may be kept forever.

    Args:
        keep: False: the address does not name the map, so what is behind it may change.

    Raises:
        BlobNotFound: it is not on disk.
    """
    content = blobs.read_whole(sha256)
    headers = _INERT | {"Cache-Control": FOREVER if keep else ASK_AGAIN, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        content = gzip.compress(content, compresslevel=1, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type="application/octet-stream")


def attachment(name: str) -> str:
    """A Content-Disposition header for any name (RFC 6266): path parts and control characters are left out."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(letter for letter in last if letter.isprintable()) or "file"
    plain = "".join(letter if letter.isascii() and letter not in '"\\%;' else "_" for letter in clean)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(clean, safe='')}"
