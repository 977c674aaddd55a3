"""What a job works on: label maps and canonical images from the server, with copies of images kept between jobs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import random
import stat
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
_TRIMS_PER_LIMIT = 16  # a cache is trimmed when a sixteenth of what it may hold was added


class FileCache:
    """Files by name in one folder; the longest unused go when it grows too large.

    Several workers may share the folder, and threads the object: files appear whole, and one that vanishes is made
    again. So the folder may be deleted at any time. Names are our own: sha256 of something, with slashes between.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._untrimmed_bytes = 0

    def get(self, name: str, fetch: Callable[[], bytes]) -> bytes:
        """The file, from the folder or else from `fetch`."""
        content = self.find(name)
        if content is None:
            content = fetch()
            self.put(name, content)
        return content

    def find(self, name: str) -> bytes | None:
        """The file, now the most recently used, or None."""
        path = self._folder / name
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            os.utime(path)
            return content
        return None

    def put(self, name: str, content: bytes) -> None:
        """Keep a file. A cache that cannot be written is slow, not broken."""
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as file:
                try:
                    file.write(content)
                    file.close()
                    Path(file.name).replace(path)
                except OSError:
                    Path(file.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            logger.warning("Nothing can be kept in %s: %s", self._folder, error)
            return
        self._untrimmed_bytes += len(content)
        if self._untrimmed_bytes > self._limit_bytes // _TRIMS_PER_LIMIT:
            self.trim()

    def forget(self, name: str) -> None:
        """Drop a file that turned out to be damaged."""
        with contextlib.suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)

    def trim(self) -> None:
        """Delete the longest unused files until the rest fits the limit."""
        self._untrimmed_bytes = 0
        files: list[tuple[float, int, Path]] = []
        with contextlib.suppress(OSError):
            for path in self._folder.rglob("*"):
                with contextlib.suppress(OSError):
                    status = path.stat()
                    if stat.S_ISREG(status.st_mode):
                        files.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._limit_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            total -= size


def open_cache(job: Job) -> FileCache:
    """The worker's cache of images by sha256 of their pixels, trimmed to its limit."""
    cache = FileCache(job.settings.cache / "images", job.settings.cache_bytes)
    cache.trim()
    return cache


def fetch_pixels(job: Job, cache: FileCache, image: SnapshotImage) -> Pixels | None:
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


def fetch_label_map(
    job: Job, image: SnapshotImage, *, label_seq: int | None = None, class_uids: Sequence[str] | None = None
) -> Pixels:
    """Labels of an image: (H, W) class indices, 254 void, 255 unlabelled; without held-out clicks.

    Args:
        label_seq: log position; the job's when left out.
        class_uids: class index -> class; the job's when left out.

    Raises:
        ServerRefused: with `label_seq`, `image_not_found` or `image_replaced` when the image is another by now.
    """
    expected = None if label_seq is None else image.sha256
    content = job.ask(
        lambda client, job_id, fence: client.label_map(
            job_id, fence, image.image_id, label_seq=label_seq, class_uids=class_uids, image_sha256=expected
        )
    )
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
