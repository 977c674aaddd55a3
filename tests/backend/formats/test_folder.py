"""What users call their files never decides where we write."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recolabel.formats.folder import (
    FileNames,
    files_in,
    may_be_picture,
    pair_masks,
    read_names,
    safe_stem,
    write_mask_zip,
)
from recolabel.formats.indexed_png import read_png, write_png
from recolabel.imaging import IMAGE_ENDINGS

STEMS = [
    # image name, written as, remark
    ("a.jpg", "a", "the usual"),
    ("a.b.jpg", "a.b", "only the last ending goes"),
    ("a", "a", "no ending"),
    ("day 1/a.jpg", "day 1_a", "a folder becomes part of the name"),
    ("day.1/a", "day.1_a", "a dot in a folder is no ending"),
    ("../../etc/passwd", "etc_passwd", "no way out"),
    ("..\\..\\boot.ini", "boot", "nor with the other slash"),
    ("/etc/shadow", "etc_shadow", "nor from the root"),
    (".hidden", "_hidden", "no hidden file"),
    ("CON.png", "_CON", "a device of Windows"),
    ("com1.tar.png", "_com1.tar", "the same with more endings"),
    ("a:b*c?.png", "a_b_c_", "letters that Windows refuses"),
    ("a\0b\n.png", "a_b_", "control characters"),
    ("exe.\u202egnp.png", "exe.gnp", "no letters that turn the reading direction"),
    ("\N{SLICE OF PIZZA}.png", "\N{SLICE OF PIZZA}", "emoji stay"),
    ("trailing. .png", "trailing", "no dot or blank at the end"),
    ("...", "image", "nothing left"),
    ("", "image", "nothing at all"),
]


@pytest.mark.parametrize(("name", "stem", "remark"), STEMS, ids=[row[2] for row in STEMS])
def test_a_stored_name_becomes_a_harmless_file_name(name: str, stem: str, remark: str) -> None:
    assert safe_stem(name) == stem


@given(st.text(max_size=300))
def test_no_name_whatever_leads_out_of_a_folder(name: str) -> None:
    stem = safe_stem(name)

    assert stem
    assert "/" not in stem
    assert "\\" not in stem
    assert not stem.startswith(".")
    assert len(stem.encode()) <= 180
    assert Path("folder", stem + ".png").resolve().parent == Path("folder").resolve()


def test_names_that_would_be_one_file_are_kept_apart() -> None:
    names = FileNames(".png")

    given_out = [
        names.name_for(name) for name in ("a.jpg", "a.png", "A.tif", "b/a.png", "a-2.jpg", "x" * 250, "x" * 251)
    ]

    assert given_out[:5] == ["a.png", "a-2.png", "A-3.png", "b_a.png", "a-2-2.png"]
    assert len({name.casefold() for name in given_out}) == 7


def test_files_are_found_in_the_order_that_people_count_in(tmp_path: Path) -> None:
    for name in ("b10.jpg", "b2.jpg", "sub/c.jpg", ".hidden.jpg", ".git/x.jpg", "A.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert [file.name for file in files_in(tmp_path)] == ["A.jpg", "b2.jpg", "b10.jpg", "sub/c.jpg"]


@pytest.mark.parametrize("name", ["a", "a.JPG", "day.1/a", "a.gif", "a.heic", *(f"a{e}" for e in IMAGE_ENDINGS)])
def test_a_picture_of_any_kind_may_be_one(name: str) -> None:
    assert may_be_picture(name)


@pytest.mark.parametrize("name", ["notes.txt", "a.jpg.CSV", "day 1/Thumbs.db", "a.mp4", "labels.jsonl"])
def test_a_file_of_another_ending_is_no_picture(name: str) -> None:
    assert not may_be_picture(name)


def test_a_mask_belongs_to_the_image_of_its_name_and_to_one_only() -> None:
    images = ["a.jpg", "b.png", "b.jpg", "day 1/c.tif", "d.jpg"]
    masks = ["a.png", "b.png", "day 1/c.png", "e.png"]

    pairs, unclear = pair_masks(images, masks)

    assert pairs == {"a.jpg": "a.png", "day 1/c.tif": "day 1/c.png"}
    assert unclear == {"b.png": "b.png", "b.jpg": "b.png"}


def test_a_mask_is_found_again_under_the_name_that_it_was_written_with() -> None:
    names = ["a:b?.jpg", "day 1/c.jpg", "day 1/d.jpg", "day 1_d.png", "e.jpg"]
    masks = ["a_b_.png", "day 1_c.png", "day 1_d.png", "e.png", "_e.png"]

    pairs, unclear = pair_masks(names, masks)

    assert pairs == {"a:b?.jpg": "a_b_.png", "day 1/c.jpg": "day 1_c.png", "e.jpg": "e.png"}
    assert unclear == {"day 1/d.jpg": "day 1_d.png", "day 1_d.png": "day 1_d.png"}


def test_the_table_of_an_export_says_whose_mask_is_whose(tmp_path: Path) -> None:
    # Given an export of images whose masks cannot all have the name of their image
    images = ["b.png", "b.jpg", "day 1/c.jpg", "day 1_c.jpg"]
    with (tmp_path / "export.zip").open("wb") as file:
        write_mask_zip(file, [(name, b"") for name in images], class_names=[], class_colours=[])
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        archive.extractall(tmp_path)

    # When the masks are looked for in its folder, and in the one of the masks
    found = []
    for folder in (tmp_path, tmp_path / "masks"):
        mask_names = [file.name for file in files_in(folder)]
        found.append(pair_masks(images, mask_names, read_names(folder)))

    written = {"b.png": "b.png", "b.jpg": "b-2.png", "day 1/c.jpg": "day 1_c.png", "day 1_c.jpg": "day 1_c-2.png"}
    assert found == [({image: f"masks/{mask}" for image, mask in written.items()}, {}), (written, {})]
    assert read_names(tmp_path / "elsewhere" / "masks") == {}


def test_a_mask_zip_has_masks_class_lists_and_says_whose_mask_is_whose() -> None:
    png = write_png(np.array([[0, 255]], np.uint8), ["#ff0000"])
    file, again = io.BytesIO(), io.BytesIO()

    masks = [("../a.jpg", png), ("a.png", png)]
    count = write_mask_zip(file, masks, class_names=["road"], class_colours=["#ff0000"])
    write_mask_zip(again, masks, class_names=["road"], class_colours=["#ff0000"])

    with zipfile.ZipFile(file) as archive:
        assert count == 2
        assert archive.namelist() == ["masks/a.png", "masks/a-2.png", "labelmap.txt", "classes.txt", "names.csv"]
        assert read_png(archive.read("masks/a.png")).tolist() == [[0, 255]]
        assert archive.read("names.csv").decode().splitlines()[1] == "masks/a.png,../a.jpg"
    assert file.getvalue() == again.getvalue()
