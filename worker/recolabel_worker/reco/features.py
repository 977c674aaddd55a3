"""Backbone features of whole images, kept so that a click needs no new pass through the backbone.

Letters: C classes, H W image pixels, h w cells at output stride 4 of the padded image.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco.config import OUTPUT_STRIDE, SIDE_MULTIPLE, InvalidArgument
from recolabel_worker.reco.data import as_tensor
from recolabel_worker.reco.network import DeepLabV3Plus, Stages

TILE_PX = 1024
"""Side of a tile; an image no larger than this goes through whole."""

MARGIN_PX = 160
"""Border of a tile that is computed for its surroundings only and thrown away."""

_HALF_MAX = float(torch.finfo(torch.float16).max)
_STAGE_STRIDES = (4, 8, 16, 16)


@dataclass(frozen=True)
class Features:
    """What a network sees in one image, at the backbone's own strides."""

    stages: Stages  # each (1, channels, height, width)
    correction: Tensor | None  # (1, C, h, w) what the network's decoder adds; None while it adds nothing
    size: tuple[int, int]  # H, W before padding

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        tensors = [*self.stages, *([] if self.correction is None else [self.correction])]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def packed(self) -> Features:
        """The same in float16: half the memory, three digits. Numbers beyond its range become the nearest in it."""
        return self._mapped(lambda tensor: tensor.clamp(-_HALF_MAX, _HALF_MAX).half())

    def cpu(self) -> Features:
        """The same on the CPU."""
        return self._mapped(Tensor.cpu)

    def unpacked(self) -> Features:
        """The same in float32, as the heads take them."""
        return self._mapped(Tensor.float)

    def to_tensors(self) -> dict[str, Tensor]:
        """Named tensors for a file: stage_0 to stage_3, the correction where there is one, size as (2,) int64."""
        named = {f"stage_{number}": stage.contiguous() for number, stage in enumerate(self.stages)}
        if self.correction is not None:
            named["correction"] = self.correction.contiguous()
        return {**named, "size": torch.tensor(self.size, dtype=torch.int64)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Features:
        """Read what `to_tensors` gave.

        Raises:
            InvalidArgument: a tensor is missing.
        """
        try:
            fine, middle, deep, deepest = (tensors[f"stage_{number}"] for number in range(4))
            height, width = tensors["size"].tolist()
        except (KeyError, ValueError) as error:
            raise InvalidArgument("tensors", "are not features that were kept; extract them again.") from error
        return cls((fine, middle, deep, deepest), tensors.get("correction"), (int(height), int(width)))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Features:
        fine, middle, deep, deepest = (change(stage) for stage in self.stages)
        correction = None if self.correction is None else change(self.correction)
        return Features((fine, middle, deep, deepest), correction, self.size)


def padded_batch(image: Tensor | NDArray[np.uint8], device: torch.device) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H', W') float, padded behind by its last pixels to multiples of 16."""
    pixels = as_tensor(image).to(device).permute(2, 0, 1)[None].float()
    height, width = pixels.shape[-2:]
    padded = F.pad(pixels, (0, -width % SIDE_MULTIPLE, 0, -height % SIDE_MULTIPLE), mode="replicate")
    return padded.contiguous(memory_format=torch.channels_last)


def check_image_and_tiles(image: Tensor | NDArray[np.uint8], tile_px: int, margin_px: int) -> None:
    """Refuse what cannot be cut into tiles.

    Raises:
        InvalidArgument: the image is no (H, W, 3) uint8, or the sides are not multiples of 16, the margin below half.
    """
    if not isinstance(image, Tensor | np.ndarray):
        raise InvalidArgument("image", f"has to be a numpy array or a tensor, not {type(image).__name__}.")
    if image.ndim != 3 or image.shape[2] != 3 or str(image.dtype).split(".")[-1] != "uint8" or not all(image.shape):
        raise InvalidArgument("image", f"has to be (H, W, 3) uint8, not {tuple(image.shape)} {image.dtype}.")
    if tile_px % SIDE_MULTIPLE or margin_px % SIDE_MULTIPLE or not 0 <= 2 * margin_px < tile_px:
        raise InvalidArgument("tile_px, margin_px", f"have to be multiples of {SIDE_MULTIPLE}, margin below half.")


@torch.no_grad()
def extract_features(
    network: DeepLabV3Plus,
    image: Tensor | NDArray[np.uint8],
    *,
    tile_px: int = TILE_PX,
    margin_px: int = MARGIN_PX,
) -> Features:
    """Run the backbone once on an (H, W, 3) uint8 image, in eval mode, on the network's device.

    Large images go through in tiles of `tile_px` that see `margin_px` beyond their border; their stages are put
    together. Both are multiples of 16, the margin less than half of the tile.

    Raises:
        InvalidArgument: the image is no (H, W, 3) uint8, or tiles are not as said.
    """
    check_image_and_tiles(image, tile_px, margin_px)
    was_training = network.training
    network.eval()
    stages = _stages(network, as_tensor(image), tile_px, margin_px)
    correction = network.correction_from(stages) if network.has_correction else None
    network.train(was_training)
    return Features(stages, correction, (int(image.shape[0]), int(image.shape[1])))


def _stages(network: DeepLabV3Plus, pixels: Tensor, tile_px: int, margin_px: int) -> Stages:
    device = next(network.parameters()).device
    height, width = pixels.shape[:2]
    if height <= tile_px and width <= tile_px:
        return network.stages(padded_batch(pixels, device))
    rows: list[list[Tensor]] = []
    for top, bottom, keep_top, keep_bottom in spans(height, tile_px, margin_px):
        parts: list[list[Tensor]] = []
        for left, right, keep_left, keep_right in spans(width, tile_px, margin_px):
            tile = network.stages(padded_batch(pixels[top:bottom, left:right], device))
            parts.append(
                [
                    stage[
                        :,
                        :,
                        (keep_top - top) // stride : _kept_end(keep_bottom, bottom, top, stride),
                        (keep_left - left) // stride : _kept_end(keep_right, right, left, stride),
                    ]
                    for stage, stride in zip(tile, _STAGE_STRIDES, strict=True)
                ]
            )
        rows.append([torch.cat(across, dim=3) for across in zip(*parts, strict=True)])
    fine, middle, deep, deepest = (torch.cat(down, dim=2) for down in zip(*rows, strict=True))
    return fine, middle, deep, deepest


def _kept_end(keep: int, end: int, start: int, stride: int) -> int | None:
    """Where a tile's kept part ends in cells; None, the very end with its padding, at the end of the image."""
    return None if keep == end else (keep - start) // stride


