"""What a job works on: label maps and canonical images from the server, with copies of images kept between jobs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from recolabel.contract.labels import SnapshotImage
from recolabel.errors import ServerRefused
from recolabel_worker.job import Job

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]

# The server has decoded these files within limits of its own, and `decode` compares sizes before it decodes.
Image.MAX_IMAGE_PIXELS = None

_CANONICAL_FORMATS = ("JPEG", "PNG", "WEBP")


class ImageCache:
    """Files by the sha256 of the pixels they hold, in one folder; the longest unused go when it grows too large.

    Several workers may share the folder: files appear whole, and one that vanishes is fetched again.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def get(self, sha256: str, fetch: Callable[[], bytes]) -> bytes:
        """The file, from the folder or else from `fetch`."""
        path = self._path(sha256)
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            os.utime(path)
            return content
        content = fetch()
        self._put(path, content)
        return content

    def forget(self, sha256: str) -> None:
        """Drop a copy that turned out to be damaged."""
        self._path(sha256).unlink(missing_ok=True)

    def trim(self) -> None:
        """Delete the longest unused files until the rest fits the limit."""
        files: list[tuple[float, int, Path]] = []
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                with contextlib.suppress(OSError):
                    status = path.stat()
                    files.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._limit_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _path(self, sha256: str) -> Path:
        assert len(sha256) == 64
        return self._folder / sha256

    def _put(self, path: Path, content: bytes) -> None:
        """A cache that cannot be written is slow, not broken."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".part-", delete=False) as file:
                try:
                    file.write(content)
                    file.close()
                    Path(file.name).replace(path)
                except OSError:
                    Path(file.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            logger.warning("Images cannot be kept in %s: %s", self._folder, error)


def open_cache(job: Job) -> ImageCache:
    """The worker's cache of images, trimmed to its limit."""
    cache = ImageCache(job.settings.cache / "images", job.settings.cache_bytes)
    cache.trim()
    return cache


def fetch_pixels(job: Job, cache: ImageCache, image: SnapshotImage) -> Pixels | None:
    """The canonical pixels (H, W, 3) RGB of an image, or None when it was removed or replaced since the snapshot."""

    def fetch() -> bytes:
        return job.ask(lambda client, _job_id, _fence: client.image_file(image.image_id))

    try:
        for _ in range(2):
            pixels = decode(cache.get(image.sha256, fetch), width=image.width, height=image.height)
            if pixels is not None and sha256_of_pixels(pixels) == image.sha256:
                return pixels
            cache.forget(image.sha256)
        # Another build of the JPEG decoder may give other pixels; then the server's word decides.
        now = job.ask(lambda client, *_: client.image(image.image_id))
    except ServerRefused as refusal:
        if refusal.problem_code == "image_not_found":
            return None
        raise
    return pixels if now.sha256 == image.sha256 else None


def decode(content: bytes, *, width: int, height: int) -> Pixels | None:
    """Decode a canonical file to (H, W, 3) RGB; None when it is damaged or has another size."""
    try:
        with Image.open(io.BytesIO(content), formats=_CANONICAL_FORMATS) as image:
            if image.size != (width, height):
                return None
            return np.array(image.convert("RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return None


def sha256_of_pixels(pixels: Pixels) -> str:
    """The server's name for canonical pixels: sha256 of `WxH:` and the RGB bytes."""
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def fetch_label_map(job: Job, image: SnapshotImage) -> Pixels:
    """Labels of an image at the job's log position: (H, W) class indices, 254 void, 255 unlabelled."""
    content = job.ask(lambda client, job_id, fence: client.label_map(job_id, fence, image.image_id))
    with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
        assert picture.mode in ("P", "L")
        assert picture.size == (image.width, image.height)
        return np.array(picture, dtype=np.uint8)


def within_memory(images: Sequence[SnapshotImage], limit_bytes: int) -> Iterator[SnapshotImage]:
    """The images from the front that fit into so many bytes when decoded; always at least one."""
    used = 0
    for index, image in enumerate(images):
        used += 4 * image.width * image.height  # RGB and the label map
        if index and used > limit_bytes:
            return
        yield image


def shuffled(images: Sequence[SnapshotImage], seed: int) -> list[SnapshotImage]:
    """The images in an order that depends on the seed and on nothing else."""
    ordered = sorted(images, key=lambda image: image.image_id)
    random.Random(seed).shuffle(ordered)
    return ordered
