"""The training loop: mean teacher, strong views, regional contrast (paper, section 3.3 and Eq. 5).

The order of statements in `train_step` is the algorithm. Nothing here knows clocks, disks or jobs: stopping is not
asking for the next report, and everything a run consists of is in `TrainState`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from recolabel_worker.reco.config import UNLABELLED, VOID, InvalidArgument, RecoConfig, TrainConfig
from recolabel_worker.reco.data import Labels, Sampler, SparseImage, TrainingSet, hold_out_labels
from recolabel_worker.reco.devices import as_device
from recolabel_worker.reco.fast_head import class_weights, fit_on_pixels
from recolabel_worker.reco.losses import pseudo_label_loss, regional_contrast_loss, supervised_loss
from recolabel_worker.reco.metrics import confusion_matrix, mean_iou
from recolabel_worker.reco.mixing import Mixable, mix
from recolabel_worker.reco.network import DeepLabV3Plus, build_network, load_warm
from recolabel_worker.reco.predict import predict
from recolabel_worker.reco.schedule import polynomial, warm_up
from recolabel_worker.reco.teacher import copy_as_teacher, ema_decay, follow, longest_memory, midpoint
from recolabel_worker.reco.views import colour_and_blur, draw_geometry, take_view

Source = Literal["teacher", "fast head", "midpoint"]
"""The trained network, the one that the run began at, or the one whose weights lie halfway between."""


class NonFiniteLoss(ArithmeticError):
    """The total loss, or its gradient, became NaN or infinite. The state is the one before the step."""

    def __init__(self, step: int, losses: Losses) -> None:
        terms = ", ".join(f"{name} {value:.4g}" for name, value in asdict(losses).items() if value is not None)
        super().__init__(
            f"The loss of step {step} is not finite ({terms}), so the step was not taken. Labels, earlier versions "
            "and checkpoints are untouched; train again with another seed or with smaller learning rates."
        )
        self.step = step


@dataclass(frozen=True)
class Losses:
    """The terms of Eq. 5 before weighting; None where the method has no such term."""

    supervised: float
    pseudo: float | None
    contrast: float | None
    total: float


@dataclass(frozen=True)
class StepReport:
    """What one step did. `step` counts finished steps from 1."""

    step: int
    losses: Losses
    lr: float  # of the heads
    seconds: float


@dataclass(frozen=True)
class Choice:
    """The network that a run stands for, and why."""

    network: DeepLabV3Plus
    source: Source
    judged_labels: int  # pixels that both were judged on
    held_out: bool  # whether those were kept from training
    teacher_right: float  # class-balanced share that the teacher has right, 0..1
    fast_head_right: float
    teacher_miou: float  # mean IoU over those labels, 0..1
    fast_head_miou: float


@dataclass
class TrainState:
    """Everything a run consists of. Bits that later steps depend on are: networks, optimiser, rng, step."""

    cfg: TrainConfig
    device: torch.device
    student: DeepLabV3Plus
    teacher: DeepLabV3Plus
    start: DeepLabV3Plus  # the fast head's solution, where the run began
    optimiser: torch.optim.Optimizer
    rng: torch.Generator
    training_set: TrainingSet
    held_out: TrainingSet | None
    step: int = 0

    def __post_init__(self) -> None:
        self.labelled_sampler = Sampler(self.training_set.labelled, self.cfg.seed)
        self.any_sampler = Sampler(range(len(self.training_set)), self.cfg.seed + 1)
        counts = self.training_set.class_counts()
        self.class_weights = class_weights(counts, self.cfg.balance).to(self.device)

    @property
    def label_count(self) -> int:
        """Class labels that the run trains on."""
        return int(self.training_set.class_counts().sum())

    def predictor(self) -> nn.Module:
        """The network to publish, in eval mode: teacher, fast head or what lies between, as `choose` says."""
        return self.choose().network

    def choose(self) -> Choice:
        """Judge teacher and fast head on held-out labels, or on the training labels when none are held out.

        On held-out labels the one of higher mean IoU is taken, the teacher where both are as good. On training labels,
        which the fast head was fitted to, it has to be right where the teacher is wrong more often than the other way
        round by more than chance would have it (one standard deviation of the difference of class-balanced accuracy):
        this notices a run that broke. Where nothing speaks for either of them, the network whose weights lie halfway
        is taken (Wortsman et al., CVPR 2022): both stand in one valley of the loss, and their errors differ.
        """
        judges = self.held_out or self.training_set
        old, new, classes = [], [], []
        for pixels, labels in zip(judges.pixels, judges.labels, strict=True):
            if not bool(labels.spoken.any()):
                continue
            classes.append(labels.classes[labels.spoken])
            old.append(_named(self.start, pixels, labels, self.device))
            new.append(_named(self.teacher, pixels, labels, self.device))
        truth, of_fast_head, of_teacher = torch.cat(classes), torch.cat(old), torch.cat(new)
        weights = class_weights(torch.bincount(truth, minlength=self.cfg.num_classes), 1.0)[truth]
        fast_head_right, teacher_right = weights * (of_fast_head == truth), weights * (of_teacher == truth)
        fast_head_miou, teacher_miou = (
            mean_iou(confusion_matrix(named, truth, self.cfg.num_classes)) for named in (of_fast_head, of_teacher)
        )
        if self.held_out is not None:
            is_worse = teacher_miou < fast_head_miou
        else:
            difference = teacher_right - fast_head_right
            is_worse = bool(-difference.sum() > difference.square().sum().sqrt())
        # A run that began at a random decoder has no fast head to fall back on.
        takes_fast_head = not self.step or (is_worse and self.cfg.fast_start)
        network: DeepLabV3Plus = self.teacher
        source: Source = "teacher"
        if takes_fast_head:
            network, source = self.start, "fast head"
        elif self.held_out is None and self.cfg.fast_start:
            network, source = midpoint(self.teacher, self.start), "midpoint"
        return Choice(
            network=network,
            source=source,
            judged_labels=len(truth),
            held_out=self.held_out is not None,
            teacher_right=float(teacher_right.mean()),
            fast_head_right=float(fast_head_right.mean()),
            teacher_miou=teacher_miou,
            fast_head_miou=fast_head_miou,
        )


def create_state(
    cfg: TrainConfig,
    images: Sequence[SparseImage],
    *,
    network: DeepLabV3Plus | None = None,
    warm_start: Mapping[str, Tensor] | None = None,
    class_mapping: Sequence[int | None] | None = None,
    held_out: Sequence[SparseImage] | None = None,
    device: torch.device | str = "cpu",
) -> TrainState:
    """Prepare a run: network, fast head fitted, student and teacher standing at its solution.

    Args:
        images: of any sizes; those without labels take part as unlabelled ones.
        network: the one to train, built for training, changed in place; a pretrained one is built when left out.
        warm_start: `export_state_dict` of an earlier version to start from.
        class_mapping: for each class its index in the earlier version, None for a new one; the same classes when
            left out. Without a warm start it means nothing.
        held_out: labels to choose between teacher and fast head by, at least one of a class. Left out, cfg.hold_out
            of the labels is kept from training for that, once there are cfg.hold_out_from. Empty: none is.

    Raises:
        InvalidArgument: no image, no class label, no such device, or a network or warm start that does not fit.
        FileNotFoundError: pretrained weights are wanted and not installed.
    """
    place = as_device(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.seed)
        network = network or build_network(
            cfg.num_classes, **cfg.architecture, pretrained=None if warm_start is None else False
        )
    _check_network(network, cfg)
    if class_mapping is not None and warm_start is None:
        raise InvalidArgument("class_mapping", "maps to the classes of a `warm_start`; there is none.")
    if warm_start is not None:
        if not isinstance(warm_start, Mapping):
            raise InvalidArgument("warm_start", f"has to be tensors by name, not {type(warm_start).__name__}.")
        _check_class_count(warm_start, cfg, class_mapping)
        load_warm(network, warm_start, class_mapping if class_mapping is not None else range(cfg.num_classes))
    network.to(place)
    training_set, judges, rng = _split(images, cfg, held_out)
    if cfg.fast_start:
        network.start_from(fit_on_pixels(network, training_set.pixels, training_set.labels, cfg.fast_head))
    elif not network.has_correction:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cfg.seed)
            network.start_at_random()
    return _stand_at(network, cfg, training_set, judges, rng, place)


def assemble_state(
    cfg: TrainConfig,
    images: Sequence[SparseImage],
    *,
    held_out: Sequence[SparseImage] | None = None,
    device: torch.device | str = "cpu",
) -> TrainState:
    """A state with the right shapes and the wrong weights, for a checkpoint to be poured into."""
    place = as_device(device)
    with torch.random.fork_rng(devices=[]):
        network = build_network(cfg.num_classes, **cfg.architecture, pretrained=False).to(place)
    training_set, judges, rng = _split(images, cfg, held_out)
    return _stand_at(network, cfg, training_set, judges, rng, place)


def train(state: TrainState, *, clock: Callable[[], float] = time.perf_counter) -> Iterator[StepReport]:
    """Run to cfg.steps, one report a step. The caller decides about clocks, disks and stopping.

    A step is made when its report is asked for. Which network the run stands for says `state.choose()`, at any time.

    Raises:
        NonFiniteLoss: the step was not taken.
    """
    while state.step < state.cfg.steps:
        began = clock()
        lr = _set_rates(state)
        losses = train_step(state)
        yield StepReport(step=state.step, losses=losses, lr=lr, seconds=clock() - began)


def train_step(state: TrainState) -> Losses:
    """One optimiser step on labelled and unlabelled views.

    Raises:
        NonFiniteLoss: nothing was changed.
    """
    with _unchanged_by_a_failure(state):
        return _step(state)


def _step(state: TrainState) -> Losses:
    cfg = state.cfg
    images, label_maps = _labelled_views(state)
    strong = _strong_views(state) if cfg.uses_unlabelled else None
    everything = images if strong is None else torch.cat([images, strong.images])

    _prepare(state.student, cfg)
    with _autocast(state.device):
        output = state.student.forward_training(everything)
    logits = output.logits.float()

    supervised = supervised_loss(logits[: len(images)], label_maps, state.class_weights)
    main = supervised
    pseudo = contrast = None
    if strong is not None:
        pseudo = pseudo_label_loss(logits[len(images) :], strong.label_map, strong.confidence, cfg.reco.delta_s)
        main = main + cfg.pseudo_weight * pseudo
    if cfg.use_reco:
        contrast = _contrast(state, output.representation, logits.detach().softmax(1), label_maps, strong)
    losses = Losses(
        supervised=float(supervised.detach()),
        pseudo=None if pseudo is None else float(pseudo.detach()),
        contrast=None if contrast is None else float(contrast.detach()),
        total=float(main.detach()) + (0.0 if contrast is None else cfg.contrast_weight * float(contrast.detach())),
    )
    _apply_gradients(state, main, contrast, losses)
    follow(state.teacher, state.student, ema_decay(state.step, longest_memory(cfg.steps, cfg.ema_decay)))
    state.step += 1
    return losses


@torch.no_grad()
def pseudo_labels(teacher: DeepLabV3Plus, images: Tensor, label_maps: Tensor) -> tuple[Tensor, Tensor]:
    """The teacher's class and confidence at each cell, (B, h, w) int64 and float32.

    Labels that were given overwrite the teacher's, with confidence 1; void stays void, with confidence 0.
    """
    probabilities = teacher(images).float().softmax(1)
    confidence, classes = probabilities.max(1)
    unspoken = label_maps == UNLABELLED
    confidence = torch.where(unspoken, confidence, (label_maps < VOID).float())
    return torch.where(unspoken, classes, label_maps), confidence


def _labelled_views(state: TrainState) -> tuple[Tensor, Tensor]:
    cfg, views = state.cfg, []
    for offset in range(cfg.batch_labelled):
        index = state.labelled_sampler.at(state.step * cfg.batch_labelled + offset)
        labels = state.training_set.labels[index]
        views.append(_view(state, index, anchor=_draw_anchor(labels, state.rng)))
    return _collate(views, state.device)


def _strong_views(state: TrainState) -> Mixable:
    """Weak views -> the teacher's pseudo-labels -> mixing -> colour and blur."""
    cfg = state.cfg
    positions = range(state.step * cfg.batch_unlabelled, (state.step + 1) * cfg.batch_unlabelled)
    images, label_maps = _collate(
        [_view(state, state.any_sampler.at(position), anchor=None) for position in positions], state.device
    )
    with _autocast(state.device):
        labels, confidence = pseudo_labels(state.teacher, images, label_maps)
    mixed = mix(Mixable(images, labels, confidence), cfg.method, state.rng)
    strong = colour_and_blur(mixed.images, cfg.views, state.rng)
    return mixed._replace(images=strong.contiguous(memory_format=torch.channels_last))


