"""The demo is the first thing that a new user sees, and test data with exact ground truth."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolabel.demo import CLASS_COLOURS, CLASS_NAMES, FLOWERS, MEADOW, WATER, make_demo, make_scene
from recolabel.formats.indexed_png import read_classes_txt, read_png


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_demo(folder)
    return folder


def test_the_demo_is_a_data_set_folder(demo: Path) -> None:
    images, masks = sorted((demo / "images").iterdir()), sorted((demo / "masks").iterdir())

    assert len(images) == 24
    assert [path.stem for path in images] == [path.stem for path in masks]
    assert read_classes_txt((demo / "classes.txt").read_text()).names == list(CLASS_NAMES)
    assert len(CLASS_NAMES) == len(CLASS_COLOURS) == 5
    for image, mask in zip(images, masks, strict=True):
        with Image.open(image) as picture:
            assert picture.size == (480, 360)
        assert read_png(mask).shape == (360, 480)


def test_every_class_is_there_and_some_are_rare(demo: Path) -> None:
    masks = np.stack([read_png(path) for path in sorted((demo / "masks").iterdir())])

    shares = np.bincount(masks.ravel(), minlength=5) / masks.size

    assert shares[MEADOW] > 0.5
    assert 0.002 < shares[FLOWERS] < 0.02
    assert (shares > 0).all()
    assert (np.array([len(np.unique(mask)) for mask in masks]) >= 3).all()


def test_the_ground_truth_fits_the_picture() -> None:
    colours, label_map = make_scene(np.random.default_rng(3))

    blueness = colours[..., 2].astype(float) - colours[..., 0]

    assert blueness[label_map == WATER].mean() > 20 > blueness[label_map == MEADOW].mean()


def test_the_same_seed_gives_the_same_scenes_and_another_seed_others() -> None:
    first, again, other = (make_scene(np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_the_demo_is_made_within_seconds(tmp_path: Path) -> None:
    began = time.process_time()

    make_demo(tmp_path, count=6)

    assert time.process_time() - began < 5 / 4 * 2  # a quarter of the scenes; twice the time for a busy machine
