"""The known traps of learning from clicks that no single part can fall into; each test is named after its trap.

The others stand with their part: a click at stride 4 in `test_data.py`, in views in `test_views.py`; buffers that a
teacher forgets in `test_teacher.py`; pseudo-labels over given ones in `test_train.py`; every emptiness in
`test_losses.py` and `test_train.py`.
"""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recolabel_worker.reco import METHODS, Method, SparseImage, TrainConfig, build_network, create_state, train
from recolabel_worker.reco.config import UNLABELLED, VOID
from recolabel_worker.reco.losses import eta
from recolabel_worker.reco.mixing import Mixable, mix
from recolabel_worker.reco.train import pseudo_labels

from .conftest import clicked, two_class_picture


def one_click(seed: int, value: int, y: int, x: int) -> SparseImage:
    label_map = np.full((64, 96), UNLABELLED, np.uint8)
    label_map[y, x] = value
    return SparseImage(two_class_picture(seed)[0], label_map)


CORNERS = [(0, 0), (63, 95), (31, 47), (0, 95)]


@pytest.mark.parametrize("method", METHODS)
def test_a_single_click_survives_to_the_loss_in_every_step_of_every_method(
    method: Method, tiny: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given images of one click each, some at the very edge
    images = [one_click(seed, seed % 2, *place) for seed, place in enumerate(CORNERS)]
    cfg = replace(tiny, method=method, steps=6, crop=(32, 48), views=replace(tiny.views, scale=(0.5, 1.5)))
    state = create_state(cfg, images, network=build_network(2, pretrained=False))
    seen: list[Tensor] = []

    def watch(representation: Tensor, label_map: Tensor, *rest: Tensor, **options: object) -> Tensor:
        seen.append(label_map[: cfg.batch_labelled])
        return (representation * 0).sum()

    monkeypatch.setattr(importlib.import_module("recolabel_worker.reco.train"), "regional_contrast_loss", watch)

    list(train(state))

    # I expect a click in every view around clicks, at the contrast's own resolution
    assert len(seen) == cfg.steps
    assert [int((view < VOID).sum()) for views in seen for view in views] == [1] * cfg.steps * cfg.batch_labelled


def test_two_single_clicks_are_enough_for_a_contrast(tiny: TrainConfig) -> None:
    both = clicked(0, clicks_per_class=1)
    whole = replace(tiny.views, scale=(1.0, 1.0))
    # From the fast head's solution both clicks would be easy: it was fitted to them.
    cfg = replace(tiny, method="supervised", crop=(64, 96), steps=1, fast_start=False, views=whole)

    (report,) = train(create_state(cfg, [both], network=build_network(2, pretrained=False)))

    assert report.losses.contrast is not None
    assert report.losses.contrast > 0


class Sure(nn.Module):
    """A teacher that says class 1 with the given probabilities, one for each cell of a row."""

    def __init__(self, probabilities: Tensor) -> None:
        super().__init__()
        self.logits = torch.stack([torch.zeros_like(probabilities), torch.logit(probabilities)])[None, :, None]

    def forward(self, images: Tensor) -> Tensor:  # noqa: ARG002
        return self.logits.float()


@pytest.mark.parametrize("method", ["supervised", "cutmix", "classmix"])
def test_confidence_never_passes_through_eight_bits(method: Method, generator: torch.Generator) -> None:
    # 0.9702 becomes 247 / 255 = 0.9686 in 8 bits, and would no longer exceed 0.97; 0.9698 the same.
    said = torch.tensor([0.9702, 0.9698, 0.5001, 0.9999], dtype=torch.float64)
    unlabelled = torch.full((1, 1, 4), UNLABELLED)

    labels, confidence = pseudo_labels(Sure(said), torch.zeros(1, 3, 4, 16), unlabelled)  # type: ignore[arg-type]
    mixed = mix(Mixable(torch.zeros(1, 3, 4, 16), labels, confidence), method, generator)

    torch.testing.assert_close(mixed.confidence[0, 0], said.float(), atol=1e-6, rtol=0)
    assert (mixed.confidence > 0.97).flatten().tolist() == [True, False, False, True]
    assert float(eta(mixed.confidence, torch.ones(1, 1, 4, dtype=torch.bool), 0.97)) == 0.5


def test_model_selection_never_sees_the_evaluation_set(tiny: TrainConfig) -> None:
    """A run is told nothing but its own images; what it chooses by is a part of them, kept from training."""
    truth = two_class_picture(0)[1]
    images = [SparseImage(two_class_picture(0)[0], truth), clicked(1)]
    state = create_state(replace(tiny, steps=1, hold_out_from=100), images, network=build_network(2, pretrained=False))
    list(train(state))

    choice = state.choose()

    assert state.held_out is not None
    for given, kept, judged in zip(images, state.training_set.labels, state.held_out.labels, strict=True):
        own, others = ({tuple(place) for place in part.places[part.spoken].tolist()} for part in (kept, judged))
        assert not own & others
        assert own | others == {tuple(place) for place in np.argwhere(np.asarray(given.label_map) < VOID).tolist()}
    assert choice.judged_labels == int(state.held_out.class_counts().sum())
