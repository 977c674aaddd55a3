"""Files of strangers -> canonical pixels. Decoding happens in a child process with hard limits, never in the server.

The canonical pixels of a file are 8-bit RGB or grey, defined so:

* the first frame, turned as EXIF says;
* 16 bits a channel: the full range 0..65535 is scaled to 0..255, whatever part of it is used;
* a palette is expanded; alpha and transparent colours are laid over white; CMYK, YCbCr and 1-bit become RGB or grey;
* an embedded ICC profile is not applied;
* floating point, 32-bit integers and Lab have no defined colours here and are refused.

A file's own bytes serve as canonical file when a browser and Pillow read the same pixels from them; otherwise a PNG
is made. `python -m recolabel.imaging` is the child: it imports Pillow, the server does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from recolabel import errors

if TYPE_CHECKING:
    from PIL import Image

    from recolabel.settings import Settings  # at run time this import would triple the start of each child

THUMBNAIL_SIDE = 256
MAX_NAME_BYTES = 255

_MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
}
_ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
}
IMAGE_ENDINGS = tuple(ending for endings in _ENDINGS.values() for ending in endings)
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DAMAGED = "The file is damaged or ends too early."
_FILES_PER_CHILD = 1000
"""A child that has read so many files makes room for a fresh one, so nothing can pile up in it."""
_CHILDREN = 2


@dataclass(frozen=True)
class DecodedImage:
    """What the server keeps of an uploaded file."""

    width: int
    height: int
    sha256: str
    """Of the ASCII text `{width}x{height}:` followed by the canonical pixels as RGB bytes, row by row."""
    canonical: bytes | None
    """The canonical file; None when it is the original file itself."""
    canonical_media_type: str
    thumbnail: bytes
    """JPEG of at most 256 pixels a side."""
    original_media_type: str


def check_name(name: str) -> None:
    """Refuse names that could not be shown, or could be meant to escape a folder.

    Sub-folders (`day 1/a.jpg`), emoji and all scripts are welcome: a name is data and never becomes a path.

    Raises:
        BadName: with what to change.
    """
    if not name.strip():
        raise errors.BadName("The file has no name.")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise errors.BadName(f"The name is longer than {MAX_NAME_BYTES} bytes. Shorten it and add the file again.")
    if any(ord(letter) < 32 or ord(letter) == 127 or 0xD800 <= ord(letter) < 0xE000 for letter in name):
        raise errors.BadName("The name has characters that cannot be shown. Rename the file and add it again.")
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or not parts[0] or (len(parts[0]) == 2 and parts[0][1] == ":"):
        raise errors.BadName("The name points out of its folder. Give the bare file name.")


def format_of(head: bytes, name: str) -> str:
    """The format that a file's first bytes say, if the name agrees.

    Args:
        head: at least the first 12 bytes.
        name: as the user gave it; one without an ending agrees with everything.

    Raises:
        NotAnImage: no format that we read.
        BadName: the name's ending says another format than the content.
    """
    kind = _format_by_content(head)
    if kind is None:
        raise errors.NotAnImage()
    ending = Path(name).suffix.lower()
    if ending and ending not in _ENDINGS[kind]:
        raise errors.BadName(
            f"The content is {kind}, but the name ends in {ending}. Rename it to {_ENDINGS[kind][0]} and add it again."
        )
    return kind


def _format_by_content(head: bytes) -> str | None:
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(_TIFF_STARTS):
        return "TIFF"
    if head.startswith(b"BM"):
        return "BMP"
    return None


# --- the server's side ----------------------------------------------------------------------------------------


class Decoder:
    """Decodes files in child processes; may be shared by threads. Children start when first needed."""

    def __init__(self, settings: Settings, *, command: Sequence[str] | None = None) -> None:
        """
        Args:
            settings: the limits.
            command: starts the child; tests pass one that misbehaves.
        """
        self._settings = settings
        limits = {
            "max_pixels": settings.max_pixels,
            "max_side": settings.max_side,
            "memory_bytes": settings.decode_memory_bytes,
            "seconds": settings.decode_seconds,
        }
        # -P: the current folder is no place to import from
        self._command = [*(command or (sys.executable, "-P", "-m", "recolabel.imaging")), json.dumps(limits)]
        self._closed = False
        # The last one given back is taken first, so one client at a time needs one child only.
        self._slots: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(_CHILDREN):
            self._slots.put(None)

    def decode(self, source: Path | bytes, name: str) -> DecodedImage:
        """Read one file.

        Args:
            source: the file, or its bytes.
            name: as the user gave it.

        Raises:
            ImageRefused: one of its subclasses says why. The next file is not affected.
        """
        check_name(name)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size == 0:
            raise errors.ImageEmpty()
        if size > self._settings.max_file_bytes:
            raise errors.FileTooLarge(f"The file has more than {self._settings.max_file_bytes:,} bytes.")
        format_of(_head(source), name)

        child = self._slots.get()
        keep: _Child | None = None
        try:
            if child is None or not child.is_usable():
                if child is not None:
                    child.stop()
                child = _Child(self._command, self._settings.decode_seconds)
            answer, keep = child.decode(source), child
        except errors.ImageRefused:
            keep = child if child is not None and child.is_usable() else None
            raise
        finally:
            if child is not None and (keep is None or self._closed):
                child.stop()
                keep = None
            self._slots.put(keep)
        return answer

    def close(self) -> None:
        """End the children. Files that are being read are finished first."""
        self._closed = True
        for _ in range(_CHILDREN):
            child = self._slots.get()
            if child is not None:
                child.stop()
        for _ in range(_CHILDREN):
            self._slots.put(None)

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Child:
    """One decoding process. Used by one thread at a time."""

    def __init__(self, command: Sequence[str], seconds: float) -> None:
        self._seconds = seconds
        self._files_left = _FILES_PER_CHILD
        self._broken = False
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECOLABEL_")}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/" if os.name == "posix" else None,
            env=environment,
        )
        with self._deadline(max(seconds, 20.0)):
            ready = self._stdout.readline()
        if ready != b"ready\n":
            self.stop()
            raise RuntimeError(f"The image decoder cannot start: {' '.join(command)}")

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def is_usable(self) -> bool:
        return not self._broken and self._files_left > 0 and self._process.poll() is None

    def decode(self, source: Path | bytes) -> DecodedImage:
        self._files_left -= 1
        self._broken = True  # until the whole answer is here
        order = {"size": len(source)} if isinstance(source, bytes) else {"path": str(source.absolute())}
        try:
            with self._deadline(self._seconds):
                self._stdin.write(json.dumps(order).encode() + b"\n")
                if isinstance(source, bytes):
                    self._stdin.write(source)
                self._stdin.flush()
                answer = json.loads(self._stdout.readline())
                if "error" in answer:
                    self._broken = bool(answer["ends"])
                    raise _refusal(answer)
                sizes = answer.pop("canonical_bytes"), answer.pop("thumbnail_bytes")
                canonical, thumbnail = self._read(sizes[0]), self._read(sizes[1])
        except (OSError, ValueError) as error:  # ValueError: an answer cut short is no JSON
            raise errors.ImageDamaged("The file could not be decoded within the limits of time and memory.") from error
        self._broken = False
        return DecodedImage(**answer, canonical=canonical or None, thumbnail=thumbnail)

    def _read(self, size: int) -> bytes:
        content = self._stdout.read(size)
        if len(content) != size:
            raise EOFError
        return content

    @contextlib.contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        """Kill the child when the time is over: every blocked read and write then ends."""
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # a kill that was just under way has happened now and is seen by `is_usable`

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()


def _head(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:16]
    with source.open("rb") as file:
        return file.read(16)


def _refusal(answer: dict[str, Any]) -> errors.ImageRefused:
    kinds = {
        kind.__name__: kind
        for kind in (errors.NotAnImage, errors.ImageDamaged, errors.ImageTooLarge, errors.ImageUnsupported)
    }
    return kinds.get(str(answer["error"]), errors.ImageDamaged)(str(answer["message"]))


# --- the child's side -----------------------------------------------------------------------------------------


def decode_bytes(content: bytes, *, max_pixels: int, max_side: int) -> DecodedImage:
    """Decode in this very process. Only the child, and tools of people who read their own files, call it.

    Raises:
        ImageRefused: one of its subclasses says why.
    """
    from PIL import Image

    kind = _format_by_content(content[:16])
    if kind is None:
        raise errors.NotAnImage()
    try:
        Image.MAX_IMAGE_PIXELS = None  # the header is judged below, with a better sentence
        with Image.open(io.BytesIO(content), formats=[kind]) as image:
            _check_size(image.size, max_pixels, max_side)
            Image.MAX_IMAGE_PIXELS = max_pixels
            return _canonical(image, kind, content)
    except (errors.ImageRefused, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise errors.ImageTooLarge() from error
    except Exception as error:  # Pillow meets damaged files with almost any exception
        raise errors.ImageDamaged(_DAMAGED) from error


def _check_size(size: tuple[int, int], max_pixels: int, max_side: int) -> None:
    width, height = size
    if width * height > max_pixels or max(width, height) > max_side:
        raise errors.ImageTooLarge(
            f"The image has {width:,} x {height:,} pixels; "
            f"{max_pixels:,} pixels and {max_side:,} a side are allowed. Make it smaller or cut it into tiles."
        )


def _canonical(image: Image.Image, kind: str, content: bytes) -> DecodedImage:
    image.load()
    turn, exif_is_plain = _turn_of(image)  # after loading: Pillow turns TIFF by itself and then says so
    plain = (
        kind in ("JPEG", "PNG", "WEBP")
        and image.mode in ("RGB", "L")
        and "transparency" not in image.info
        and turn is None
        and exif_is_plain
        and not (kind == "PNG" and content[24] != 8)  # bits a channel
        # A phone's JPEG may hold a second picture, but no browser plays it; PNG and WebP are played.
        and not (kind != "JPEG" and getattr(image, "n_frames", 1) > 1)
    )
    pixels = _as_rgb_or_grey(image)
    if turn is not None:
        pixels = pixels.transpose(turn)
    canonical = None
    if not plain:
        file = io.BytesIO()
        pixels.save(file, "PNG", compress_level=1)
        canonical = file.getvalue()
    width, height = pixels.size
    return DecodedImage(
        width=width,
        height=height,
        sha256=_sha256_of_pixels(pixels),
        canonical=canonical,
        canonical_media_type=_MEDIA_TYPES[kind if plain else "PNG"],
        thumbnail=_thumbnail(pixels),
        original_media_type=_MEDIA_TYPES[kind],
    )


def _turn_of(image: Image.Image) -> tuple[Image.Transpose | None, bool]:
    """How EXIF says to turn the picture (None: not at all), and whether a browser reads the same from it."""
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # EXIF of strangers breaks in as many ways as their pixels; without it the picture stands
        return None, False
    return turns.get(orientation), orientation in range(1, 9)


def _as_rgb_or_grey(image: Image.Image) -> Image.Image:
    """Pixels as RGB or L, by the rules at the head of this file."""
    from PIL import Image

    mode = image.mode
    if mode.startswith("I;16"):
        # + 0.5: the scaled value is cut, not rounded
        return image.convert("I").point(lambda value: value * (255 / 65535) + 0.5).convert("L")
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        if mode in ("RGBa", "La"):
            image = image.convert(mode[:-1] + "A")
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        white.alpha_composite(layer)
        return white.convert("RGB")
    if mode in ("RGB", "L"):
        return image
    if mode == "1":
        return image.convert("L")
    if mode in ("P", "CMYK", "YCbCr", "RGBX"):
        return image.convert("RGB")
    raise errors.ImageUnsupported(
        f"Pixels of the kind {mode!r} have no defined colours here. Convert the file to 8 or 16 bits a channel."
    )


def _sha256_of_pixels(pixels: Image.Image) -> str:
    width, height = pixels.size
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    for top in range(0, height, 256):  # in strips: a whole copy would double the memory
        strip = pixels.crop((0, top, width, min(height, top + 256)))
        digest.update(strip.convert("RGB").tobytes())
    return digest.hexdigest()


def _thumbnail(pixels: Image.Image) -> bytes:
    small = pixels.copy() if max(pixels.size) <= THUMBNAIL_SIDE else pixels
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def _limit_this_process(memory_bytes: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_FSIZE, 0),  # pipes are no files: it can answer, but write nothing
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # some systems know no limit of address space
            resource.setrlimit(limit, (value, value))


def _limit_cpu(seconds: float) -> None:
    """Give the next file its own share of CPU time; the wall clock stands with the parent."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    allowed = int(used.ru_utime + used.ru_stime + seconds) + 2
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or allowed <= hard:
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, hard))