def _view(state: TrainState, index: int, *, anchor: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    pixels = state.training_set.pixels[index]
    geometry = draw_geometry(
        (pixels.shape[0], pixels.shape[1]), state.cfg.crop, state.cfg.views, state.rng, anchor=anchor
    )
    return take_view(pixels, state.training_set.labels[index], geometry)


def _draw_anchor(labels: Labels, rng: torch.Generator) -> tuple[int, int]:
    """A labelled pixel that the view has to contain: a class of the image, then one of its labels."""
    classes = torch.unique(labels.classes[labels.spoken])
    wanted = classes[int(torch.randint(len(classes), (1,), generator=rng))]
    places = labels.places[labels.classes == wanted]
    y, x = places[int(torch.randint(len(places), (1,), generator=rng))].tolist()
    return y, x


def _collate(views: Sequence[tuple[Tensor, Tensor]], device: torch.device) -> tuple[Tensor, Tensor]:
    images = torch.stack([image for image, _ in views]).contiguous(memory_format=torch.channels_last)
    return images.to(device), torch.stack([label_map for _, label_map in views]).to(device)


def _contrast(
    state: TrainState, representation: Tensor, probabilities: Tensor, label_maps: Tensor, strong: Mixable | None
) -> Tensor:
    """The regional contrast of a step's views, labelled ones first; NaN where the network's numbers are not finite."""
    labels = contrast_labels(label_maps, probabilities[: len(label_maps)], strong, state.cfg.reco)
    try:
        return regional_contrast_loss(representation, labels, probabilities, config=state.cfg.reco, generator=state.rng)
    except InvalidArgument as error:
        if error.argument not in ("representation", "probabilities"):
            raise
        # The caller of a training gave neither of them: this is a run that diverged, and is told as one.
        return probabilities.new_full((), math.nan)


def contrast_labels(label_maps: Tensor, probabilities: Tensor, strong: Mixable | None, cfg: RecoConfig) -> Tensor:
    """What each cell counts as in the contrast: class, VOID or UNLABELLED, (B, h, w) int64, labelled views first.

    Given labels always enter; other cells of labelled views where the student's confidence exceeds delta_w_labelled;
    pseudo-labels of strong views where the teacher's exceeds delta_w.

    Args:
        label_maps: (B1, h, w) int64 of the labelled views.
        probabilities: (B1, C, h, w), the student's softmax there.
        strong: the other views, with pseudo-labels; None where the method has none.
    """
    if cfg.delta_w_labelled < 1.0:
        confidence, classes = probabilities.max(1)
        is_trusted = (label_maps == UNLABELLED) & (confidence > cfg.delta_w_labelled)
        label_maps = torch.where(is_trusted, classes, label_maps)
    if strong is None:
        return label_maps
    trusted = torch.where(strong.confidence > cfg.delta_w, strong.label_map, UNLABELLED)
    return torch.cat([label_maps, trusted])


@contextlib.contextmanager
def _unchanged_by_a_failure(state: TrainState) -> Iterator[None]:
    """Take back what a step does before its loss is known: it draws numbers, and batch statistics move."""
    rng, buffers = state.rng.get_state(), [buffer.clone() for buffer in state.student.buffers()]
    try:
        yield
    except NonFiniteLoss:
        state.rng.set_state(rng)
        for buffer, before in zip(state.student.buffers(), buffers, strict=True):
            buffer.copy_(before)
        raise


def _apply_gradients(state: TrainState, main: Tensor, contrast: Tensor | None, losses: Losses) -> None:
    if not math.isfinite(losses.total):
        raise NonFiniteLoss(state.step + 1, losses)
    state.optimiser.zero_grad(set_to_none=True)
    if contrast is None:
        main.backward()  # type: ignore[no-untyped-call]
    elif state.step >= state.cfg.contrast_wait_steps:
        (main + state.cfg.contrast_weight * contrast).backward()  # type: ignore[no-untyped-call]
    else:
        main.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        heads = next(group["params"] for group in state.optimiser.param_groups if group["name"] == "heads")
        # Asked for the heads' gradients alone, autograd never enters the backbone.
        shares = torch.autograd.grad(state.cfg.contrast_weight * contrast, heads, allow_unused=True)
        for parameter, share in zip(heads, shares, strict=True):
            if share is not None:
                parameter.grad = share if parameter.grad is None else parameter.grad + share
    norm = nn.utils.clip_grad_norm_(state.student.parameters(), state.cfg.clip_norm)
    if not torch.isfinite(norm):
        raise NonFiniteLoss(state.step + 1, losses)
    state.optimiser.step()


def _prepare(student: DeepLabV3Plus, cfg: TrainConfig) -> None:
    student.train()
    # A few views are too few to estimate the statistics that the pretrained weights rely on.
    student.backbone.train(cfg.train_batch_norm)


def _check_class_count(
    warm_start: Mapping[str, Tensor], cfg: TrainConfig, class_mapping: Sequence[int | None] | None
) -> None:
    bias = warm_start.get("direct.bias")
    if class_mapping is None and bias is not None and len(bias) != cfg.num_classes:
        raise InvalidArgument(
            "class_mapping", f"is needed: the earlier version has {len(bias)} classes, the run {cfg.num_classes}."
        )


def _check_network(network: DeepLabV3Plus, cfg: TrainConfig) -> None:
    if network.num_classes != cfg.num_classes:
        raise InvalidArgument("network", f"knows {network.num_classes} classes, the run has {cfg.num_classes}.")
    built = {"backbone": network.backbone_name, "decoder": network.decoder_name, "norm": network.norm}
    if built != cfg.architecture:
        # A checkpoint is resumed by what its configuration says.
        raise InvalidArgument("network", f"is built as {built}, the run's configuration says {cfg.architecture}.")
    if not network.for_training:
        raise InvalidArgument("network", "has no representation head; build it with for_training=True.")


def _optimiser(network: DeepLabV3Plus, cfg: TrainConfig) -> torch.optim.Optimizer:
    network.freeze_stages(cfg.frozen_stages)
    backbone = [parameter for parameter in network.backbone.parameters() if parameter.requires_grad]
    direct = list(network.direct.parameters()) if cfg.fast_start else []
    network.direct.requires_grad_(cfg.fast_start)
    taken = {id(parameter) for part in (network.backbone, network.direct) for parameter in part.parameters()}
    heads = [parameter for parameter in network.parameters() if id(parameter) not in taken]
    # Decay would pull the fast head's solution, and the pretrained weights in a short run, towards zero.
    backbone_decay = 0.0 if cfg.fast_start else cfg.weight_decay
    groups = [
        {"params": heads, "name": "heads", "weight_decay": cfg.weight_decay},
        {"params": direct, "name": "direct", "weight_decay": 0.0},
        {"params": backbone, "name": "backbone", "weight_decay": backbone_decay},
    ]
    if cfg.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=cfg.head_lr, momentum=cfg.momentum, nesterov=cfg.momentum > 0)
    return torch.optim.AdamW(groups, lr=cfg.head_lr)


