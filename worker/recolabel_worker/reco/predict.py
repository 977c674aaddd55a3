"""An image of any size -> class probabilities at its size. Large images go through in overlapping tiles.

Letters: C classes, H W image pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recolabel_worker.reco.config import OUTPUT_STRIDE, InvalidArgument
from recolabel_worker.reco.data import as_tensor
from recolabel_worker.reco.devices import as_device
from recolabel_worker.reco.features import MARGIN_PX, TILE_PX, check_image_and_tiles, padded_batch, spans
from recolabel_worker.reco.layers import upsample


@torch.no_grad()
def predict(
    network: nn.Module,
    image: Tensor | NDArray[np.uint8],
    device: torch.device | str = "cpu",
    *,
    tile_px: int = TILE_PX,
    margin_px: int = MARGIN_PX,
) -> Tensor:
    """Give (C, H, W) float32 probabilities on the CPU of an (H, W, 3) uint8 RGB image.

    Args:
        network: (1, 3, H', W') float in 0..255 -> (1, C, H'/4, W'/4) logits, in eval mode, on `device`.
        image: of any size.
        device: where the network is.
        tile_px: multiple of 16; with `margin_px`, also one, less than half of it.

    Raises:
        InvalidArgument: the image is no (H, W, 3) uint8, the network is in training mode, tiles are not as said, or
            there is no such device.
    """
    check_image_and_tiles(image, tile_px, margin_px)
    if any(isinstance(part, nn.BatchNorm2d) and part.training for part in network.modules()):
        # By this image's own statistics the result would be another one, and the network's would move.
        raise InvalidArgument("network", "is in training mode; call network.eval() first.")
    place = as_device(device)
    pixels = as_tensor(image)
    height, width = pixels.shape[:2]
    if height <= tile_px and width <= tile_px:
        return _tile(network, pixels, place)
    whole: Tensor | None = None
    for top, bottom, keep_top, keep_bottom in spans(height, tile_px, margin_px):
        for left, right, keep_left, keep_right in spans(width, tile_px, margin_px):
            tile = _tile(network, pixels[top:bottom, left:right], place)
            if whole is None:
                whole = torch.empty(len(tile), height, width)
            whole[:, keep_top:keep_bottom, keep_left:keep_right] = tile[
                :, keep_top - top : keep_bottom - top, keep_left - left : keep_right - left
            ]
    assert whole is not None
    return whole


def _tile(network: nn.Module, pixels: Tensor, device: torch.device) -> Tensor:
    height, width = pixels.shape[:2]
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        logits = network(padded_batch(pixels, device))
    logits = logits.float()
    full = upsample(logits, [OUTPUT_STRIDE * logits.shape[-2], OUTPUT_STRIDE * logits.shape[-1]])
    return full[0, :, :height, :width].softmax(0).cpu()