def child_main(arguments: Sequence[str]) -> None:
    """Read orders from stdin until it closes; write one answer each to stdout."""
    limits = json.loads(arguments[0])
    orders = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints would spoil the answers
    import warnings

    from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    assert all((BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin))
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    _limit_this_process(int(limits["memory_bytes"]))
    answers.write(b"ready\n")
    answers.flush()
    while line := orders.readline():
        order = json.loads(line)
        _limit_cpu(float(limits["seconds"]))
        ends = False
        try:
            content = Path(order["path"]).read_bytes() if "path" in order else orders.read(order["size"])
            image = decode_bytes(content, max_pixels=int(limits["max_pixels"]), max_side=int(limits["max_side"]))
        except errors.ImageRefused as refused:
            answer = {"error": type(refused).__name__, "message": str(refused), "ends": ends}
            bodies: tuple[bytes, ...] = ()
        except MemoryError:
            ends = True  # what is left in memory is unknown: a fresh child serves the next file
            answer = {"error": "ImageDamaged", "message": "Decoding needs more memory than is allowed.", "ends": ends}
            bodies = ()
        else:
            bodies = (image.canonical or b"", image.thumbnail)
            answer = {
                "width": image.width,
                "height": image.height,
                "sha256": image.sha256,
                "canonical_media_type": image.canonical_media_type,
                "original_media_type": image.original_media_type,
                "canonical_bytes": len(bodies[0]),
                "thumbnail_bytes": len(bodies[1]),
            }
        answers.write(json.dumps(answer).encode() + b"\n")
        for body in bodies:
            answers.write(body)
        answers.flush()
        if ends:
            return


if __name__ == "__main__":
    child_main(sys.argv[1:])