def _set_rates(state: TrainState) -> float:
    cfg = state.cfg
    decay = polynomial(state.step, cfg.steps, cfg.lr_power)
    waiting = warm_up(state.step, cfg.warm_up_steps)
    rates = {"heads": cfg.head_lr, "direct": cfg.direct_lr * waiting, "backbone": cfg.backbone_lr * waiting}
    for group in state.optimiser.param_groups:
        group["lr"] = rates[group["name"]] * decay
    return cfg.head_lr * decay


def _stand_at(
    network: DeepLabV3Plus,
    cfg: TrainConfig,
    training_set: TrainingSet,
    held_out: TrainingSet | None,
    rng: torch.Generator,
    device: torch.device,
) -> TrainState:
    """The state of a run whose student, teacher and start are all `network` as it is."""
    return TrainState(
        cfg=cfg,
        device=device,
        student=network,
        teacher=copy_as_teacher(network),
        start=copy_as_teacher(network),
        optimiser=_optimiser(network, cfg),
        rng=rng,
        training_set=training_set,
        held_out=held_out,
    )


def _split(
    images: Sequence[SparseImage], cfg: TrainConfig, held_out: Sequence[SparseImage] | None
) -> tuple[TrainingSet, TrainingSet | None, torch.Generator]:
    """What to train on, what to judge on, and the run's generator behind the draw that split them."""
    rng = torch.Generator().manual_seed(cfg.seed)
    everything = TrainingSet(images, cfg.num_classes)
    count = int(everything.class_counts().sum())
    if not count:
        raise InvalidArgument("images", "carry no class label; click at least one pixel of a class first.")
    judges = TrainingSet(held_out, cfg.num_classes) if held_out else None
    if judges is not None and not judges.labelled:
        raise InvalidArgument("held_out", "carries no class label to judge by; leave it out.")
    if held_out is not None or not cfg.hold_out or count < cfg.hold_out_from:
        return everything, judges, rng
    kept, held = (TrainingSet(part, cfg.num_classes) for part in hold_out_labels(images, cfg.hold_out, rng))
    # No class may lose its last label to the judges.
    lost = (kept.class_counts() == 0) & (held.class_counts() > 0)
    if bool(lost.any()) or not held.labelled:
        return everything, None, rng
    return kept, held, rng


@torch.no_grad()
def _named(network: DeepLabV3Plus, pixels: Tensor, labels: Labels, device: torch.device) -> Tensor:
    """(P,) int64: the class that the network gives each labelled pixel."""
    probabilities = predict(network, pixels, device)
    places = labels.places[labels.spoken]
    return probabilities[:, places[:, 0], places[:, 1]].argmax(0)


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")
