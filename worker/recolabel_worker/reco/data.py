"""Sparse labels as coordinates, and which image and which part of it each training step looks at.

A raster of labels loses 94 % of single clicks when it is brought to stride 4 by taking the nearest pixel, and more at
each rescaling. So labels travel as coordinates and become a raster only at the end: a cell takes the class of the
labels inside it.

Coordinates are (y, x) in pixels of the image. Letters: H W image pixels, h w cells at output stride 4.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolabel_worker.reco.config import OUTPUT_STRIDE, UNLABELLED, VOID, InvalidArgument

HELD_OUT_BLOCK_PX = 48
"""Side of the squares of an image that are held out or trained on as a whole."""


@dataclass(frozen=True)
class SparseImage:
    """An image and what people said about its pixels.

    Args:
        image: (H, W, 3) uint8 RGB, numpy or torch.
        label_map: (H, W) uint8, class index, VOID or UNLABELLED. None: nobody said anything.

    Raises:
        InvalidArgument: image or label map are of another kind, or of two sizes.
    """

    image: Tensor | NDArray[np.uint8]
    label_map: Tensor | NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        for name, value in (("image", self.image), ("label_map", self.label_map)):
            if not isinstance(value, Tensor | np.ndarray) and (name == "image" or value is not None):
                raise InvalidArgument(name, f"has to be a numpy array or a tensor, not {type(value).__name__}.")
        shape = tuple(self.image.shape)
        if len(shape) != 3 or shape[2] != 3 or not all(shape) or str(self.image.dtype).split(".")[-1] != "uint8":
            raise InvalidArgument("image", f"has to be (H, W, 3) uint8, not {shape} {self.image.dtype}.")
        if self.label_map is not None and tuple(self.label_map.shape) != shape[:2]:
            raise InvalidArgument("label_map", f"is {tuple(self.label_map.shape)} for an image of {shape[:2]}.")
        if self.label_map is not None and str(self.label_map.dtype).split(".")[-1] != "uint8":
            raise InvalidArgument("label_map", f"has to be (H, W) uint8, not {self.label_map.dtype}.")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return int(self.image.shape[0]), int(self.image.shape[1])


@dataclass(frozen=True)
class Labels:
    """Labelled pixels of one image: coordinates (P, 2) int64 as (y, x), classes (P,) int64, VOID among them."""

    places: Tensor
    classes: Tensor

    @property
    def spoken(self) -> Tensor:
        """(P,) bool: the label names a class and is not void."""
        return self.classes < VOID


class TrainingSet:
    """Images with their labels as coordinates. Index order is the caller's.

    Raises:
        InvalidArgument: there is no image, one is no SparseImage, or a label names a class that does not exist.
    """

    def __init__(self, images: Sequence[SparseImage], num_classes: int) -> None:
        check_images(images)
        if not images:
            raise InvalidArgument("images", "is empty; training needs at least one image.")
        self.num_classes = num_classes
        self.pixels = [as_tensor(item.image) for item in images]
        self.labels = [labels_of(item, num_classes) for item in images]

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def labelled(self) -> list[int]:
        """Indices of the images that carry at least one class label."""
        return [index for index, labels in enumerate(self.labels) if bool(labels.spoken.any())]

    def class_counts(self) -> Tensor:
        """Labelled pixels of each class, (C,) int64."""
        count = torch.zeros(self.num_classes, dtype=torch.int64)
        for labels in self.labels:
            count += torch.bincount(labels.classes[labels.spoken], minlength=self.num_classes)
        return count


def check_images(images: Sequence[SparseImage]) -> None:
    """Refuse what is no list of images with their labels; it may be empty.

    Raises:
        InvalidArgument: it is no sequence, or holds something else.
    """
    if not isinstance(images, Sequence):
        raise InvalidArgument("images", f"has to be a list of SparseImage, not {type(images).__name__}.")
    for item in images:
        if not isinstance(item, SparseImage):
            raise InvalidArgument("images", f"has to be a list of SparseImage; it holds a {type(item).__name__}.")


def as_tensor(array: Tensor | NDArray[np.uint8]) -> Tensor:
    """The array, (...) uint8 of any shape, as a tensor on the same memory, a memory map's too; nobody writes to it.

    One that runs backwards, as BGR turned to RGB by `[..., ::-1]` does, is copied: torch knows no negative strides.
    """
    if isinstance(array, Tensor):
        return array
    if min(array.strides, default=0) < 0:
        array = np.ascontiguousarray(array)
    with warnings.catch_warnings():
        # torch knows no read-only tensors and warns that it cannot keep us from writing.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def labels_of(item: SparseImage, num_classes: int) -> Labels:
    """Read the labelled pixels off a label map.

    Raises:
        InvalidArgument: a label names a class that does not exist.
    """
    if item.label_map is None:
        return Labels(torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    label_map = as_tensor(item.label_map).long()
    places = (label_map != UNLABELLED).nonzero()
    classes = label_map[places[:, 0], places[:, 1]]
    unknown = classes[(classes >= num_classes) & (classes != VOID)]
    if len(unknown):
        raise InvalidArgument(
            "label_map", f"names class {int(unknown[0])}; there are {num_classes} classes, counted from 0."
        )
    return Labels(places, classes)


def hold_out_labels(
    images: Sequence[SparseImage], share: float, generator: torch.Generator
) -> tuple[list[SparseImage], list[SparseImage]]:
    """Split the labelled pixels: (for training, held out). Void stays in both; the images are the same.

    About `share` of them, 0..1, is held out.

    Squares of HELD_OUT_BLOCK_PX share one fate: the pixels of a stroke are so alike that judging a model on every tenth
    of them, with the other nine in training, would flatter it.
    """
    kept: list[SparseImage] = []
    held: list[SparseImage] = []
    for item in images:
        if item.label_map is None:
            kept.append(item)
            held.append(item)
            continue
        label_map = as_tensor(item.label_map)
        chosen = _random_squares(item.size, share, generator)
        spoken = label_map < VOID
        kept.append(SparseImage(item.image, torch.where(spoken & chosen, UNLABELLED, label_map).to(torch.uint8)))
        held.append(SparseImage(item.image, torch.where(spoken & ~chosen, UNLABELLED, label_map).to(torch.uint8)))
    return kept, held


def _random_squares(size: tuple[int, int], share: float, generator: torch.Generator) -> Tensor:
    """(H, W) bool, True on about `share` of the squares of a grid."""
    rows, columns = (-(-side // HELD_OUT_BLOCK_PX) for side in size)
    squares = torch.rand(rows, columns, generator=generator) < share
    spread = squares.repeat_interleave(HELD_OUT_BLOCK_PX, 0).repeat_interleave(HELD_OUT_BLOCK_PX, 1)
    return spread[: size[0], : size[1]]


def rasterise(places: Tensor, classes: Tensor, size: tuple[int, int]) -> Tensor:
    """Give each cell the class of the labels inside it, (h, w) int64, UNLABELLED where there is none.

    The majority of a cell's labels wins, void having a voice as any class; a tie is void: the cell holds pixels of two
    classes, and training it as either would be a guess.

    Args:
        places: (P, 2) float or int, (y, x) in pixels of the view; those outside are left out.
        classes: (P,) int64.
        size: h, w in cells.
    """
    height, width = size
    label_map = torch.full((height * width,), UNLABELLED, dtype=torch.int64)
    cells = torch.div(places, OUTPUT_STRIDE, rounding_mode="floor").long()
    inside = ((cells >= 0) & (cells < torch.tensor([height, width]))).all(1)
    if not inside.any():
        return label_map.view(height, width)
    numbers = cells[inside, 0] * width + cells[inside, 1]
    # One voice for each (cell, class) pair, counted; sorted by cell, then by rising count.
    pairs, votes = torch.unique(numbers * 256 + classes[inside], return_counts=True)
    order = torch.argsort(pairs // 256 * (int(votes.max()) + 1) + votes, stable=True)
    pairs, votes = pairs[order], votes[order]
    owners = pairs // 256
    is_last = torch.ones(len(owners), dtype=torch.bool)
    is_last[:-1] = owners[1:] != owners[:-1]
    last = is_last.nonzero().flatten()
    before = (last - 1).clamp_min(0)
    tied = (last > 0) & (owners[before] == owners[last]) & (votes[before] == votes[last])
    label_map[owners[last]] = torch.where(tied, VOID, pairs[last] % 256)
    return label_map.view(height, width)


class Sampler:
    """Endless shuffled passes over `indices`; the whole of its state is how many were taken.

    Each pass is a permutation made from (seed, number of the pass), so a run that resumes at position k sees what an
    uninterrupted one would have seen.

    Raises:
        InvalidArgument: there is no index.
    """

    def __init__(self, indices: Sequence[int], seed: int) -> None:
        if not indices:
            raise InvalidArgument("indices", "is empty; there is nothing to sample.")
        self.indices = list(indices)
        self.seed = seed
        self._pass = -1
        self._order: list[int] = []

    def at(self, position: int) -> int:
        """The index that is taken at `position`, counted from 0."""
        number, within = divmod(position, len(self.indices))
        if number != self._pass:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + number) % 2**63)
            self._order = torch.randperm(len(self.indices), generator=generator).tolist()
            self._pass = number
        return self.indices[self._order[within]]
