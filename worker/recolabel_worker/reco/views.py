"""Views of an image: geometry (weak), and colour and blur on top (strong). On tensors; no trip through 8 bits.

A view's geometry is one affine map, applied to pixels by bilinear sampling and to labels as coordinates, so a click
inside the view is always in it. What lies outside the image is padding: VOID, which enters no loss and gets no
pseudo-label.

Letters: B views, H W view pixels, h w cells at output stride 4. Pixels are float RGB in 0..255.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco.config import OUTPUT_STRIDE, UNLABELLED, VOID, ViewConfig
from recolabel_worker.reco.data import Labels, rasterise

GREY = 127.0
"""What stands outside an image and in a cut-out hole: zero after lite0's normalisation, near it after others'."""


@dataclass(frozen=True)
class Geometry:
    """View point (v, u) shows image point (top + v / scale, left + u / scale); mirrored ones count u from the right."""

    top: float
    left: float
    scale: float
    flipped: bool
    size: tuple[int, int]  # H, W of the view

    def to_view(self, places: Tensor) -> Tensor:
        """Where image pixels (P, 2) int land in the view, (P, 2) float; pixel centres are at + 0.5."""
        moved = (places + 0.5 - torch.tensor([self.top, self.left], dtype=torch.float64)) * self.scale
        if self.flipped:
            moved = torch.stack([moved[:, 0], self.size[1] - moved[:, 1]], dim=1)
        return moved

    def to_image(self, points: Tensor) -> Tensor:
        """The inverse on points: view coordinates (P, 2) to image coordinates."""
        if self.flipped:
            points = torch.stack([points[:, 0], self.size[1] - points[:, 1]], dim=1)
        return points / self.scale + torch.tensor([self.top, self.left], dtype=points.dtype)


def draw_geometry(
    image_size: tuple[int, int],
    view_size: tuple[int, int],
    config: ViewConfig,
    generator: torch.Generator,
    *,
    anchor: tuple[int, int] | None = None,
) -> Geometry:
    """Draw scale, place and mirroring of a view; with `anchor` (y, x) the view contains that pixel."""
    low, high = config.scale
    unit = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    scale = math.exp(math.log(low) + unit[0] * (math.log(high) - math.log(low)))
    start = []
    for axis in range(2):
        seen = view_size[axis] / scale
        room = image_size[axis] - seen
        if room <= 0:
            start.append(room * unit[1 + axis])  # the whole side fits: put it somewhere in the view
            continue
        first, last = 0.0, room
        if anchor is not None:
            # Half a pixel of air, so that rounding cannot push the anchor out.
            first = min(max(first, anchor[axis] + 1.0 - seen), room)
            last = max(min(last, float(anchor[axis])), 0.0)
        start.append(first + (last - first) * unit[1 + axis])
    return Geometry(start[0], start[1], scale, unit[3] < config.flip, view_size)


def take_view(pixels: Tensor, labels: Labels, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Cut the view out: pixels (3, H, W) float and label map (h, w) int64, padding VOID."""
    height, width = geometry.size
    image_height, image_width = pixels.shape[:2]
    ys = geometry.top + (torch.arange(height, dtype=torch.float64) + 0.5) / geometry.scale
    xs = geometry.left + (torch.arange(width, dtype=torch.float64) + 0.5) / geometry.scale
    if geometry.flipped:
        xs = xs.flip(0)
    # Only the window that is looked at becomes float.
    y0, y1 = _window(float(ys.min()), float(ys.max()), image_height)
    x0, x1 = _window(float(xs.min()), float(xs.max()), image_width)
    window = pixels[y0:y1, x0:x1].permute(2, 0, 1)[None].float()
    grid = torch.stack(
        [
            ((xs - x0) / (x1 - x0) * 2 - 1).float()[None, :].expand(height, width),
            ((ys - y0) / (y1 - y0) * 2 - 1).float()[:, None].expand(height, width),
        ],
        dim=-1,
    )[None]
    view = F.grid_sample(window, grid, mode="bilinear", padding_mode="border", align_corners=False)[0]
    outside_y, outside_x = (ys < 0) | (ys >= image_height), (xs < 0) | (xs >= image_width)
    outside = outside_y[:, None] | outside_x[None, :]
    view[:, outside] = GREY

    cells = (height // OUTPUT_STRIDE, width // OUTPUT_STRIDE)
    label_map = rasterise(geometry.to_view(labels.places), labels.classes, cells)
    # A cell is padding when its inner corner nearest to the centre lies outside; one with a label never is.
    middle = OUTPUT_STRIDE // 2
    padding = outside[middle::OUTPUT_STRIDE, middle::OUTPUT_STRIDE]
    label_map[padding & (label_map == UNLABELLED)] = VOID
    return view, label_map


def colour_and_blur(images: Tensor, config: ViewConfig, generator: torch.Generator) -> Tensor:
    """Jitter the colours of (B, 3, H, W) float and blur them, each view by its own dice; geometry and labels stay."""
    dice = torch.rand(len(images), 7, generator=generator)
    return _blur(_jitter(images, config, dice[:, :5]), config, dice[:, 5:])


def _jitter(images: Tensor, config: ViewConfig, dice: Tensor) -> Tensor:
    """Colours by dice (B, 5): whether, brightness, contrast, saturation, hue."""
    reach = torch.tensor([config.brightness, config.contrast, config.saturation])
    factors = 1 + (2 * dice[:, 1:4] - 1) * reach
    brightness, contrast = factors[:, :2].T[:, :, None, None, None].to(images)
    matrices = _colour_matrices(factors[:, 2], 2 * math.pi * (2 * dice[:, 4] - 1) * config.hue).to(images)
    bright = images * brightness
    mean = bright.mean((1, 2, 3), keepdim=True)
    jittered = torch.einsum("bij,bjhw->bihw", matrices, (bright - mean) * contrast + mean).clamp(0, 255)
    return torch.where(_chosen(dice[:, 0], config.jitter, images), jittered, images)


def _colour_matrices(saturation: Tensor, angle: Tensor) -> Tensor:
    """Scale and turn the colour plane of YIQ, luminance left alone: saturation and hue (B,) as linear maps of RGB."""
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cosine, sine = saturation * angle.cos(), saturation * angle.sin()
    turn = torch.zeros(len(angle), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1], turn[:, 1, 2] = cosine, -sine
    turn[:, 2, 1], turn[:, 2, 2] = sine, cosine
    matrices: Tensor = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    return matrices


def _blur(images: Tensor, config: ViewConfig, dice: Tensor) -> Tensor:
    """Gaussian blur by dice (B, 2): whether, how wide."""
    batch, channels, height, width = images.shape
    low, high = config.blur_sigma_px
    sigma = low + dice[:, 1:] * (high - low)
    reach = max(1, math.ceil(2.5 * float(sigma.max())))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    taps = (taps / taps.sum(1, keepdim=True)).to(images).repeat_interleave(channels, 0)
    # As one image of B x 3 channels, each with taps of its own, the whole batch is two convolutions.
    padded = F.pad(images.reshape(1, batch * channels, height, width), (reach, reach, reach, reach), mode="replicate")
    across = F.conv2d(padded, taps[:, None, None, :], groups=batch * channels)
    blurred = F.conv2d(across, taps[:, None, :, None], groups=batch * channels).view_as(images)
    return torch.where(_chosen(dice[:, 0], config.blur, images), blurred, images)


def _chosen(dice: Tensor, probability: float, images: Tensor) -> Tensor:
    return (dice < probability).to(images.device)[:, None, None, None]


def _window(first: float, last: float, side: int) -> tuple[int, int]:
    start = min(max(math.floor(first) - 1, 0), side - 1)
    return start, max(start + 1, min(math.ceil(last) + 2, side))
