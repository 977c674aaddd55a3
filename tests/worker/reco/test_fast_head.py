"""The head that answers within a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco import (
    InvalidArgument,
    SparseImage,
    TrainConfig,
    build_network,
    confusion_matrix,
    fast_head,
    mean_iou,
)
from recolabel_worker.reco.config import FastHeadConfig
from recolabel_worker.reco.data import Labels, labels_of
from recolabel_worker.reco.fast_head import FastHeadFitter, class_weights, fit_fast_head, fit_on_features
from recolabel_worker.reco.features import Features, extract_features
from recolabel_worker.reco.metrics import expected_calibration_error
from recolabel_worker.reco.network import DeepLabV3Plus

from .conftest import clicked, two_class_picture


def test_six_clicks_find_the_disc_in_a_picture_nobody_clicked(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    network = build_network(2)
    image, truth = two_class_picture(9)

    head = fit_fast_head(network, pictures, tiny)

    probabilities = head.probabilities(extract_features(network, image))
    assert probabilities.shape == (2, 64, 96)
    assert mean_iou(confusion_matrix(probabilities.argmax(0), torch.as_tensor(truth), 2)) > 0.6


def test_the_same_clicks_give_the_same_bits(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    network = build_network(2)

    first, second = (fit_fast_head(network, pictures, tiny) for _ in range(2))

    assert torch.equal(first.weight, second.weight)


def test_a_click_of_one_class_alone_is_enough(tiny: TrainConfig) -> None:
    label_map = np.full((32, 32), 255, np.uint8)
    label_map[3, 3] = 1

    head = fit_fast_head(build_network(2), [SparseImage(np.zeros((32, 32, 3), np.uint8), label_map)], tiny)

    assert torch.isfinite(head.weight).all()
    assert head.bias[1] > head.bias[0]


def test_void_is_no_class_to_fit(tiny: TrainConfig) -> None:
    label_map = np.full((32, 32), 254, np.uint8)

    with pytest.raises(InvalidArgument, match="click at least one pixel"):
        fit_fast_head(
            build_network(2, pretrained=False), [SparseImage(np.zeros((32, 32, 3), np.uint8), label_map)], tiny
        )


def test_over_a_trained_decoder_the_head_fits_what_is_left(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    network = build_network(2)
    network.start_from(fit_fast_head(network, pictures, tiny))
    torch.nn.init.normal_(network.correction.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    features = [extract_features(network, item.image) for item in pictures]
    labels = [labels_of(item, 2) for item in pictures]

    head = fit_on_features(network, features, labels, tiny.fast_head)

    for item, given in zip(features, labels, strict=True):
        said = head.probabilities(item).argmax(0)
        assert torch.equal(said[given.places[:, 0], given.places[:, 1]], given.classes)


def test_class_weights_balance_labels_and_leave_out_absent_classes() -> None:
    count = torch.tensor([8, 2, 0])

    weights = class_weights(count, 1.0)

    assert (weights * count).tolist() == [5.0, 5.0, 0.0]
    assert class_weights(count, 0.0).tolist() == [1.0, 1.0, 0.0]


def test_clicks_that_come_one_image_at_a_time_give_the_head_of_one_fit(
    pictures: list[SparseImage], tiny: TrainConfig
) -> None:
    network = build_network(2)
    features = [extract_features(network, item.image) for item in pictures]
    labels = [labels_of(item, 2) for item in pictures]
    fitter = FastHeadFitter(network, tiny.fast_head)

    for number, (item, given) in enumerate(zip(features, labels, strict=True)):
        fitter.set_labels(str(number), item, given)
        fitter.fit()

    at_once = fit_on_features(network, features, labels, tiny.fast_head)
    torch.testing.assert_close(
        fitter.fit().probabilities(features[2]), at_once.probabilities(features[2]), atol=0.01, rtol=0
    )


@pytest.mark.parametrize(
    ("starts_at_prior", "decay"),
    [
        (True, 0.03),  # the default
        (False, 0.03),  # after an earlier fit
        (True, 0.3),  # held near the prior
        (True, 1e-3),  # nearly free
    ],
)
def test_a_fit_ends_at_the_minimum_of_its_objective(starts_at_prior: bool, decay: float) -> None:
    rng = torch.Generator().manual_seed(0)
    rows, offsets = torch.randn(300, 40, generator=rng), torch.randn(300, 5, generator=rng)
    classes = torch.randint(0, 4, (300,), generator=rng)  # nobody clicked the fifth
    prior, elsewhere = (
        fast_head._Solution(torch.randn(5, 40, generator=rng), torch.randn(5, generator=rng)) for _ in range(2)
    )

    found = fast_head._fit(
        torch.cat([rows, torch.full((300, 1), fast_head._BIAS_FEATURE)], 1),
        offsets.T.contiguous(),
        classes,
        prior,
        prior if starts_at_prior else elsewhere,
        FastHeadConfig(weight_decay=decay, max_iterations=300),
    )

    weight, bias = found.weight.double().requires_grad_(), found.bias.double().requires_grad_()
    losses = F.cross_entropy(rows.double() @ weight.T + bias + offsets, classes, reduction="none")
    misfit = torch.stack([losses[classes == c].mean() for c in range(4)]).mean()
    distance = (weight - prior.weight).square().sum() + 0.01 * (bias - prior.bias).square().sum()
    (misfit + decay / 2 * distance).backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert bias.grad is not None
    # The bias is held a hundredth as hard, so its gradient weighs a hundred times as much.
    assert (weight.grad.square().sum() + 100 * bias.grad.square().sum()) / (2 * decay) < 1.1e-6


def test_a_fit_that_nothing_holds_back_ends_all_the_same(pictures: list[SparseImage]) -> None:
    cfg = TrainConfig(2, fast_head=FastHeadConfig(weight_decay=0.0))

    head = fit_fast_head(build_network(2), pictures, cfg)

    assert torch.isfinite(head.weight).all()


@pytest.mark.parametrize(
    "order",
    [["a", "b", "c"], ["c", "a", "b"], ["a", "b", "c", "a"]],
    ids=["as they lie", "another image first", "one clicked again"],
)
def test_the_order_in_which_images_were_clicked_does_not_show(order: list[str]) -> None:
    network = build_network(3, pretrained=False)
    given = {key: blurred_classes(network, seed) for seed, key in enumerate("abc")}
    fitter = FastHeadFitter(network, FastHeadConfig())

    for key in order:
        fitter.set_labels(key, *given[key])

    features, labels = zip(*given.values(), strict=True)
    expected = fit_on_features(network, features, labels, FastHeadConfig())
    assert torch.equal(fitter.fit().weight, expected.weight)


def test_the_temperature_is_the_same_after_any_fits_before(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(3, pretrained=False)
    given = {key: blurred_classes(network, seed) for seed, key in enumerate("abc")}
    found: list[float] = []
    find = fast_head._temperature

    def note(*given: Any) -> float:
        found.append(find(*given))
        return found[-1]

    monkeypatch.setattr(fast_head, "_temperature", note)
    anew, clicked_on = (FastHeadFitter(network, FastHeadConfig(weight_decay=1e-3)) for _ in range(2))

    for key in "cba":
        clicked_on.set_labels(key, *given[key])
        clicked_on.fit()
    for key in "abc":
        anew.set_labels(key, *given[key])
    anew.fit()

    assert found[-1] == found[-2] > 1


def test_a_kept_temperature_is_found_anew_when_a_tenth_of_the_labels_came_or_went(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = build_network(3, pretrained=False)
    features, labels = blurred_classes(network, 0)
    found: list[int] = []

    def note(rows: torch.Tensor, *_: object) -> float:
        found.append(len(rows))
        return 2.0

    monkeypatch.setattr(fast_head, "_temperature", note)
    fitter = FastHeadFitter(network, FastHeadConfig())
    weights = []

    for count in (300, 301, 330, 331, 332, 290):
        fitter.set_labels("a", features, Labels(labels.places[:count], labels.classes[:count]))
        weights.append(fitter.fit(keep_temperature=True).weight)

    assert found == [300, 331, 290]
    # One click more hardly moves the head, so the kept temperature was applied.
    torch.testing.assert_close(weights[1], weights[0], atol=0.02, rtol=0.2)


def test_weights_that_are_not_finite_are_refused_and_forgotten(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    network = build_network(2)
    features = extract_features(network, pictures[0].image)
    broken = Features((features.stages[0] * float("nan"), *features.stages[1:]), None, features.size)
    fitter = FastHeadFitter(network, tiny.fast_head)
    fitter.set_labels("a", broken, labels_of(pictures[0], 2))

    with pytest.raises(ArithmeticError):
        fitter.fit()

    fitter.forget("a")
    fitter.set_labels("a", features, labels_of(pictures[0], 2))
    assert torch.equal(fitter.fit().weight, fit_fast_head(network, pictures[:1], tiny).weight)


def test_labels_that_were_taken_back_leave_no_trace(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    network = build_network(2)
    first, second = (extract_features(network, item.image) for item in pictures[:2])
    fitter = FastHeadFitter(network, tiny.fast_head)
    fitter.set_labels("first", first, labels_of(pictures[0], 2))
    labels_before = len(fitter)

    fitter.set_labels("second", second, labels_of(pictures[1], 2))
    fitter.forget("second")
    fitter.forget("never there")

    assert len(fitter) == labels_before
    expected = fit_on_features(network, [first], [labels_of(pictures[0], 2)], tiny.fast_head)
    assert torch.equal(fitter.fit().weight, expected.weight)


def test_an_image_that_lost_its_last_label_leaves_nothing_to_fit(tiny: TrainConfig) -> None:
    network = build_network(2, pretrained=False)
    item = clicked(0)
    features = extract_features(network, item.image)
    fitter = FastHeadFitter(network, tiny.fast_head)
    fitter.set_labels("a", features, labels_of(item, 2))

    fitter.set_labels("a", features, labels_of(SparseImage(item.image), 2))

    with pytest.raises(InvalidArgument, match="click at least one pixel"):
        fitter.fit()


def blurred_classes(network: DeepLabV3Plus, seed: int) -> tuple[Features, Labels]:
    """Features in which three classes overlap so that nobody could tell them apart for sure, and 400 labels."""
    rng = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, 3, (24, 24), generator=rng)
    stages = []
    for channels, side in zip((24, 40, 112, 320), (24, 12, 6, 6), strict=True):
        stages.append(torch.randn(1, channels, side, side, generator=rng))
    # The middle of a 3 x 3 mean holds a ninth of the signal, so it is made strong there.
    for c in range(3):
        stages[0][0, c] += 3.0 * (truth == c)
    cells = torch.randperm(24 * 24, generator=rng)[:400]
    places = torch.stack([cells // 24, cells % 24], 1) * 4
    assert network.num_classes == 3
    return Features((stages[0], stages[1], stages[2], stages[3]), None, (96, 96)), Labels(
        places, truth.flatten()[cells]
    )


def test_calibration_brings_confidence_closer_to_the_share_that_is_right() -> None:
    network = build_network(3, pretrained=False)
    features, labels = zip(*(blurred_classes(network, seed) for seed in range(2)), strict=True)
    unseen, truth = blurred_classes(network, 9)

    def error(cfg: FastHeadConfig) -> float:
        probabilities = fit_on_features(network, features, labels, cfg).probabilities(unseen)
        return expected_calibration_error(probabilities[:, truth.places[:, 0], truth.places[:, 1]].T, truth.classes)

    # With hardly any weight decay the fit is far too sure of itself.
    plain, calibrated = (error(FastHeadConfig(weight_decay=1e-3, calibrate=wanted)) for wanted in (False, True))
    assert plain > 0.1
    assert calibrated < plain / 2
