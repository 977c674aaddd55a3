"""Copies of images and other files: kept between jobs, made again when damaged, thrown away when too many."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolabel.contract.labels import SnapshotImage
from recolabel_worker.inputs import FileCache, decode, sha256_of_pixels, within_memory
from tests.worker.exported_model import noise

A, B, C = "a" * 64, "b" * 64, "c" * 64


def fetched() -> bytes:
    return b"fetched"


def never() -> bytes:
    raise AssertionError("it lies in the cache")


def test_an_image_is_fetched_once(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "images", limit_bytes=1000)

    cache.get(A, fetched)

    assert cache.get(A, never) == b"fetched"
    assert FileCache(tmp_path / "images", limit_bytes=1000).get(A, never) == b"fetched"


def test_the_longest_unused_images_go_first(tmp_path: Path) -> None:
    roomy = FileCache(tmp_path, limit_bytes=1000)
    for age, name in enumerate((A, f"kind/{B}", f"kind/{C}")):
        roomy.get(name, lambda: bytes(10))
        os.utime(tmp_path / name, (100 + age, 100 + age))
    roomy.get(A, never)

    FileCache(tmp_path, limit_bytes=20).trim()

    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {A, C}


def test_a_cache_stays_near_its_limit_while_it_is_written(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit_bytes=160)

    for number in range(100):
        cache.put(f"{number:064}", bytes(10))

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 180
    assert cache.find(f"{99:064}") == bytes(10)


def test_a_folder_that_was_deleted_comes_again(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "images", limit_bytes=1000)
    cache.get(A, fetched)
    shutil.rmtree(tmp_path / "images")

    assert cache.find(A) is None
    assert cache.get(A, fetched) == b"fetched"
    assert cache.get(A, never) == b"fetched"


def test_a_cache_that_cannot_be_written_is_slow_and_not_broken(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    cache = FileCache(tmp_path / "file" / "images", limit_bytes=1000)

    assert cache.get(A, fetched) == b"fetched"
    cache.trim()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        b"GIF89a" + bytes(20),  # a format that the server never hands out
    ],
)
def test_what_is_no_canonical_file_is_no_image(content: bytes) -> None:
    assert decode(content, width=8, height=8) is None


def test_pixels_come_with_the_servers_name_for_them() -> None:
    file = io.BytesIO()
    Image.fromarray(noise(4, 6)).save(file, "PNG")

    pixels = decode(file.getvalue(), width=6, height=4)

    assert pixels is not None
    assert np.array_equal(pixels, noise(4, 6))
    assert sha256_of_pixels(pixels) != sha256_of_pixels(pixels.reshape(6, 4, 3))
    assert decode(file.getvalue(), width=4, height=6) is None


@pytest.mark.parametrize(
    ("limit_bytes", "count"),
    [
        (4 * 100 * 3, 3),
        (4 * 100 * 3 - 1, 2),
        (0, 1),  # one is always taken: without any, nothing could be trained
    ],
)
def test_images_are_taken_while_memory_lasts(limit_bytes: int, count: int) -> None:
    images = [
        SnapshotImage(
            image_id=f"0000000{index}-0000-0000-0000-000000000000",
            sha256=A,
            name="x",
            width=10,
            height=10,
            labelled_pixels=1,
        )
        for index in range(3)
    ]

    assert len(list(within_memory(images, limit_bytes))) == count
