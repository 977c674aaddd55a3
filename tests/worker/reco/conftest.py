"""Small pictures and small runs for the engine's tests."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from recolabel_worker.reco import SparseImage, TrainConfig


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads, and lose much where the processor is shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def two_class_picture(seed: int = 0, size: tuple[int, int] = (64, 96)) -> tuple[np.ndarray, np.ndarray]:
    """A red disc (class 1) on noisy green (class 0): image (H, W, 3) uint8 and its full label map."""
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width]
    disc = (y - height / 2) ** 2 + (x - width * rng.uniform(0.35, 0.65)) ** 2 < (0.3 * height) ** 2
    image = np.where(disc[..., None], (180, 60, 40), (60, 150, 70))
    noisy = np.clip(image + rng.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)
    return noisy, disc.astype(np.uint8)


def clicked(seed: int = 0, clicks_per_class: int = 3, size: tuple[int, int] = (64, 96)) -> SparseImage:
    """The picture with a few clicks of each class."""
    image, truth = two_class_picture(seed, size)
    rng = np.random.default_rng(seed + 100)
    label_map = np.full(truth.shape, 255, np.uint8)
    for c in (0, 1):
        places = np.argwhere(truth == c)
        for y, x in places[rng.choice(len(places), clicks_per_class, replace=False)]:
            label_map[y, x] = c
    return SparseImage(image, label_map)


@pytest.fixture
def pictures() -> list[SparseImage]:
    """Two clicked pictures and one that nobody has looked at."""
    return [clicked(0), clicked(1), SparseImage(two_class_picture(2)[0])]


@pytest.fixture
def tiny() -> TrainConfig:
    return TrainConfig(num_classes=2, steps=4, crop=(48, 64), warm_up_steps=1, seed=3)
