"""Prediction at any size; tiles are not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recolabel_worker.reco import InvalidArgument, SparseImage, TrainConfig, build_network, predict
from recolabel_worker.reco.fast_head import fit_fast_head
from recolabel_worker.reco.features import spans

from .conftest import two_class_picture


class Striped(nn.Module):
    """A network with a tiny field of view: mean colours of each 4x4 cell."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 4) / 50


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (33, 18), (64, 96)])
def test_probabilities_have_the_size_of_the_image(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)

    probabilities = predict(build_network(3, pretrained=False).eval(), image)

    assert probabilities.shape == (3, *size)
    assert probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(0), torch.ones(size))


def test_tiles_of_a_local_network_are_the_whole_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (150, 101, 3), dtype=np.uint8)

    tiled = predict(Striped(), image, tile_px=64, margin_px=16)

    torch.testing.assert_close(tiled, predict(Striped(), image), atol=1e-5, rtol=1e-4)


def test_tiles_of_the_real_network_agree_with_the_whole_image(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    network = build_network(2).eval()
    network.start_from(fit_fast_head(network, pictures, tiny))
    image, _ = two_class_picture(4, (64, 480))

    whole = predict(network, image)
    tiled = predict(network, image, tile_px=320, margin_px=112)

    assert float((whole - tiled).abs().mean()) < 0.01
    assert float((whole.argmax(0) == tiled.argmax(0)).float().mean()) > 0.99


@pytest.mark.parametrize("side", [1, 64, 65, 100, 1000])
def test_kept_parts_of_tiles_cover_a_side_without_gap_or_overlap(side: int) -> None:
    parts = list(spans(side, 64, 16))

    covered = [pixel for _, _, first, last in parts for pixel in range(first, last)]
    assert covered == list(range(side))
    assert all(start % 16 == 0 and start <= first < last <= end for start, end, first, last in parts)


def test_an_image_of_floats_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="image"):
        predict(Striped(), np.zeros((4, 4, 3), np.float32))
