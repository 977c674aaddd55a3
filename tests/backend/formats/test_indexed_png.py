"""Index masks keep every byte, and say what does not fit."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from PIL import Image

from recolabel.errors import BadArgument, MaskRefused
from recolabel.formats.indexed_png import (
    LabelMap,
    check_mask,
    classes_txt,
    labelmap_txt,
    read_classes_txt,
    read_png,
    runs_of,
    write_png,
)

LABEL_MAPS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(label_map=LABEL_MAPS)
@settings(max_examples=50, deadline=None)
def test_a_written_mask_reads_back_byte_by_byte(label_map: LabelMap) -> None:
    assert np.array_equal(read_png(write_png(label_map, ["#102030"])), label_map)


def test_the_palette_shows_the_class_colours() -> None:
    png = write_png(np.array([[0, 1, 254, 255]], np.uint8), ["#ff0000", "#00ff80"])

    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == "P"
        colours = np.asarray(image.convert("RGB"))[0].tolist()
    assert colours == [[255, 0, 0], [0, 255, 128], [64, 64, 64], [255, 255, 255]]


def test_a_grey_mask_is_read_as_well_as_a_palette_mask(tmp_path: Path) -> None:
    values = np.array([[0, 3], [254, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / "grey.png")

    assert np.array_equal(read_png(tmp_path / "grey.png"), values)


@pytest.mark.parametrize(
    ("mode", "words"),
    [("RGB", "one byte a pixel"), ("RGBA", "one byte a pixel"), ("I;16", "one byte a pixel"), ("1", "one byte")],
)
def test_a_mask_of_another_kind_is_refused(tmp_path: Path, mode: str, words: str) -> None:
    Image.new(mode, (3, 3)).save(tmp_path / "mask.png")

    with pytest.raises(MaskRefused, match=words):
        read_png(tmp_path / "mask.png")


def test_damaged_or_huge_masks_are_refused() -> None:
    png = write_png(np.zeros((50, 50), np.uint8), [])

    with pytest.raises(MaskRefused, match="damaged"):
        read_png(png[:60])
    with pytest.raises(MaskRefused, match="damaged"):
        read_png(b"not a mask")
    with pytest.raises(MaskRefused, match="2,499 pixels are allowed"):
        read_png(png, max_pixels=2499)


def test_void_values_of_other_data_sets_become_void() -> None:
    mask = np.array([[0, 1], [11, 255]], np.uint8)

    label_map = check_mask(mask, width=2, height=2, class_count=2, void_indices=[11])

    assert label_map.tolist() == [[0, 1], [254, 255]]


def test_a_mask_that_does_not_fit_says_how() -> None:
    mask = np.array([[0, 11]], np.uint8)

    with pytest.raises(MaskRefused, match="2 x 1 pixels, its image 3 x 1"):
        check_mask(mask, width=3, height=1, class_count=20, void_indices=[])
    with pytest.raises(MaskRefused, match=r"value 11, .* --void-index 11"):
        check_mask(mask, width=2, height=1, class_count=5, void_indices=[])


def test_runs_worked_out_by_hand() -> None:
    label_map = np.array(
        [
            [1, 1, 255],
            [1, 0, 0],
            [254, 0, 1],
        ],
        np.uint8,
    )

    assert runs_of(label_map) == {
        0: [1, 1, 2, 2, 1, 1],
        1: [0, 0, 2, 1, 0, 1, 2, 2, 1],
        254: [2, 0, 1],
    }


@given(label_map=LABEL_MAPS)
@settings(max_examples=50, deadline=None)
def test_runs_paint_the_same_label_map_again(label_map: LabelMap) -> None:
    painted = np.full_like(label_map, 255)

    for value, runs in runs_of(label_map).items():
        for y, x, length in zip(runs[::3], runs[1::3], runs[2::3], strict=True):
            painted[y, x : x + length] = value

    assert np.array_equal(painted, label_map)


def test_class_lists_are_written_as_the_tools_read_them() -> None:
    names, colours = ["road", "traffic: light\nred"], ["#804080", "#0a0b0c"]

    assert labelmap_txt(names, colours).splitlines()[1:] == ["road:128,64,128::", "traffic_ light red:10,11,12::"]
    assert classes_txt(names) == "road\ntraffic: light red\n"


def test_a_class_list_reads_back_and_its_void_line_is_no_class() -> None:
    read = read_classes_txt("\ufeffsky\r\nroad\r\nvoid\r\n\r\n")

    assert read.names == ["sky", "road", "void"]
    assert read.void_indices == [2]


@pytest.mark.parametrize("text", ["", "\n\n", "void\n", "a\n\nb\n", "a\nA\n"])
def test_a_class_list_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(BadArgument, match="class"):
        read_classes_txt(text)
