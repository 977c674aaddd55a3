"""What handlers ask for: the store, the user, the lease, the body of a file route."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import anyio.to_thread
from fastapi import Depends, Header, Path, Request

from recolabel.blobs import Blobs
from recolabel.contract.projects import Id
from recolabel.contract.users import User
from recolabel.errors import StorageFull
from recolabel.settings import Settings
from recolabel.store import Store

if TYPE_CHECKING:
    from recolabel.api.feed import Feed
    from recolabel.doorbell import Doorbell
    from recolabel.imaging import Decoder

FENCE_HEADER = "X-Recolabel-Fence"

_UPLOAD = "upload-"
_PIECE_BYTES = 1024 * 1024
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Parts(NamedTuple):
    """Everything that lives as long as the server; `create_app` puts it together."""

    settings: Settings
    store: Store
    blobs: Blobs
    decoder: Decoder
    feed: Feed
    doorbell: Doorbell


def get_parts(request: Request) -> Parts:
    """The parts of the running server."""
    return cast(Parts, request.app.state.parts)


PartsDep = Annotated[Parts, Depends(get_parts)]


def get_store(parts: PartsDep) -> Store:
    """The store of the running server."""
    return parts.store


def get_blobs(parts: PartsDep) -> Blobs:
    """The files of the running server."""
    return parts.blobs


def get_user() -> User:
    """The person behind the token, which the guard has checked. A data folder on a laptop knows one."""
    return User(user_id="local", name="local")


StoreDep = Annotated[Store, Depends(get_store)]
BlobsDep = Annotated[Blobs, Depends(get_blobs)]
UserDep = Annotated[User, Depends(get_user)]

ProjectId = Annotated[Id, Path()]
ImageId = Annotated[Id, Path()]
JobId = Annotated[Id, Path()]
ClassUid = Annotated[Id, Path()]
MapId = Annotated[Id, Path()]
Version = Annotated[int, Path(ge=1, lt=2**31)]
Fence = Annotated[int, Header(alias=FENCE_HEADER, ge=1, lt=2**31, description="of the lease, as the claim gave it")]


def existing_project(project_id: ProjectId, store: StoreDep) -> str:
    """A project that is there: asked before a body is read that nobody could use."""
    return store.projects.get(project_id).project_id


def existing_image(image_id: ImageId, store: StoreDep) -> str:
    """An image that is there: asked before a body is read that nobody could use."""
    return store.images.get(image_id).image_id


ExistingProject = Annotated[str, Depends(existing_project)]
ExistingImage = Annotated[str, Depends(existing_image)]


def held_lease(job_id: JobId, fence: Fence, store: StoreDep) -> str:
    """The job that the caller holds. A worker that moves files is alive, so its lease is renewed by that."""
    store.jobs.renew(job_id, fence, None, datetime.now(UTC))
    return job_id


HeldJob = Annotated[str, Depends(held_lease)]


def prepare_run_folder(settings: Settings) -> None:
    """Make the folder for things that do not outlive a server, without the uploads of one that was killed."""
    settings.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left_over in settings.run.glob(f"{_UPLOAD}*"):
        left_over.unlink(missing_ok=True)


async def received_file(request: Request, parts: PartsDep) -> AsyncIterator[FilePath]:
    """The raw body as a temporary file in the data folder, gone when the request ends.

    Raises:
        StorageFull: the disk has less room than the floor and the announced length.
    """
    settings = parts.settings
    announced = int(request.headers.get("content-length", 0))
    if shutil.disk_usage(settings.run).free < settings.free_disk_floor_bytes + announced:
        raise StorageFull
    # Closed by hand: the writes run in threads, so that a slow disk does not hold up everybody else.
    file = tempfile.NamedTemporaryFile(dir=settings.run, prefix=_UPLOAD)  # noqa: SIM115
    try:
        piece = bytearray()
        async for chunk in request.stream():
            piece += chunk
            if len(piece) >= _PIECE_BYTES:
                await anyio.to_thread.run_sync(file.write, bytes(piece))
                piece.clear()
        file.write(piece)
        file.flush()
        yield FilePath(file.name)
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise StorageFull from error
        raise
    finally:
        file.close()


ReceivedFile = Annotated[FilePath, Depends(received_file)]
