"""Views: labels move with pixels, padding is void, colour leaves geometry alone."""

from __future__ import annotations

import numpy as np
import torch

from recolabel_worker.reco.config import UNLABELLED, VOID, ViewConfig
from recolabel_worker.reco.data import Labels, labels_of
from recolabel_worker.reco.views import Geometry, colour_and_blur, draw_geometry, take_view

from .conftest import clicked


def one_click(y: int, x: int, c: int = 1) -> Labels:
    return Labels(torch.tensor([[y, x]]), torch.tensor([c]))


def test_a_single_click_inside_the_view_survives_every_augmentation(generator: torch.Generator) -> None:
    pixels = torch.zeros(70, 90, 3, dtype=torch.uint8)

    for y, x in [(0, 0), (69, 89), (0, 89), (35, 44), (69, 0)] * 12:
        geometry = draw_geometry((70, 90), (32, 48), ViewConfig(scale=(0.5, 1.5)), generator, anchor=(y, x))
        _, label_map = take_view(pixels, one_click(y, x), geometry)
        assert int((label_map == 1).sum()) == 1, geometry


def test_a_click_stays_on_the_pixel_that_was_clicked(generator: torch.Generator) -> None:
    # One bright pixel carries the click: in every view the brightest place lies in (or beside) the click's cell.
    pixels = torch.zeros(64, 64, 3, dtype=torch.uint8)
    pixels[37, 21] = 255

    for _ in range(30):
        geometry = draw_geometry((64, 64), (48, 48), ViewConfig(scale=(0.8, 1.5)), generator, anchor=(37, 21))
        view, label_map = take_view(pixels, one_click(37, 21), geometry)
        bright = torch.tensor(divmod(int(view[0].argmax()), 48)) + 0.5
        cell = (label_map == 1).nonzero()[0] * 4 + 2.0
        assert float((bright - cell).abs().max()) <= 3.5


def test_a_view_without_scaling_is_the_image_itself() -> None:
    item = clicked(0, size=(32, 48))
    geometry = Geometry(top=0.0, left=0.0, scale=1.0, flipped=False, size=(32, 48))

    view, _ = take_view(torch.as_tensor(item.image), labels_of(item, 2), geometry)

    np.testing.assert_allclose(view.permute(1, 2, 0).numpy(), np.asarray(item.image), atol=1e-3)


def test_a_mirrored_view_is_the_mirror_image() -> None:
    item = clicked(0, size=(32, 48))
    labels = labels_of(item, 2)
    plain, mirrored = (
        take_view(torch.as_tensor(item.image), labels, Geometry(0.0, 0.0, 1.0, flipped, (32, 48)))
        for flipped in (False, True)
    )

    torch.testing.assert_close(mirrored[0], plain[0].flip(2), atol=1e-3, rtol=0)
    assert torch.equal(mirrored[1], plain[1].flip(1))


def test_geometry_is_invertible(generator: torch.Generator) -> None:
    geometry = draw_geometry((100, 80), (32, 48), ViewConfig(), generator)
    places = torch.tensor([[3, 4], [50, 60]])

    back = geometry.to_image(geometry.to_view(places)) - 0.5

    torch.testing.assert_close(back, places.double())


def test_padding_is_void_so_it_gets_no_pseudo_label(generator: torch.Generator) -> None:
    pixels = torch.full((10, 20, 3), 200, dtype=torch.uint8)

    geometry = draw_geometry((10, 20), (32, 48), ViewConfig(scale=(1.0, 1.0)), generator)
    view, label_map = take_view(pixels, one_click(5, 5), geometry)

    image_cells = int((label_map != VOID).sum())
    assert int((label_map == 1).sum()) == 1
    assert image_cells <= 4 * 6
    assert (view[0, 2::4, 2::4][label_map == VOID] == 127).all()
    assert (label_map == UNLABELLED).any()


def test_a_view_of_a_one_pixel_image_is_finite(generator: torch.Generator) -> None:
    geometry = draw_geometry((1, 1), (32, 32), ViewConfig(), generator, anchor=(0, 0))

    view, label_map = take_view(torch.full((1, 1, 3), 9, dtype=torch.uint8), one_click(0, 0), geometry)

    assert torch.isfinite(view).all()
    assert int((label_map == 1).sum()) == 1


def test_colour_and_blur_keep_the_range_and_differ_from_view_to_view(generator: torch.Generator) -> None:
    images = torch.rand(1, 3, 16, 16, generator=generator).mul(255).expand(4, -1, -1, -1)

    strong = colour_and_blur(images, ViewConfig(jitter=1.0, blur=1.0), generator)

    assert 0 <= float(strong.min()) <= float(strong.max()) <= 255
    assert not torch.equal(strong[0], strong[1])


def test_strong_views_do_not_pass_through_eight_bits(generator: torch.Generator) -> None:
    images = torch.full((1, 3, 8, 8), 100.3)

    untouched = colour_and_blur(images, ViewConfig(jitter=0.0, blur=0.0), generator)

    assert torch.equal(untouched, images)
