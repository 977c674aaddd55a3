"""A data set folder: `train/images train/masks val/images val/masks classes.txt`, read whole into memory.

The mask of `a.jpg` is `a.png`, one byte a pixel: class index, 254 void, 255 unlabelled, and whatever else means void.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from recolabel.errors import BadArgument, RecolabelError
from recolabel.formats.folder import FoundFile, files_in, pair_masks
from recolabel.formats.indexed_png import VOID, ClassList, LabelMap, check_mask, read_classes_txt, read_png
from recolabel_worker.predict import read_picture

SPLITS = ("train", "val")


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image whose classes are known pixel by pixel. Two are the same only if they are the same object."""

    name: str
    pixels: npt.NDArray[np.uint8]  # (H, W, 3) RGB
    label_map: LabelMap  # (H, W) uint8: class index, 254 void, 255 unlabelled


@dataclass(frozen=True)
class DataSet:
    """What a folder holds. Class indices count `class_names`; a void line of `classes.txt` has no index here."""

    class_names: list[str]
    train: list[LabelledImage]
    val: list[LabelledImage]


def read_data_set(
    folder: Path,
    *,
    size: tuple[int, int] | None = None,
    train_limit: int | None = None,
    val_limit: int | None = None,
    void_indices: Sequence[int] = (),
) -> DataSet:
    """Read a data set folder.

    Args:
        size: height and width that all images and masks are brought to; None leaves each as it is.
        train_limit, val_limit: how many images, spread evenly over the split in the order of their names; None is all.
        void_indices: mask values that mean void besides 254 and the void lines of `classes.txt`.

    Raises:
        BadArgument: a part of the folder is missing or empty, a picture or mask cannot be taken, or a picture stands
            in both splits, so that a model would be judged on what it was trained on.
    """
    if not folder.is_dir():
        raise BadArgument(f"{folder} is not a folder.")
    classes = _read_classes(folder / "classes.txt")
    void = sorted({*classes.void_indices, *void_indices})
    names = [name for index, name in enumerate(classes.names) if index not in void]
    if len(names) < 2:
        raise BadArgument(f"{folder / 'classes.txt'} names fewer than two classes; there is nothing to tell apart.")
    train, val = (
        [_read(pair, classes, void, size) for pair in _pairs(folder / split, limit)]
        for split, limit in zip(SPLITS, (train_limit, val_limit), strict=True)
    )
    _check_apart(train, val)
    return DataSet(names, train, val)


def spread(count: int, limit: int | None) -> list[int]:
    """Up to `limit` indices below `count`, evenly spaced from the first on."""
    kept = count if limit is None else min(limit, count)
    return [number * count // kept for number in range(kept)]


@dataclass(frozen=True)
class _Pair:
    image: FoundFile
    mask: Path


def _read_classes(file: Path) -> ClassList:
    try:
        return read_classes_txt(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadArgument(
            f"{file} cannot be read. A data set folder holds train/images, train/masks, val/images, val/masks and "
            "classes.txt, one class name a line."
        ) from error


def _pairs(split: Path, limit: int | None) -> list[_Pair]:
    images, masks = split / "images", split / "masks"
    for part in (images, masks):
        if not part.is_dir():
            raise BadArgument(
                f"{part} is missing. A data set folder holds train/images, train/masks, val/images, val/masks and "
                "classes.txt."
            )
    found = files_in(images)
    if not found:
        raise BadArgument(f"There are no images in {images}.")
    chosen = [found[index] for index in spread(len(found), limit)]
    paths = {file.name: file.path for file in files_in(masks)}
    pairs, unclear = pair_masks([file.name for file in found], paths)
    for file in chosen:
        if file.name in unclear:
            raise BadArgument(f"Several images of {images} would share the mask of {file.name}.")
        if file.name not in pairs:
            raise BadArgument(f"{images / file.name} has no mask in {masks}: the mask of a.jpg is a.png.")
    return [_Pair(file, paths[pairs[file.name]]) for file in chosen]


def _read(pair: _Pair, classes: ClassList, void: Sequence[int], size: tuple[int, int] | None) -> LabelledImage:
    try:
        pixels = read_picture(pair.image.path)
    except RecolabelError as error:
        raise BadArgument(f"{pair.image.path}: {error.sentence}") from error
    try:
        height, width = pixels.shape[:2]
        mask = check_mask(
            read_png(pair.mask), width=width, height=height, class_count=len(classes.names), void_indices=void
        )
    except RecolabelError as error:
        raise BadArgument(f"{pair.mask}: {error.sentence}") from error
    label_map = _compact(len(classes.names), void)[mask]
    if size is not None and size != (height, width):
        wide_high = (size[1], size[0])
        pixels = np.array(Image.fromarray(pixels).resize(wide_high, Image.Resampling.BILINEAR))
        label_map = np.array(Image.fromarray(label_map).resize(wide_high, Image.Resampling.NEAREST))
    return LabelledImage(pair.image.name, pixels, label_map)


def _compact(line_count: int, void: Sequence[int]) -> npt.NDArray[np.uint8]:
    """(256,) table from mask values to class indices that leave no gap for void."""
    table = np.arange(256, dtype=np.uint8)
    kept = [index for index in range(line_count) if index not in void]
    table[kept] = np.arange(len(kept), dtype=np.uint8)
    table[[index for index in void if index < line_count]] = VOID
    return table


def _check_apart(train: Sequence[LabelledImage], val: Sequence[LabelledImage]) -> None:
    seen = {hashlib.sha256(item.pixels.tobytes()).digest(): item.name for item in train}
    for item in val:
        twin = seen.get(hashlib.sha256(item.pixels.tobytes()).digest())
        if twin is not None:
            raise BadArgument(
                f"val/images/{item.name} is the same picture as train/images/{twin}: a figure from it would flatter. "
                "Take it out of one of the two."
            )
