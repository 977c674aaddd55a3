"""Cutout, CutMix and ClassMix: image, label and confidence change hands together."""

from __future__ import annotations

import pytest
import torch

from recolabel_worker.reco.config import VOID, Method
from recolabel_worker.reco.mixing import Mixable, class_mask, mix


def batch() -> Mixable:
    """Two views, the second 100 times the first: pixel = 4 * class + 100 * view, confidence = pixel / 1000."""
    label_map = torch.arange(16).view(1, 4, 4).repeat(2, 1, 1) // 4
    marks = label_map * 4.0 + torch.tensor([0.0, 100.0])[:, None, None]
    pixels = marks.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None].expand(-1, 3, -1, -1)
    return Mixable(pixels, label_map + torch.tensor([0, 10])[:, None, None], marks / 1000)


@pytest.mark.parametrize("method", ["cutmix", "classmix"])
def test_image_label_and_confidence_change_hands_together(method: Method, generator: torch.Generator) -> None:
    mixed = mix(batch(), method, generator)

    from_second = mixed.label_map >= 10
    assert torch.equal(mixed.images[:, 0, ::4, ::4] >= 100, from_second)
    assert torch.equal(mixed.confidence >= 0.1, from_second)
    assert from_second[0].any()
    assert not from_second[1].all()


def test_cutout_makes_void_what_it_hides(generator: torch.Generator) -> None:
    mixed = mix(batch(), "cutout", generator)

    hidden = mixed.label_map == VOID
    assert hidden.any()
    assert (mixed.images[:, 0, ::4, ::4][hidden] == 127).all()
    assert (mixed.confidence[hidden] == 0).all()
    assert torch.equal(mixed.label_map[~hidden], batch().label_map[~hidden])


def test_classmix_takes_half_of_the_classes_and_never_void(generator: torch.Generator) -> None:
    label_map = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3], [VOID] * 4, [4] * 4])

    mask = class_mask(label_map, generator)

    assert len(torch.unique(label_map[mask])) == 3
    assert not mask[label_map == VOID].any()


@pytest.mark.parametrize("method", ["supervised", "cutout", "cutmix", "classmix"])
def test_a_batch_of_one_can_be_mixed(method: Method, generator: torch.Generator) -> None:
    alone = Mixable(*(part[:1] for part in batch()))

    mixed = mix(alone, method, generator)

    assert mixed.images.shape == alone.images.shape
