"""Folders and ZIP files: safe file names for stored image names, masks beside images, the mask ZIP.

An image's name is whatever its owner called it; it never becomes a path. What is written gets a name made here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import mimetypes
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from recolabel.formats.indexed_png import classes_txt, labelmap_txt

MAX_FILE_NAME_BYTES = 180
"""Leaves room for what file systems and archivers append; most allow 255."""

_UNLISTED_PICTURES = (".dib", ".heic", ".jfif", ".webp")
"""Not every system's list of media types has them."""

NAMES_FILE = "names.csv"
_NAMES_HEAD = ("mask", "image")

_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]')
_BOM_AND_DIRECTION = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class FileNames:
    """Hands out file names, each once in this folder - also where upper and lower case are the same."""

    def __init__(self, ending: str) -> None:
        """
        Args:
            ending: of every name, with its dot.
        """
        self._ending = ending
        self._taken: set[str] = set()

    def name_for(self, image_name: str) -> str:
        """A file name for an image: `a.jpg` -> `a.png`, `day 1/a.jpg` -> `day 1_a.png`, a second `a.x` -> `a-2.png`."""
        stem = safe_stem(image_name)
        candidate, count = stem, 1
        while _folded(candidate) in self._taken:
            count += 1
            candidate = f"{stem}-{count}"
        self._taken.add(_folded(candidate))
        return candidate + self._ending


def safe_stem(image_name: str) -> str:
    """A stored image name without its ending, made harmless: no path, no device, no hidden file, not too long."""
    name = unicodedata.normalize("NFC", image_name)
    name = _BOM_AND_DIRECTION.sub("", name).replace("\\", "/").strip("/ ")
    name = "/".join(part for part in name.split("/") if part not in ("", ".", ".."))
    head, dot, tail = name.rpartition(".")
    stem = head if dot and head and "/" not in tail else name
    stem = _FORBIDDEN.sub("_", stem).strip(" ").rstrip(".")
    if not stem:
        return "image"
    if stem.startswith(".") or stem.split(".")[0].strip().casefold() in _DEVICES:
        stem = f"_{stem.lstrip('.')}"
    encoded = stem.encode()
    if len(encoded) > MAX_FILE_NAME_BYTES:
        mark = hashlib.sha256(encoded).hexdigest()[:8]  # two long names may share their beginning
        stem = encoded[: MAX_FILE_NAME_BYTES - 9].decode(errors="ignore").rstrip(" .") + f"-{mark}"
    return stem


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


# --- images and masks in folders ------------------------------------------------------------------------------


@dataclass(frozen=True)
class FoundFile:
    """A file below a folder that is to be imported."""

    path: Path
    name: str
    """Path below the folder with forward slashes: what the image will be called."""


def may_be_picture(name: str) -> bool:
    """Whether a file's ending is that of some picture, also of a kind that we do not read; true without an ending."""
    ending = PurePosixPath(name).suffix.lower()
    kind = mimetypes.guess_type(f"x{ending}")[0] or ""
    return not ending or ending in _UNLISTED_PICTURES or kind.startswith("image/")


def files_in(folder: Path) -> list[FoundFile]:
    """Every file below a folder but hidden ones, in the order that people count in (2 before 10)."""
    found: list[FoundFile] = []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):
            found.append(FoundFile(path, inside.as_posix()))
    return sorted(found, key=lambda file: _counting_order(file.name))


def _counting_order(name: str) -> list[tuple[int, int, str]]:
    pieces = re.split(r"(\d+)", name)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.casefold()) for piece in pieces if piece]


def pair_masks(
    image_names: Iterable[str], mask_names: Iterable[str], written_for: Mapping[str, str] | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    """Find the mask of each image: `a.jpg` and `a.png`, `day 1/a.jpg` and `day 1/a.png`, or the name of `safe_stem`.

    Args:
        written_for: mask name -> name of its image, from the `names.csv` beside them; counts more than the names.

    Returns:
        Image name -> mask name, and the same of images that share one mask, so that nobody can tell whose it is.
    """
    images, masks = list(image_names), set(mask_names)
    known = {image: mask for mask, image in (written_for or {}).items() if mask in masks}
    pairs = {name: known[name] for name in images if name in known}
    masks -= set(known.values())
    claims: dict[str, str] = {}
    for name in images:
        candidates = (_mask_name(name), f"{safe_stem(name)}.png")
        mask = next((candidate for candidate in candidates if candidate in masks), None)
        if mask is not None and name not in pairs:
            claims[name] = mask
    uses = Counter(claims.values())
    pairs |= {name: mask for name, mask in claims.items() if uses[mask] == 1}
    return pairs, {name: mask for name, mask in claims.items() if uses[mask] > 1}


def read_names(folder: Path) -> dict[str, str]:
    """Mask name below the folder -> image name, from the `names.csv` of an export; empty when there is none.

    Args:
        folder: that of the export, or `masks` in it.
    """
    for table, prefix in ((folder / NAMES_FILE, ""), (folder.parent / NAMES_FILE, f"{folder.name}/")):
        try:
            with table.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.reader(file) if len(row) == len(_NAMES_HEAD)]
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
        if rows and tuple(rows[0]) == _NAMES_HEAD:
            return {mask.removeprefix(prefix): image for mask, image in rows[1:] if mask.startswith(prefix)}
    return {}


def _mask_name(image_name: str) -> str:
    head, dot, tail = image_name.rpartition(".")
    return f"{head if dot and head and '/' not in tail else image_name}.png"


# --- the mask ZIP ---------------------------------------------------------------------------------------------


def write_mask_zip(
    file: IO[bytes],
    masks: Iterable[tuple[str, bytes]],
    *,
    class_names: Sequence[str],
    class_colours: Sequence[str],
) -> int:
    """Write `masks/*.png`, `labelmap.txt`, `classes.txt` and `names.csv` (mask file, image name).

    The same masks give the same bytes.

    Args:
        file: open for writing; need not be seekable.
        masks: image name and PNG of each; asked for one by one, so they need not fit into memory.
        class_names, class_colours: by class index.

    Returns:
        How many masks were written.
    """
    names = FileNames(".png")
    rows: list[tuple[str, str]] = []
    with zipfile.ZipFile(file, "w") as archive:
        for image_name, png in masks:
            mask_file = f"masks/{names.name_for(image_name)}"
            rows.append((mask_file, image_name))
            # PNG is compressed already
            archive.writestr(_entry(mask_file), png, compress_type=zipfile.ZIP_STORED)
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([_NAMES_HEAD, *rows])
        for name, text in (
            ("labelmap.txt", labelmap_txt(class_names, class_colours)),
            ("classes.txt", classes_txt(class_names)),
            (NAMES_FILE, table.getvalue()),
        ):
            archive.writestr(_entry(name), text.encode(), compress_type=zipfile.ZIP_DEFLATED)
    return len(rows)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_TIME)
    entry.external_attr = 0o644 << 16
    return entry


def unpack(archive: zipfile.ZipFile, folder: Path) -> Iterator[Path]:
    """Unpack a ZIP that the server made; gives the files written.

    Names that lead out of the folder are made harmless by `zipfile` itself.
    """
    for entry in archive.infolist():
        yield Path(archive.extract(entry, folder))
