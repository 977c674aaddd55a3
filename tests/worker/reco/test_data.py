"""Labels as coordinates, and the sampler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recolabel_worker.reco.config import UNLABELLED, VOID, InvalidArgument
from recolabel_worker.reco.data import (
    HELD_OUT_BLOCK_PX,
    Sampler,
    SparseImage,
    TrainingSet,
    as_tensor,
    hold_out_labels,
    rasterise,
)

CELLS = [
    ("a single click survives", [(5, 6, 3)], 3),
    ("the majority wins", [(4, 4, 1), (5, 5, 1), (6, 6, 2)], 1),
    ("a tie is void", [(4, 4, 1), (5, 5, 2)], VOID),
    ("void has a voice", [(4, 4, VOID), (5, 5, VOID), (6, 6, 2)], VOID),
    ("a click next door is another cell's", [(4, 8, 1)], UNLABELLED),
]


@pytest.mark.parametrize(("remark", "clicks", "expected"), CELLS)
def test_a_cell_takes_the_class_of_the_labels_inside_it(
    remark: str, clicks: list[tuple[int, int, int]], expected: int
) -> None:
    table = torch.tensor(clicks)

    label_map = rasterise(table[:, :2] + 0.5, table[:, 2], (3, 3))

    assert int(label_map[1, 1]) == expected, remark


def test_an_array_that_runs_backwards_is_read_as_it_looks() -> None:
    bgr = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)

    assert np.array_equal(as_tensor(bgr[..., ::-1]).numpy(), bgr[..., ::-1])


def test_every_single_click_survives_to_stride_four() -> None:
    places = torch.tensor([(y, x) for y in range(16) for x in range(16)])

    kept = [rasterise(place[None] + 0.5, torch.tensor([7]), (4, 4)) == 7 for place in places]

    assert all(int(cells.sum()) == 1 for cells in kept)


def test_labels_outside_the_view_are_left_out() -> None:
    places = torch.tensor([[-0.5, 3.0], [3.0, 12.5], [99.0, 3.0]])

    label_map = rasterise(places, torch.tensor([1, 1, 1]), (3, 3))

    assert (label_map == UNLABELLED).all()


def test_a_class_that_does_not_exist_is_refused() -> None:
    label_map = np.full((4, 4), UNLABELLED, np.uint8)
    label_map[0, 0] = 5

    with pytest.raises(InvalidArgument, match="class 5"):
        TrainingSet([SparseImage(np.zeros((4, 4, 3), np.uint8), label_map)], 5)


BAD_IMAGES = [
    ("grey", np.zeros((4, 4), np.uint8), None),
    ("floats", np.zeros((4, 4, 3), np.float32), None),
    ("no pixel", np.zeros((0, 4, 3), np.uint8), None),
    ("labels of another kind", np.zeros((4, 4, 3), np.uint8), np.full((4, 4), -1, np.int64)),
    ("labels of another size", np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8)),
]


@pytest.mark.parametrize(("remark", "image", "label_map"), BAD_IMAGES)
def test_an_image_of_another_kind_is_refused(remark: str, image: np.ndarray, label_map: np.ndarray | None) -> None:
    with pytest.raises(InvalidArgument):
        SparseImage(image, label_map)


def test_a_sampler_takes_each_image_once_a_pass_and_resumes_anywhere() -> None:
    sampler = Sampler([3, 5, 8], seed=1)
    run = [sampler.at(position) for position in range(9)]

    resumed = [Sampler([3, 5, 8], seed=1).at(position) for position in (7, 8)]

    assert all(sorted(run[start : start + 3]) == [3, 5, 8] for start in (0, 3, 6))
    assert resumed == run[7:]


def test_held_out_labels_are_in_one_part_only(generator: torch.Generator) -> None:
    side = 20 * HELD_OUT_BLOCK_PX
    label_map = torch.randint(0, 3, (side, side), generator=generator, dtype=torch.uint8)
    label_map[0] = VOID

    image = torch.zeros(side, side, 3, dtype=torch.uint8)
    kept, held = hold_out_labels([SparseImage(image, label_map)], 0.3, generator)

    first, second = kept[0].label_map, held[0].label_map
    assert isinstance(first, torch.Tensor)
    assert isinstance(second, torch.Tensor)
    assert ((first < VOID) ^ (second < VOID))[1:].all()
    assert 0.2 < float((second < VOID).float().mean()) < 0.4
    assert (first[0] == VOID).all()


def test_a_square_of_labels_is_held_out_or_trained_on_as_a_whole(generator: torch.Generator) -> None:
    side = 4 * HELD_OUT_BLOCK_PX + 5
    label_map = torch.zeros(side, side, dtype=torch.uint8)

    _, held = hold_out_labels([SparseImage(torch.zeros(side, side, 3, dtype=torch.uint8), label_map)], 0.5, generator)

    is_held = torch.as_tensor(held[0].label_map) == 0
    squares = is_held[: 4 * HELD_OUT_BLOCK_PX, : 4 * HELD_OUT_BLOCK_PX]
    squares = squares.reshape(4, HELD_OUT_BLOCK_PX, 4, HELD_OUT_BLOCK_PX).float().mean((1, 3))
    assert set(squares.flatten().tolist()) == {0.0, 1.0}


def test_images_stay_in_their_memory_map(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    image = np.load(tmp_path / "image.npy", mmap_mode="r")

    held = TrainingSet([SparseImage(image)], num_classes=2).pixels[0]

    assert held.data_ptr() == image.ctypes.data
