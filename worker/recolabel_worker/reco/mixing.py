"""Strong views made of two: cutout, CutMix and ClassMix on a batch of images with their pseudo-labels.

Masks live at cells of output stride 4 and are repeated to pixels, so image, label and confidence change hands along
one border. Letters: B views, H W pixels, h w cells.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recolabel_worker.reco.config import METHODS, OUTPUT_STRIDE, VOID, InvalidArgument, Method
from recolabel_worker.reco.views import GREY


class Mixable(NamedTuple):
    """What changes hands together."""

    images: Tensor  # (B, 3, H, W) float
    label_map: Tensor  # (B, h, w) int64, class, VOID or UNLABELLED
    confidence: Tensor  # (B, h, w) float


def mix(batch: Mixable, method: Method, generator: torch.Generator) -> Mixable:
    """Apply `method` to the batch; view i receives from view i - 1. "supervised" changes nothing.

    Raises:
        InvalidArgument: no method has this name.
    """
    if method not in METHODS:
        raise InvalidArgument("method", f"is one of {', '.join(METHODS)}, not {method!r}.")
    if method == "supervised":
        return batch
    if method == "cutout":
        return cut_out(batch, torch.stack([_box(labels.shape, generator) for labels in batch.label_map]))
    masks = [
        _box(labels.shape, generator) if method == "cutmix" else class_mask(labels, generator)
        for labels in batch.label_map.roll(1, 0)
    ]
    return paste(batch, torch.stack([mask.to(batch.label_map.device) for mask in masks]))


def cut_out(batch: Mixable, holes: Tensor) -> Mixable:
    """Grey out the cells of `holes` (B, h, w) bool; they become VOID: what cannot be seen is not learnt from."""
    holes = holes.to(batch.label_map.device)
    return Mixable(
        torch.where(to_pixels(holes), GREY, batch.images),
        torch.where(holes, VOID, batch.label_map),
        torch.where(holes, 0.0, batch.confidence),
    )


def paste(batch: Mixable, masks: Tensor) -> Mixable:
    """Give view i the cells of view i - 1 where `masks[i]` (B, h, w) bool says so."""
    return Mixable(
        torch.where(to_pixels(masks), batch.images.roll(1, 0), batch.images),
        torch.where(masks, batch.label_map.roll(1, 0), batch.label_map),
        torch.where(masks, batch.confidence.roll(1, 0), batch.confidence),
    )


def class_mask(label_map: Tensor, generator: torch.Generator) -> Tensor:
    """ClassMix: the cells of half of the classes that a (h, w) label map shows, rounded up, chosen by chance."""
    classes = torch.unique(label_map)
    classes = classes[classes < VOID]
    order = torch.randperm(len(classes), generator=generator).to(classes.device)
    return torch.isin(label_map, classes[order[: (len(classes) + 1) // 2]])


def to_pixels(masks: Tensor) -> Tensor:
    """Repeat (B, h, w) cells to (B, 1, H, W) pixels."""
    return masks.repeat_interleave(OUTPUT_STRIDE, 1).repeat_interleave(OUTPUT_STRIDE, 2)[:, None]


def _box(size: torch.Size, generator: torch.Generator) -> Tensor:
    """A box of half the area with a chance proportion, somewhere inside, (h, w) bool."""
    height, width = size
    dice = torch.rand(3, generator=generator).tolist()
    tall = min(1.0, 0.5 ** (0.25 + 0.5 * dice[0]))
    box_height, box_width = max(1, round(height * tall)), max(1, round(width * 0.5 / tall))
    top = int(dice[1] * (height - box_height + 1))
    left = int(dice[2] * (width - box_width + 1))
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[top : top + box_height, left : left + box_width] = True
    return mask