def spans(side: int, tile_px: int, margin_px: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut a side into tiles: (start, end, keep from, keep to); kept parts touch, starts lie on the network's grid."""
    if side <= tile_px:
        yield 0, side, 0, side
        return
    step = tile_px - 2 * margin_px
    start = 0
    while start + tile_px < side:
        yield start, start + tile_px, start + margin_px if start else 0, start + tile_px - margin_px
        start += step
    yield start, side, start + margin_px, side


class FeatureCache:
    """Features by key, kept in float16; the ones longest unused go when the memory bound is passed.

    The caller's key names image *and* network: features of another network's weights are no use to anybody.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._kept: OrderedDict[str, Features] = OrderedDict()
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    @property
    def held_bytes(self) -> int:
        """Memory held by all features."""
        return self._held_bytes

    def get(self, key: str) -> Features | None:
        """The features of `key`, now the most recently used, or None."""
        if key in self._kept:
            self._kept.move_to_end(key)
        features = self._kept.get(key)
        return None if features is None else features.unpacked()

    def put(self, key: str, features: Features) -> None:
        """Keep features; one entry larger than the bound is not kept at all."""
        self.drop(key)
        features = features.packed()
        if features.size_bytes > self.limit_bytes:
            return
        self._kept[key] = features
        self._held_bytes += features.size_bytes
        while self._held_bytes > self.limit_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._held_bytes -= oldest.size_bytes

    def drop(self, key: str) -> None:
        """Forget `key`, if it is there."""
        features = self._kept.pop(key, None)
        if features is not None:
            self._held_bytes -= features.size_bytes


def cell_points(cells_P: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Centres of cells numbered row by row, (P,) int64, for `grid_sample`: (1, 1, P, 2) of (x, y) in -1..1."""
    height, width = grid_size
    y = (cells_P // width + 0.5) / height * 2 - 1
    x = (cells_P % width + 0.5) / width * 2 - 1
    return torch.stack([x, y], dim=-1).float()[None, None]


def grid_size(features: Features) -> tuple[int, int]:
    """h, w of the cells that cover the padded image."""
    height, width = features.size
    return tuple((side + -side % SIDE_MULTIPLE) // OUTPUT_STRIDE for side in (height, width))  # type: ignore[return-value]
