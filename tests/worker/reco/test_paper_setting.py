"""The paper's own setting: its numbers, its three modes, and what its encoder asks of teacher and checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recolabel_worker.reco import InvalidArgument, SparseImage, TrainConfig, build_network, create_state, train
from recolabel_worker.reco.backbones import resnet
from recolabel_worker.reco.checkpoint import load, save
from recolabel_worker.reco.config import PAPER_MODES, PaperData, PaperMode

from .conftest import two_class_picture


@pytest.fixture(autouse=True)
def _shallow_resnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block for each stage: every kind of layer is there, a third of the weights."""
    monkeypatch.setattr(resnet, "_DEPTHS", {50: (1, 1, 1, 1)})


@pytest.fixture
def whole_masks() -> list[SparseImage]:
    """Two images labelled everywhere, two not at all: Partial Dataset Full Labels."""
    drawn = [two_class_picture(seed, (48, 64)) for seed in range(4)]
    return [SparseImage(image, truth if index < 2 else None) for index, (image, truth) in enumerate(drawn)]


def shrunk(mode: PaperMode) -> TrainConfig:
    return replace(
        TrainConfig.paper(2, mode=mode),
        steps=3,
        crop=(32, 48),
        batch_labelled=2,
        batch_unlabelled=2,
        backbone="resnet50",
        head_lr=1e-3,
        backbone_lr=1e-3,
    )


@pytest.mark.parametrize(
    ("mode", "data", "method", "crop", "batch", "scale"),
    [
        ("partial-labels", "voc", "classmix", (336, 336), (10, 10), (0.5, 1.5)),
        ("partial-dataset", "cityscapes", "classmix", (512, 512), (2, 2), (1.0, 1.0)),
        ("supervised", "voc", "supervised", (336, 336), (20, 10), (0.5, 1.5)),
        ("supervised", "cityscapes", "supervised", (512, 512), (4, 2), (1.0, 1.0)),
    ],
)
def test_the_presets_hold_the_published_numbers(
    mode: PaperMode,
    data: PaperData,
    method: str,
    crop: tuple[int, int],
    batch: tuple[int, int],
    scale: tuple[float, float],
) -> None:
    cfg = TrainConfig.paper(21, mode=mode, data=data)

    assert (cfg.method, cfg.crop, cfg.views.scale) == (method, crop, scale)
    assert (cfg.batch_labelled, cfg.batch_unlabelled) == batch
    assert (cfg.steps, cfg.backbone, cfg.decoder, cfg.use_reco) == (40_000, "resnet101", "paper", True)
    assert (cfg.optimiser, cfg.head_lr, cfg.backbone_lr, cfg.momentum) == ("sgd", 2.5e-3, 2.5e-3, 0.9)
    assert (cfg.weight_decay, cfg.lr_power, cfg.ema_decay, cfg.contrast_weight) == (5e-4, 0.9, 0.99, 1.0)
    assert TrainConfig.from_dict(json.loads(json.dumps(cfg.to_dict(), allow_nan=False))) == cfg


@pytest.mark.parametrize(("argument", "values"), [("mode", {"mode": "unsupervised"}), ("data", {"data": "camvid"})])
def test_an_unknown_preset_is_refused_by_its_name(argument: str, values: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match=f"^{argument}"):
        TrainConfig.paper(21, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", PAPER_MODES)
def test_every_mode_trains_with_finite_losses(mode: PaperMode, whole_masks: list[SparseImage]) -> None:
    state = create_state(shrunk(mode), whole_masks)

    reports = list(train(state))

    assert [report.losses.pseudo is None for report in reports] == [mode == "supervised"] * 3
    assert all(report.losses.contrast is not None for report in reports)
    assert state.choose().source == "teacher"


def test_sgd_moves_by_nesterovs_momentum(whole_masks: list[SparseImage]) -> None:
    state = create_state(shrunk("supervised"), whole_masks)
    before = state.student.correction.weight.detach().clone()

    next(train(state))

    # In the first step the buffer is the gradient g, so Nesterov moves by lr x (g + 0.9 g).
    gradient = state.student.correction.weight.grad
    assert gradient is not None
    decayed = gradient + state.cfg.weight_decay * before
    torch.testing.assert_close(state.student.correction.weight, before - state.cfg.head_lr * 1.9 * decayed)


def test_the_teacher_of_a_run_follows_the_batch_norm_buffers(whole_masks: list[SparseImage]) -> None:
    state = create_state(shrunk("partial-dataset"), whole_masks)
    before = state.teacher.backbone.get_buffer("bn1.running_mean").clone()

    next(train(state))

    # The decay of the first step is 0: the teacher is the student, statistics of its batches included.
    assert not torch.equal(before, state.teacher.backbone.get_buffer("bn1.running_mean"))
    for name, buffer in state.student.named_buffers():
        assert torch.equal(buffer, state.teacher.get_buffer(name)), name


def test_a_resnet_resumes_with_the_bits_of_an_uninterrupted_run(whole_masks: list[SparseImage], tmp_path: Path) -> None:
    cfg = replace(shrunk("partial-labels"), decoder="light")
    uninterrupted = create_state(cfg, whole_masks)
    reports = list(train(uninterrupted))
    stopped = create_state(cfg, whole_masks)
    next(train(stopped))
    save(stopped, tmp_path)

    resumed = load(tmp_path, whole_masks)
    rest = list(train(resumed))

    assert [report.losses for report in rest] == [report.losses for report in reports[1:]]
    for ours, theirs in ((resumed.student, uninterrupted.student), (resumed.teacher, uninterrupted.teacher)):
        expected = theirs.state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.state_dict().items())


def test_a_network_of_another_architecture_is_refused(whole_masks: list[SparseImage]) -> None:
    network = build_network(2, backbone="resnet50", pretrained=False)

    with pytest.raises(InvalidArgument, match="network: is built as"):
        create_state(TrainConfig(2), whole_masks, network=network)
