"""Files by content hash: what is stored under a name can only be the bytes with that hash.

A file appears under its name whole or not at all: written beside, forced to disk, renamed, and the folder's entry
forced to disk as well. Names are made of hashes alone; nothing a user wrote ever becomes a path.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import IOBase
from pathlib import Path
from typing import BinaryIO

from recolabel.errors import BlobDamaged, BlobNotFound, StorageBroken, StorageFull

SHA256_FORM = re.compile(r"[0-9a-f]{64}")
CHUNK_BYTES = 1 << 20


class Blobs:
    """The blobs under one folder. Safe to use from many threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"

    def put_bytes(self, data: bytes, expected_sha256: str | None = None, *, lasting: bool = True) -> str:
        """Store bytes and return their sha256. On disk when this returns.

        Args:
            lasting: False: do not wait for the disk. A power cut may take the blob away or damage it, so this is for
                what can be made again; `read_whole` notices.

        Raises:
            BlobDamaged: the bytes do not have the expected hash; nothing is stored.
            StorageFull, StorageBroken: the disk says no; nothing is stored.
        """
        return self.put_stream([data], expected_sha256, lasting=lasting)

    def put_stream(
        self, source: Iterable[bytes] | BinaryIO, expected_sha256: str | None = None, *, lasting: bool = True
    ) -> str:
        """Store the chunks, or the rest of an open file, as one blob. Otherwise as `put_bytes`."""
        chunks = _chunks_of(source) if isinstance(source, IOBase) else source
        try:
            self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._incoming)
        except OSError as error:
            raise _told(error) from error
        incoming = Path(name)
        try:
            digest = hashlib.sha256()
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            sha256 = digest.hexdigest()
            if expected_sha256 is not None and sha256 != expected_sha256:
                raise BlobDamaged
            self._keep(incoming, sha256, lasting=lasting)
        except ConnectionError:
            raise  # the sender's failure, not the disk's
        except OSError as error:
            raise _told(error) from error
        finally:
            with suppress(FileNotFoundError):
                incoming.unlink()
        return sha256

    def path(self, sha256: str) -> Path:
        """Where the blob lies. Raises BlobNotFound when it does not."""
        place = self._place(sha256)
        if not place.is_file():
            raise BlobNotFound
        return place

    def open(self, sha256: str) -> BinaryIO:
        """Open the blob for reading. Raises BlobNotFound."""
        try:
            return self._place(sha256).open("rb")
        except FileNotFoundError as error:
            raise BlobNotFound from error

    def read(self, sha256: str) -> bytes:
        """Return all bytes of the blob. Raises BlobNotFound."""
        with self.open(sha256) as file:
            return file.read()

    def read_whole(self, sha256: str) -> bytes:
        """Return all bytes of the blob, looked at once more. Raises BlobNotFound, also when they are damaged."""
        data = self.read(sha256)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BlobNotFound
        return data

    def exists(self, sha256: str) -> bool:
        """Whether the blob is stored."""
        return SHA256_FORM.fullmatch(sha256) is not None and self._place(sha256).is_file()

    def size(self, sha256: str) -> int:
        """Size in bytes. Raises BlobNotFound."""
        return self.path(sha256).stat().st_size

    def stored_at(self, sha256: str) -> float:
        """When the blob was last put, in seconds since 1970. Raises BlobNotFound."""
        return self.path(sha256).stat().st_mtime

    def remove(self, sha256: str) -> None:
        """Delete the blob. Only for blobs that no row names any more; one that is gone already is no error."""
        with suppress(FileNotFoundError):
            self._place(sha256).unlink()

    def _place(self, sha256: str) -> Path:
        if SHA256_FORM.fullmatch(sha256) is None:
            raise BlobNotFound
        return self.root / sha256[:2] / sha256

    def _keep(self, incoming: Path, sha256: str, *, lasting: bool) -> None:
        place = self._place(sha256)
        if not place.parent.is_dir():
            place.parent.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(self.root)
        if not lasting and _is_of_size(place, incoming.stat().st_size):
            os.utime(place)  # what lies there may be on disk already, which the new one is not
            return
        # Renamed even when the blob is there: that renews its time, which keeps the sweep away from it.
        incoming.replace(place)
        if lasting:
            _sync_folder(place.parent)


def _chunks_of(file: IOBase) -> Iterator[bytes]:
    """Equal chunks: the file's own iterator would cut at line ends, of which a file of pixels may have none."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _is_of_size(place: Path, size: int) -> bool:
    try:
        return place.stat().st_size == size
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _told(error: OSError) -> StorageFull | StorageBroken:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull()
    return StorageBroken(f"The data folder cannot be written: {error.strerror or error}.")
