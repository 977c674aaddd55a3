"""Index masks: PNG with one byte a pixel, value = class index, 254 void, 255 unlabelled; palette = class colours.

The palette only makes the file pleasant to look at; the numbers are the content. `labelmap.txt` follows VOC and CVAT
("Segmentation mask 1.1"), `classes.txt` is one name a line, line number = index from 0.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recolabel.contract.labels import MAX_SIDE
from recolabel.errors import BadArgument, MaskRefused

UNLABELLED = 255
VOID = 254
VOID_NAME = "void"
UNLABELLED_COLOUR = (255, 255, 255)
VOID_COLOUR = (64, 64, 64)

LabelMap = npt.NDArray[np.uint8]
"""(H, W) uint8: class index, 254 void, 255 unlabelled."""


@dataclass(frozen=True)
class ClassList:
    """The classes of a data set folder, as `classes.txt` has them."""

    names: list[str]
    """Class index -> name; a gap where the file says void."""
    void_indices: list[int]
    """Mask values that mean void."""


# --- masks ----------------------------------------------------------------------------------------------------


def write_png(label_map: LabelMap, colours: Sequence[str]) -> bytes:
    """Encode a label map.

    Args:
        label_map: (H, W) uint8, row by row.
        colours: class index -> `#rrggbb`.
    """
    height, width = label_map.shape
    palette = bytearray(3 * 256)
    for index, colour in enumerate(colours[:VOID]):
        palette[3 * index : 3 * index + 3] = bytes.fromhex(colour.removeprefix("#"))
    palette[3 * VOID : 3 * VOID + 3] = bytes(VOID_COLOUR)
    palette[3 * UNLABELLED :] = bytes(UNLABELLED_COLOUR)
    rows = np.zeros((height, width + 1), np.uint8)  # each row starts with its filter: 0, none
    rows[:, 1:] = label_map
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, content)
        for name, content in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            (b"PLTE", bytes(palette)),
            (b"IDAT", zlib.compress(rows.tobytes(), 6)),
            (b"IEND", b""),
        )
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def read_png(content: bytes | Path, *, max_pixels: int = 100_000_000) -> LabelMap:
    """Decode a mask: a palette or grey PNG of 8 bits or fewer; the palette itself is not looked at.

    Uses Pillow. Masks of strangers must not be read by this in the server process.

    Returns:
        (H, W) uint8, the values as they stand in the file.

    Raises:
        MaskRefused: not such a PNG, damaged, or too large.
    """
    from PIL import Image

    source = io.BytesIO(content) if isinstance(content, bytes) else content
    Image.MAX_IMAGE_PIXELS = None  # judged below, with a better sentence
    try:
        with Image.open(source, formats=["PNG"]) as image:
            width, height = image.size
            if width * height > max_pixels or max(width, height) > MAX_SIDE:
                raise MaskRefused(f"The mask has {width:,} x {height:,} pixels; {max_pixels:,} pixels are allowed.")
            if image.mode not in ("P", "L"):
                raise MaskRefused(
                    f"The mask has pixels of the kind {image.mode!r}; a mask is a PNG with one byte a pixel, "
                    "whose value is the class index."
                )
            return np.array(image, np.uint8)
    except MaskRefused:
        raise
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow meets damaged files with almost any exception
        raise MaskRefused("The mask is not a PNG file, or it is damaged.") from error


def check_mask(mask: LabelMap, *, width: int, height: int, class_count: int, void_indices: Sequence[int]) -> LabelMap:
    """Hold a mask against its image and the class list.

    Args:
        mask: (H, W) uint8, as read.
        void_indices: values that mean void besides 254.

    Returns:
        The label map: void values have become 254.

    Raises:
        MaskRefused: another size than the image, or a value that is no class.
    """
    if mask.shape != (height, width):
        raise MaskRefused(
            f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels, its image {width} x {height}; "
            "they must be the same."
        )
    label_map = mask.copy()
    for index in void_indices:
        label_map[mask == index] = VOID
    unknown = [int(value) for value in np.unique(label_map) if value >= class_count and value not in (VOID, UNLABELLED)]
    if unknown:
        raise MaskRefused(
            f"The mask has the value {unknown[0]}, but the project's {class_count} classes have the values "
            f"0 to {class_count - 1}. If {unknown[0]} means void, say --void-index {unknown[0]}."
        )
    return label_map


def runs_of(label_map: LabelMap) -> dict[int, list[int]]:
    """The labelled pixels as horizontal runs: value -> [y, x, length, y, x, length, ...] in reading order.

    Values are class indices and 254 (void); unlabelled pixels are in no run.
    """
    height, width = label_map.shape
    starts = np.ones((height, width), bool)  # where a run begins: the row's first pixel, and every change
    starts[:, 1:] = label_map[:, 1:] != label_map[:, :-1]
    positions = np.flatnonzero(starts)
    lengths = np.diff(np.append(positions, height * width))
    values = label_map.ravel()[positions]
    runs = np.stack([positions // width, positions % width, lengths], axis=1)
    return {int(value): runs[values == value].ravel().tolist() for value in np.unique(values) if value != UNLABELLED}


# --- class lists ----------------------------------------------------------------------------------------------


def labelmap_txt(names: Sequence[str], colours: Sequence[str]) -> str:
    """`labelmap.txt` as VOC tools and CVAT read it; the n-th class line is class index n."""
    lines = ["# label:color_rgb:parts:actions"]
    for name, colour in zip(names, colours, strict=True):
        red, green, blue = bytes.fromhex(colour.removeprefix("#"))
        lines.append(f"{_in_one_line(name).replace(':', '_')}:{red},{green},{blue}::")
    return "\n".join(lines) + "\n"


def classes_txt(names: Sequence[str]) -> str:
    """`classes.txt`: one name a line, line number = class index from 0."""
    return "".join(f"{_in_one_line(name)}\n" for name in names)


def read_classes_txt(text: str) -> ClassList:
    """Read `classes.txt`; a line `void` makes that index void.

    Raises:
        BadArgument: no class, an empty line between names, or a name that stands twice.
    """
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    names = [name for name in lines if name.casefold() != VOID_NAME]
    if not names:
        raise BadArgument("The class list is empty. Write one class name a line.")
    if "" in names:
        raise BadArgument(f"Line {lines.index('') + 1} of the class list is empty; every line is one class.")
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise BadArgument(f"The class {name!r} stands twice in the class list.")
        seen.add(name.casefold())
    return ClassList(lines, [index for index, name in enumerate(lines) if name.casefold() == VOID_NAME])


def _in_one_line(name: str) -> str:
    return " ".join(name.split())
