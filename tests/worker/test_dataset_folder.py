"""Data set folders: what is read, and what is refused with which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolabel.errors import BadArgument
from recolabel_worker.dataset_folder import read_data_set, spread


def write_pair(folder: Path, split: str, name: str, mask: np.ndarray, seed: int) -> None:
    for part in ("images", "masks"):
        (folder / split / part).mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*mask.shape, 3), np.uint8)
    Image.fromarray(pixels).save(folder / split / "images" / f"{name}.png")
    Image.fromarray(mask).save(folder / split / "masks" / f"{name}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 20:40], mask[:, 40:50], mask[0, 0] = 1, 2, 255
    for number in range(4):
        write_pair(tmp_path, "train", f"t{number}", mask, seed=number)
    write_pair(tmp_path, "val", "v", mask, seed=9)
    (tmp_path / "classes.txt").write_text("meadow\nvoid\nwater\n")
    return tmp_path


def test_class_indices_leave_no_gap_where_the_class_list_says_void(folder: Path) -> None:
    data = read_data_set(folder)

    assert data.class_names == ["meadow", "water"]
    assert data.train[0].label_map[1, [0, 30, 45]].tolist() == [0, 254, 1]
    assert data.train[0].label_map[0, 0] == 255


def test_a_void_index_takes_a_class_away(folder: Path) -> None:
    (folder / "classes.txt").write_text("meadow\nroad\nwater\n")

    data = read_data_set(folder, void_indices=[0])

    assert data.class_names == ["road", "water"]
    assert data.val[0].label_map[1, [0, 30, 45]].tolist() == [254, 0, 1]


def test_images_and_masks_are_brought_to_one_size_and_masks_keep_their_values(folder: Path) -> None:
    item = read_data_set(folder, size=(32, 48)).train[0]

    assert item.pixels.shape == (32, 48, 3)
    assert item.label_map.shape == (32, 48)
    assert set(np.unique(item.label_map)) <= {0, 1, 254, 255}


def test_a_limit_spreads_over_the_whole_split(folder: Path) -> None:
    data = read_data_set(folder, train_limit=2, val_limit=5)

    assert [item.name for item in data.train] == ["t0.png", "t2.png"]
    assert len(data.val) == 1
    assert spread(367, 5) == [0, 73, 146, 220, 293]


def no_classes(folder: Path) -> None:
    (folder / "classes.txt").unlink()


def one_class(folder: Path) -> None:
    (folder / "classes.txt").write_text("meadow\nvoid\n")


def no_val(folder: Path) -> None:
    (folder / "val").rename(folder / "test")


def empty_train(folder: Path) -> None:
    for file in (folder / "train" / "images").iterdir():
        file.unlink()


def mask_missing(folder: Path) -> None:
    (folder / "train" / "masks" / "t1.png").unlink()


def mask_of_another_size(folder: Path) -> None:
    Image.fromarray(np.zeros((40, 61), np.uint8)).save(folder / "train" / "masks" / "t1.png")


def unknown_value(folder: Path) -> None:
    Image.fromarray(np.full((40, 60), 17, np.uint8)).save(folder / "val" / "masks" / "v.png")


def coloured_mask(folder: Path) -> None:
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(folder / "val" / "masks" / "v.png")


def broken_picture(folder: Path) -> None:
    (folder / "train" / "images" / "t0.png").write_bytes(b"not a picture")


def picture_in_both(folder: Path) -> None:
    (folder / "val" / "images" / "v.png").write_bytes((folder / "train" / "images" / "t3.png").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_classes, "classes.txt cannot be read"),
        (one_class, "fewer than two classes"),
        (no_val, "val/images is missing"),
        (empty_train, "There are no images"),
        (mask_missing, "t1.png has no mask"),
        (mask_of_another_size, "61 x 40 pixels, its image 60 x 40"),
        (unknown_value, "has the value 17"),
        (coloured_mask, "one byte a pixel"),
        (broken_picture, "t0.png: "),
        (picture_in_both, "the same picture as train/images/t3.png"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_one_sentence(
    folder: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(folder)

    with pytest.raises(BadArgument) as refusal:
        read_data_set(folder)

    assert said in refusal.value.sentence
    assert "\n" not in refusal.value.sentence
