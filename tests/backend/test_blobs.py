"""Files by content hash."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from recolabel.blobs import Blobs
from recolabel.errors import BlobDamaged, BlobNotFound, StorageFull


def test_a_blob_is_read_back_under_its_hash(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "objects")

    sha256 = blobs.put_stream([b"ab", b"c"])

    assert sha256 == hashlib.sha256(b"abc").hexdigest()
    assert (blobs.read(sha256), blobs.size(sha256), blobs.exists(sha256)) == (b"abc", 3, True)
    assert blobs.put_bytes(b"abc") == sha256


def test_a_blob_that_need_not_last_takes_no_place_of_one_that_does(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "objects")
    sha256 = blobs.put_bytes(b"abc")
    first = blobs.path(sha256).stat()

    blobs.put_bytes(b"abc", lasting=False)

    second = blobs.path(sha256).stat()
    assert second.st_ino == first.st_ino
    assert second.st_mtime_ns >= first.st_mtime_ns


@pytest.mark.parametrize("left", [b"", b"ab", b"xyz"], ids=["emptied", "cut off", "overwritten"])
def test_a_blob_that_a_power_cut_damaged_is_not_there_and_can_be_put_again(tmp_path: Path, left: bytes) -> None:
    blobs = Blobs(tmp_path / "objects")
    sha256 = blobs.put_bytes(b"abc", lasting=False)
    blobs.path(sha256).write_bytes(left)

    with pytest.raises(BlobNotFound):
        blobs.read_whole(sha256)

    blobs.put_bytes(b"abc")
    assert blobs.read_whole(sha256) == b"abc"


def test_bytes_with_another_hash_than_announced_leave_nothing_behind(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "objects")

    with pytest.raises(BlobDamaged):
        blobs.put_bytes(b"abc", expected_sha256="0" * 64)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_upload_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "objects")

    def breaks_off() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError

    def fills_the_disk() -> Iterator[bytes]:
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ConnectionError):
        blobs.put_stream(breaks_off())
    with pytest.raises(StorageFull):
        blobs.put_stream(fills_the_disk())

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "0" * 64])
def test_what_is_no_stored_hash_is_not_found(tmp_path: Path, name: str) -> None:
    blobs = Blobs(tmp_path / "objects")

    assert not blobs.exists(name)
    for ask in (blobs.path, blobs.open, blobs.read, blobs.size):
        with pytest.raises(BlobNotFound):
            ask(name)


def test_a_removed_blob_is_gone_and_removing_it_again_is_no_error(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "objects")
    sha256 = blobs.put_bytes(b"abc")

    blobs.remove(sha256)
    blobs.remove(sha256)

    assert not blobs.exists(sha256)
