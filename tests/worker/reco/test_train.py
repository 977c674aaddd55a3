"""The loop: it learns, it repeats itself bit by bit, and nothing is NaN."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from recolabel_worker.reco import (
    METHODS,
    DeepLabV3Plus,
    InvalidArgument,
    Method,
    NonFiniteLoss,
    RecoConfig,
    SparseImage,
    TrainConfig,
    TrainState,
    build_network,
    confusion_matrix,
    create_state,
    export_state_dict,
    mean_iou,
    predict,
    train,
)
from recolabel_worker.reco.config import UNLABELLED, VOID
from recolabel_worker.reco.data import Labels
from recolabel_worker.reco.mixing import Mixable
from recolabel_worker.reco.train import contrast_labels, pseudo_labels

from .conftest import clicked, two_class_picture


def bits(state: TrainState) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in state.teacher.state_dict().items()}


def score(network: torch.nn.Module) -> float:
    """Mean IoU over three pictures that nobody clicked."""
    confusion = torch.zeros(2, 2, dtype=torch.int64)
    for seed in (9, 10, 11):
        image, truth = two_class_picture(seed)
        confusion += confusion_matrix(predict(network, image).argmax(0), torch.as_tensor(truth), 2)
    return mean_iou(confusion)


def test_training_climbs_above_the_fast_head_on_generated_pictures(tiny: TrainConfig) -> None:
    """From one click a class, on average over three seeds: what a single short run finds depends on its dice."""
    pictures = [clicked(0, 1), clicked(1, 1), SparseImage(two_class_picture(2)[0])]
    gains, contrast_falls = [], []
    for seed in (4, 5, 6):
        state = create_state(replace(tiny, steps=16, seed=seed), pictures)
        reports = list(train(state))
        assert [report.step for report in reports] == list(range(1, 17))
        gains.append(score(state.teacher) - score(state.start))
        contrast = [report.losses.contrast or 0.0 for report in reports]
        contrast_falls.append(sum(contrast[:3]) - sum(contrast[-3:]))

    assert np.mean(gains) > 0.05, gains
    assert np.mean(contrast_falls) > 0.0, contrast_falls


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("use_reco", [True, False])
def test_every_method_runs_with_and_without_reco(
    method: Method, use_reco: bool, pictures: list[SparseImage], tiny: TrainConfig
) -> None:
    cfg = replace(tiny, method=method, use_reco=use_reco, steps=1, crop=(32, 48))
    state = create_state(cfg, pictures, network=build_network(2, pretrained=False))

    (report,) = train(state)

    assert np.isfinite(report.losses.total)
    assert (report.losses.pseudo is None) == (method == "supervised")
    assert (report.losses.contrast is None) == (not use_reco)


def test_the_total_is_the_weighted_sum_of_its_terms(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    sure = replace(tiny.reco, delta_s=0.4)  # the teacher of a fresh network gives each of two classes 0.5
    cfg = replace(tiny, steps=1, pseudo_weight=3.0, contrast_weight=0.5, fast_start=False, reco=sure)
    state = create_state(cfg, pictures, network=build_network(2, pretrained=False))

    (report,) = train(state)

    losses = report.losses
    assert losses.pseudo is not None
    assert losses.pseudo > 0
    assert losses.total == pytest.approx(losses.supervised + 3.0 * losses.pseudo + 0.5 * (losses.contrast or 0.0))


def test_the_contrast_pulls_by_its_weight(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    pulls = []
    for weight in (0.25, 0.5):
        cfg = replace(tiny, steps=1, fast_start=False, clip_norm=1e9, contrast_weight=weight)
        state = create_state(cfg, pictures)
        list(train(state))
        pulls.append(state.student.get_parameter("representation_head.1.weight").grad)

    assert pulls[0] is not None
    assert pulls[0].any()
    torch.testing.assert_close(pulls[1], 2 * pulls[0])


def test_learning_rates_fall_from_step_to_step(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    state = create_state(replace(tiny, warm_up_steps=0), pictures, network=build_network(2, pretrained=False))

    rates = [[group["lr"] for group in state.optimiser.param_groups] for _ in train(state)]

    expected = [(1 - step / tiny.steps) ** tiny.lr_power for step in range(tiny.steps)]
    for part, rate in enumerate((tiny.head_lr, tiny.direct_lr, tiny.backbone_lr)):
        assert [step[part] for step in rates] == pytest.approx([rate * factor for factor in expected])


@pytest.mark.parametrize(("wait_steps", "moves_it"), [(200, False), (0, True)])
def test_a_fresh_representation_head_does_not_move_the_backbone(
    wait_steps: int, moves_it: bool, pictures: list[SparseImage], tiny: TrainConfig
) -> None:
    cfg = replace(tiny, steps=1, warm_up_steps=0, clip_norm=1e9, contrast_wait_steps=wait_steps)
    with_reco, without = (create_state(replace(cfg, use_reco=reco), pictures) for reco in (True, False))

    for state in (with_reco, without):
        list(train(state))

    others = dict(without.student.backbone.named_parameters())
    same = [torch.equal(p, others[name]) for name, p in with_reco.student.backbone.named_parameters()]
    assert all(same) != moves_it
    first, second = (state.student.get_parameter("decoder.mix.0.weight") for state in (with_reco, without))
    assert not torch.equal(first, second)


def test_the_same_seed_gives_the_same_bits(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    runs = []
    for _ in range(2):
        state = create_state(tiny, pictures)
        list(train(state))
        runs.append(bits(state))

    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_another_seed_gives_another_run(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    states = [create_state(replace(tiny, seed=seed, steps=2), pictures) for seed in (1, 2)]
    for state in states:
        list(train(state))

    assert not torch.equal(states[0].teacher.direct.weight, states[1].teacher.direct.weight)


def test_given_labels_overwrite_pseudo_labels_and_void_gets_none(tiny: TrainConfig) -> None:
    teacher = build_network(2, pretrained=False).eval()
    given = torch.full((1, 4, 4), UNLABELLED)
    given[0, 0, 0], given[0, 1, 1] = 1, VOID

    labels, confidence = pseudo_labels(teacher, torch.zeros(1, 3, 16, 16), given)

    assert (int(labels[0, 0, 0]), float(confidence[0, 0, 0])) == (1, 1.0)
    assert (int(labels[0, 1, 1]), float(confidence[0, 1, 1])) == (VOID, 0.0)
    assert float(confidence[0, 2, 2]) == 0.5


def test_backbone_statistics_stay_those_of_the_pretrained_weights(
    pictures: list[SparseImage], tiny: TrainConfig
) -> None:
    state = create_state(tiny, pictures)
    before = {name: buffer.clone() for name, buffer in state.student.backbone.named_buffers()}

    list(train(state))

    assert all(torch.equal(before[name], buffer) for name, buffer in state.student.backbone.named_buffers())


def labelled(*values: int) -> SparseImage:
    label_map = np.full((32, 32), UNLABELLED, np.uint8)
    for place, value in enumerate(values):
        label_map[8 * place, 8] = value
    return SparseImage(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8), label_map)


SCARCE = [
    ("one click in the whole project", [labelled(1)]),
    ("one class and a void", [labelled(0, VOID)]),
    (
        "an image that is all void beside it",
        [labelled(0, 1), SparseImage(labelled().image, np.full((32, 32), VOID, np.uint8))],
    ),
    (
        "images of many sizes, down to one pixel",
        [labelled(0, 1), SparseImage(np.zeros((1, 1, 3), np.uint8)), SparseImage(np.zeros((90, 17, 3), np.uint8))],
    ),
]


@pytest.mark.parametrize(("remark", "images"), SCARCE)
def test_scarce_labels_never_give_nan(remark: str, images: list[SparseImage], tiny: TrainConfig) -> None:
    state = create_state(replace(tiny, steps=3, crop=(32, 32)), images)

    reports = list(train(state))

    assert all(np.isfinite(report.losses.total) for report in reports), remark
    assert all(torch.isfinite(tensor).all() for tensor in bits(state).values()), remark


def _spoil_the_logits(network: DeepLabV3Plus) -> None:
    network.direct.bias.fill_(float("nan"))


def _spoil_the_representation(network: DeepLabV3Plus) -> None:
    for parameter in network.representation_head.parameters():
        parameter.fill_(float("inf"))


def _spoil_the_gradient(network: DeepLabV3Plus) -> None:
    # The loss is a number still.
    last = network.get_parameter("representation_head.1.weight")
    last.register_hook(lambda gradient: gradient * float("nan"))  # type: ignore[no-untyped-call]


DIVERGED: list[tuple[str, Callable[[DeepLabV3Plus], None], dict[str, Any]]] = [
    ("logits, ReCo or not", _spoil_the_logits, {"use_reco": False}),
    ("logits", _spoil_the_logits, {}),
    ("the representation alone", _spoil_the_representation, {}),
    ("a gradient alone", _spoil_the_gradient, {}),
    ("logits, with batch statistics that would follow", _spoil_the_logits, {"train_batch_norm": True, "norm": "batch"}),
]


@pytest.mark.parametrize(("remark", "spoil", "options"), DIVERGED, ids=[remark for remark, _, _ in DIVERGED])
def test_a_loss_that_is_not_finite_ends_the_run_and_changes_nothing(
    remark: str,
    spoil: Callable[[DeepLabV3Plus], None],
    options: dict[str, Any],
    pictures: list[SparseImage],
    tiny: TrainConfig,
) -> None:
    # Given a run whose numbers break down behind its first step
    cfg = replace(tiny, **options)
    network = build_network(2, pretrained=False, **cfg.architecture)
    state = create_state(cfg, pictures, network=network)
    run = train(state)
    next(run)
    with torch.no_grad():
        spoil(state.student)
    before, student, rng = bits(state), copy.deepcopy(state.student.state_dict()), state.rng.get_state()

    with pytest.raises(NonFiniteLoss, match="step 2") as stopped:
        next(run)

    # I expect the state of step 1, to the last draw
    assert (stopped.value.step, state.step) == (2, 1)
    assert all(torch.equal(before[name], tensor) for name, tensor in bits(state).items())
    for name, tensor in state.student.state_dict().items():
        torch.testing.assert_close(tensor, student[name], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(state.rng.get_state(), rng)


def test_the_threshold_for_labelled_images_is_a_setting() -> None:
    """One view: a click of class 0, a void, and cells where the student is sure of class 1 by 0.9, or by 0.6."""
    given = torch.tensor([[[0, VOID, UNLABELLED, UNLABELLED]]])
    sure = torch.tensor([0.9, 0.9, 0.9, 0.6]).view(1, 1, 1, 4)
    probabilities = torch.cat([1 - sure, sure], dim=1)

    entering = {
        delta: contrast_labels(given, probabilities, None, RecoConfig(delta_w_labelled=delta)).flatten().tolist()
        for delta in (1.0, 0.7, 0.5)
    }

    assert entering == {1.0: [0, VOID, UNLABELLED, UNLABELLED], 0.7: [0, VOID, 1, UNLABELLED], 0.5: [0, VOID, 1, 1]}


def test_a_pseudo_label_enters_the_contrast_above_delta_w() -> None:
    given = torch.tensor([[[0, UNLABELLED]]])
    strong = Mixable(torch.zeros(1, 3, 4, 8), torch.tensor([[[1, 1]]]), torch.tensor([[[0.71, 0.69]]]))

    labels = contrast_labels(given, torch.full((1, 2, 1, 2), 0.5), strong, RecoConfig())

    assert labels.tolist() == [[[0, UNLABELLED]], [[1, UNLABELLED]]]


def test_a_run_that_broke_is_answered_with_the_fast_head(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    state = create_state(tiny, pictures)
    list(train(state))
    with torch.no_grad():
        state.teacher.direct.weight.neg_()
        state.teacher.direct.bias.neg_()

    choice = state.choose()

    assert choice.source == "fast head"
    assert choice.network is state.start
    assert choice.fast_head_right > choice.teacher_right


def test_a_run_that_nothing_speaks_for_or_against_is_answered_with_the_network_halfway(
    pictures: list[SparseImage], tiny: TrainConfig
) -> None:
    state = create_state(tiny, pictures)
    list(train(state))

    choice = state.choose()

    assert choice.source == "midpoint"
    start, end = state.start.state_dict(), state.teacher.state_dict()
    for name, tensor in choice.network.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (start[name] + end[name]) / 2)


def test_labels_are_held_out_once_there_are_enough(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    truth = two_class_picture(0)[1]
    dense = [SparseImage(two_class_picture(0)[0], truth)]

    few, many = (create_state(replace(tiny, hold_out_from=start), dense) for start in (10_000, 1_000))

    assert few.held_out is None
    assert many.held_out is not None
    assert many.label_count + int(many.held_out.class_counts().sum()) == truth.size
    assert many.choose().held_out


def test_on_held_out_labels_a_training_never_ends_below_the_fast_head(
    tiny: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = [SparseImage(*two_class_picture(0))]
    state = create_state(replace(tiny, hold_out_from=1_000), dense, network=build_network(2, pretrained=False))
    state.step = tiny.steps

    def wrong_once(network: DeepLabV3Plus, pixels: torch.Tensor, labels: Labels, *rest: object) -> torch.Tensor:
        named = labels.classes[labels.spoken].clone()
        if network is state.teacher:
            named[0] = 1 - named[0]
        return named

    monkeypatch.setattr(importlib.import_module("recolabel_worker.reco.train"), "_named", wrong_once)

    choice = state.choose()

    assert choice.held_out
    assert choice.source == "fast head"
    assert choice.fast_head_miou == 1.0 > choice.teacher_miou


def test_on_held_out_labels_the_network_of_higher_mean_iou_is_taken_not_the_one_that_names_rare_classes_more_often(
    pictures: list[SparseImage], tiny: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given 90 held-out labels of one class and 10 of another, all of which the fast head finds by naming it too often
    label_map = np.full((64, 64), UNLABELLED, np.uint8)
    label_map[:9, :10], label_map[20, :10] = 0, 1
    judge = SparseImage(np.zeros((64, 64, 3), np.uint8), label_map)
    state = create_state(tiny, pictures, network=build_network(2, pretrained=False), held_out=[judge])
    state.step = tiny.steps

    def mistaken(network: DeepLabV3Plus, pixels: torch.Tensor, labels: Labels, *rest: object) -> torch.Tensor:
        named = labels.classes[labels.spoken].clone()
        if network is state.teacher:
            named[-5:] = 0
        else:
            named[:20] = 1
        return named

    monkeypatch.setattr(importlib.import_module("recolabel_worker.reco.train"), "_named", mistaken)

    choice = state.choose()

    assert choice.fast_head_right > choice.teacher_right
    assert choice.teacher_miou > choice.fast_head_miou
    assert choice.source == "teacher"


def test_a_warm_start_continues_where_the_earlier_version_stood(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    first = create_state(tiny, pictures)
    list(train(first))
    version = export_state_dict(first.teacher)

    second = create_state(replace(tiny, num_classes=3), pictures, warm_start=version, class_mapping=[1, 0, None])

    assert torch.equal(second.student.correction.weight[:2], first.teacher.correction.weight[[1, 0]])
    assert torch.isfinite(second.student.direct.weight).all()


def test_training_without_a_class_label_is_refused_with_a_way_out(tiny: TrainConfig) -> None:
    with pytest.raises(InvalidArgument, match="click at least one pixel"):
        create_state(tiny, [SparseImage(np.zeros((32, 32, 3), np.uint8))], network=build_network(2, pretrained=False))
