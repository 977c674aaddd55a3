"""The fast head while people click: what it needs, what it draws, what a failure leaves behind."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pytest
import torch

from recolabel.contract.labels import SnapshotImage
from recolabel_worker.encoders import Encoder, pretrained_encoder
from recolabel_worker.reco.config import UNLABELLED, VOID
from recolabel_worker.refiner import Legs, Refiner

pytestmark = pytest.mark.usefixtures("one_thread")

GRASS, WATER = "grass", "water"
SIZE = (48, 64)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return pretrained_encoder(torch.device("cpu"))


@pytest.fixture
def refiner(encoder: Encoder) -> Refiner:
    return Refiner(encoder, [GRASS, WATER], model_version=None)


def picture(seed: int) -> tuple[SnapshotImage, npt.NDArray[np.uint8]]:
    """Green left, blue right."""
    rng = np.random.default_rng(seed)
    colours = np.where(np.arange(SIZE[1])[None, :, None] < 32, (60, 160, 60), (60, 90, 200))
    pixels = (colours + rng.integers(-30, 30, (*SIZE, 3))).astype(np.uint8)
    sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
    return (
        SnapshotImage(
            image_id=f"0000000{seed}-0000-0000-0000-000000000000",
            sha256=sha256,
            name=f"{seed}.png",
            width=SIZE[1],
            height=SIZE[0],
            labelled_pixels=1,
        ),
        pixels,
    )


def labels(*clicks: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """A label map with clicks (y, x, class)."""
    label_map = np.full(SIZE, UNLABELLED, np.uint8)
    for y, x, index in clicks:
        label_map[y, x] = index
    return label_map


LEFT, RIGHT = (20, 10, 0), (20, 50, 1)


@pytest.mark.parametrize(
    ("label_map", "can_fit"),
    [
        (labels(), False),
        (labels(LEFT), False),  # one class: nothing to tell apart
        (labels(LEFT, (30, 10, 0)), False),
        (labels(LEFT, (20, 50, VOID)), False),  # void is no class
        (labels((20, 20, 0), (21, 21, 1)), False),  # in one cell of the features two classes cancel out
        (labels(LEFT, RIGHT), True),
    ],
)
def test_two_classes_have_to_be_there(refiner: Refiner, label_map: npt.NDArray[np.uint8], can_fit: bool) -> None:
    image, pixels = picture(0)

    refiner.learn(image, refiner.encoder.extract(pixels), label_map)

    assert refiner.can_fit is can_fit
    assert not refiner.can_draw


def test_two_clicks_colour_a_picture_that_was_only_seen(refiner: Refiner) -> None:
    image, pixels = picture(0)
    other, other_pixels = picture(1)
    other_features = refiner.encoder.extract(other_pixels)
    refiner.learn(image, refiner.encoder.extract(pixels), labels(LEFT, RIGHT))
    refiner.see(other, other_features)
    refiner.fit()
    legs = Legs()

    drawing = refiner.draw(other, other_features, legs)

    truth = (np.arange(SIZE[1]) >= 32)[None].repeat(SIZE[0], 0)
    assert (drawing.prediction == truth).mean() > 0.85
    assert drawing.confidence.shape == SIZE
    assert {candidate.guess for candidate in drawing.candidates} == {0, 1}
    assert all(0 <= candidate.entropy <= 1 for candidate in drawing.candidates if candidate.entropy is not None)
    assert set(legs.timings_ms) == {"predict", "candidates"}


def test_labelled_pixels_are_no_candidates(refiner: Refiner) -> None:
    image, pixels = picture(0)
    features = refiner.encoder.extract(pixels)
    label_map = np.full(SIZE, VOID, np.uint8)
    label_map[10:20], label_map[30:40, 40:] = 0, 1
    label_map[5, 7] = UNLABELLED
    refiner.learn(image, features, label_map)
    refiner.fit()

    drawing = refiner.draw(image, features, Legs())

    assert [(candidate.pixel.y, candidate.pixel.x) for candidate in drawing.candidates] == [(5, 7)]


def test_labels_that_are_known_already_need_no_refit(refiner: Refiner) -> None:
    image, pixels = picture(0)
    features = refiner.encoder.extract(pixels)
    refiner.learn(image, features, labels(LEFT, RIGHT))
    refiner.fit()

    refiner.learn(image, features, labels(LEFT, RIGHT))
    assert not refiner.is_behind

    refiner.learn(image, features, labels(LEFT, RIGHT, (40, 5, 0)))
    assert refiner.is_behind


def test_an_image_with_other_pixels_takes_the_place_of_the_old_one(encoder: Encoder) -> None:
    # Given a fast head that learnt an image, and one that never saw it
    (image, pixels), (_, other_pixels) = picture(0), picture(1)
    replaced = image.model_copy(update={"sha256": "f" * 64})
    before, anew = (Refiner(encoder, [GRASS, WATER], model_version=None) for _ in range(2))
    before.learn(image, encoder.extract(pixels), labels((1, 1, 1), (40, 60, 0)))

    # When both learn what replaced it
    features = encoder.extract(other_pixels)
    for refiner in (before, anew):
        refiner.learn(replaced, features, labels(LEFT, RIGHT))
        refiner.fit()

    # I expect no trace of the old pixels and labels
    first, second = (refiner.draw(replaced, features, Legs()).confidence for refiner in (before, anew))
    assert np.array_equal(first, second)


def test_an_image_that_is_gone_takes_its_labels_along(refiner: Refiner) -> None:
    image, pixels = picture(0)
    refiner.learn(image, refiner.encoder.extract(pixels), labels(LEFT, RIGHT))
    refiner.fit()

    refiner.forget(image.image_id)

    assert not refiner.can_fit
    assert not refiner.can_draw


def test_a_refit_that_fails_is_not_tried_again_with_the_same_labels(
    refiner: Refiner, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, pixels = picture(0)
    features = refiner.encoder.extract(pixels)
    features.stages[0].fill_(float("nan"))

    refiner.learn(image, features, labels(LEFT, RIGHT))
    with pytest.raises(ArithmeticError, match="not finite"):
        refiner.fit()

    assert not refiner.is_behind
    refiner.forget(image.image_id)
    refiner.learn(image, refiner.encoder.extract(pixels), labels(LEFT, RIGHT))
    refiner.fit()
    assert refiner.can_draw
