"""The first model a person sees: one linear layer on frozen features, fitted on the clicks in a fraction of a second.

The same layer is the network's direct head, so its solution is where deep training starts. Where the network's decoder
has learnt something, the head is fitted on top of that and held near the network's own weights.

Letters: C classes, F feature channels, P labelled cells, h w cells at output stride 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco.config import OUTPUT_STRIDE, VOID, FastHeadConfig, InvalidArgument, TrainConfig
from recolabel_worker.reco.data import (
    HELD_OUT_BLOCK_PX,
    Labels,
    SparseImage,
    as_tensor,
    check_images,
    labels_of,
    rasterise,
)
from recolabel_worker.reco.features import Features, cell_points, extract_features, grid_size
from recolabel_worker.reco.layers import upsample
from recolabel_worker.reco.network import DeepLabV3Plus, direct_features


@dataclass(frozen=True)
class FastHead:
    """A linear layer over standardised features."""

    weight: Tensor  # (C, F)
    bias: Tensor  # (C,)
    mean: Tensor  # (F,) of the features
    deviation: Tensor  # (F,) what they are divided by, above 0

    @torch.no_grad()
    def logits(self, features: Features) -> Tensor:
        """(C, h, w) logits of an image whose features are at hand, decoder's share included."""
        scaled = self.weight / self.deviation
        bias = self.bias - scaled @ self.mean
        groups = direct_features(features.stages)
        size = features.stages[0].shape[-2:]
        total = bias[None, :, None, None]
        for part, group in zip(torch.split(scaled, [g.shape[1] for g in groups], dim=1), groups, strict=True):
            total = total + upsample(F.conv2d(group, part[:, :, None, None]), size)
        return (total if features.correction is None else total + features.correction)[0]

    def probabilities(self, features: Features) -> Tensor:
        """(C, H, W) float32 at the size of the image."""
        height, width = features.size
        logits = self.logits(features)[None]
        full = upsample(logits, [OUTPUT_STRIDE * side for side in logits.shape[-2:]])
        return full[0, :, :height, :width].softmax(0)


def fit_fast_head(network: DeepLabV3Plus, images: Sequence[SparseImage], cfg: TrainConfig) -> FastHead:
    """Fit the head on all class labels of `images`; unlabelled images help to standardise the features.

    It minimises the class-weighted mean of -log softmax(weight x + bias)[label] over labelled cells, x being their
    standardised features, plus weight_decay / 2 times the squared distance from the network's own direct head. That is
    convex: chance has no say in it.

    Raises:
        InvalidArgument: no pixel carries a class label, or one names a class that does not exist.
    """
    check_images(images)
    labels = [labels_of(item, cfg.num_classes) for item in images]
    return fit_on_pixels(network, [as_tensor(item.image) for item in images], labels, cfg.fast_head)


def fit_on_pixels(
    network: DeepLabV3Plus, pixels: Sequence[Tensor], labels: Sequence[Labels], cfg: FastHeadConfig
) -> FastHead:
    """As `fit_fast_head`, on labels that are read already.

    `pixels[i]`, (H, W, 3) uint8, and `labels[i]` belong together.

    Raises:
        InvalidArgument: there are not as many of both, no pixel carries a class label, or one names a class that the
            network does not know.
    """
    _check_pairs("pixels", len(pixels), len(labels))
    fitter = FastHeadFitter(network, cfg)
    # One image's features at a time: those of some hundred images would take a gigabyte.
    for number, (item, given) in enumerate(zip(pixels, labels, strict=True)):
        fitter.set_labels(f"{number:09}", extract_features(network, item), given)
    return fitter.fit()


def fit_on_features(
    network: DeepLabV3Plus, features: Sequence[Features], labels: Sequence[Labels], cfg: FastHeadConfig
) -> FastHead:
    """As `fit_fast_head`, on features that are at hand. `features[i]` and `labels[i]` belong together.

    Raises:
        InvalidArgument: there are not as many of both, no pixel carries a class label, or one names a class that the
            network does not know.
    """
    _check_pairs("features", len(features), len(labels))
    fitter = FastHeadFitter(network, cfg)
    for number, (item, given) in enumerate(zip(features, labels, strict=True)):
        fitter.set_labels(f"{number:09}", item, given)
    return fitter.fit()


def _check_pairs(argument: str, count: int, label_count: int) -> None:
    if count != label_count:
        raise InvalidArgument(argument, f"are of {count} images, and there are labels of {label_count}.")


@dataclass(frozen=True)
class _Rows:
    """The labelled cells of one image."""

    raw: Tensor  # (P, F) features, not standardised
    offsets: Tensor  # (P, C) the decoder's logits
    classes: Tensor  # (P,) int64
    squares: Tensor  # (P,) int64, the square of the image that a cell lies in
    present: frozenset[int]  # class indices among them


class FastHeadFitter:
    """Holds what the fit needs of each image, so that a new click costs one small product and one fit.

    That is the features of its labelled cells and two moments of all its features: some kilobytes where the features
    themselves take megabytes. A fit starts from the last one's solution, and goes on until it is within a millionth of
    a nat of the minimum, so that where it started hardly shows: single probabilities differed by up to 0.006 from those
    of a fit that began anew, the class at up to 0.04 % of the pixels. The temperature is found from the prior each
    time, unless `keep_temperature` says otherwise, and images enter in the order of their keys, so beyond that the
    order in which labels came does not show.
    """

    def __init__(self, network: DeepLabV3Plus, cfg: FastHeadConfig) -> None:
        """Fit beside `network` as it is now; when it has been trained on, its features have moved: begin anew."""
        direct = network.direct
        self._cfg = cfg
        self._prior = _Solution(direct.weight.detach().clone(), direct.bias.detach().clone())
        self._fixed_scale: tuple[Tensor, Tensor] | None = None
        if bool(self._prior.weight.any()):
            self._fixed_scale = direct.mean.clone(), direct.deviation.clone()
        self._has_correction = network.has_correction
        self._group_channels = direct.group_channels
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}
        self._rows: dict[str, _Rows] = {}
        self._last: _Solution | None = None  # for features as they are, not standardised
        self._temperature, self._labels_then = 1.0, 0  # the last one that was found, and by how many labels

    def __len__(self) -> int:
        """Labelled cells that the next fit looks at."""
        return sum(len(rows.classes) for rows in self._rows.values())

    @property
    def classes(self) -> set[int]:
        """Class indices of these cells."""
        return {index for rows in self._rows.values() for index in rows.present}

    @torch.no_grad()
    def set_labels(self, key: str, features: Features, labels: Labels) -> None:
        """Take `labels` in place of those that the image `key` had. One without class labels helps to standardise.

        Raises:
            InvalidArgument: a label names a class that the network does not know.
        """
        num_classes = len(self._prior.bias)
        if bool((labels.classes[labels.spoken] >= num_classes).any()):
            raise InvalidArgument("labels", f"name a class that is none of the network's {num_classes}.")
        if key not in self._moments:
            self._moments[key] = _moments(features)
        self._rows.pop(key, None)
        rows = _labelled_rows(features, labels, self._prior.bias)
        if rows is not None:
            self._rows[key] = rows

    def forget(self, key: str) -> None:
        """Leave the image `key` out from now on, if it was in."""
        self._moments.pop(key, None)
        self._rows.pop(key, None)

    @torch.no_grad()
    def fit(self, *, keep_temperature: bool = False) -> FastHead:
        """Fit the head on all labels there are.

        Args:
            keep_temperature: divide by the last temperature as long as there are not a tenth more labels or less than
                when it was found. Finding it is a second fit, from the prior, and takes longer than the first.

        Raises:
            InvalidArgument: no pixel carries a class label.
            ArithmeticError: the solution is not finite; the next fit begins at the prior.
        """
        if not self._rows:
            raise InvalidArgument("images", "carry no class label; click at least one pixel of a class first.")
        mean, deviation = self._fixed_scale or _standardisation(
            [self._moments[key] for key in sorted(self._moments)], self._group_channels
        )
        parts = [self._rows[key] for key in sorted(self._rows)]
        raw = torch.cat([part.raw for part in parts])
        rows = F.pad(raw.sub_(mean).div_(deviation), (0, 1), value=_BIAS_FEATURE)
        offsets = torch.cat([part.offsets for part in parts]).T.contiguous()
        classes = torch.cat([part.classes for part in parts])
        start = self._prior if self._last is None else self._last.for_standardised(mean, deviation)
        found = _fit(rows, offsets, classes, self._prior, start, self._cfg)
        self._last = None
        if not bool(found.weight.isfinite().all() and found.bias.isfinite().all()):
            raise ArithmeticError("The fast head's weights are not finite.")
        self._last = found.for_raw(mean, deviation)
        # Over a trained decoder the temperature would have to divide the decoder's share too, which is not the head's.
        if self._cfg.calibrate and not self._has_correction:
            count = len(classes)
            if not keep_temperature or abs(count - self._labels_then) > _MOVED * self._labels_then:
                left_out = _left_out([part.squares for part in parts])
                self._temperature = _temperature(rows, offsets, classes, left_out, self._prior, self._cfg)
                self._labels_then = count
            found = _Solution(found.weight / self._temperature, found.bias / self._temperature)
        return FastHead(found.weight, found.bias, mean, deviation)


@dataclass(frozen=True)
class _Solution:
    """A linear layer."""

    weight: Tensor  # (C, F)
    bias: Tensor  # (C,)

    def joined(self) -> Tensor:
        """(C, F + 1), last the weight of a feature that is `_BIAS_FEATURE` everywhere."""
        return torch.cat([self.weight, self.bias[:, None] / _BIAS_FEATURE], 1)

    def for_raw(self, mean: Tensor, deviation: Tensor) -> _Solution:
        scaled = self.weight / deviation
        return _Solution(scaled, self.bias - scaled @ mean)

    def for_standardised(self, mean: Tensor, deviation: Tensor) -> _Solution:
        return _Solution(self.weight * deviation, self.bias + self.weight @ mean)


@torch.no_grad()
def _moments(features: Features) -> tuple[Tensor, Tensor]:
    """Mean of each channel and of its square over an image, both (F,) float64."""
    means, squares = [], []
    for group in direct_features(features.stages):
        # Summed in float32 over some thousand cells of an image, in float64 over images.
        means.append(group.float().mean((0, 2, 3)))
        squares.append(group.float().square().mean((0, 2, 3)))
    return torch.cat(means).double(), torch.cat(squares).double()


def _standardisation(moments: Sequence[tuple[Tensor, Tensor]], group_channels: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean of each feature channel over the pixels of all images, and what to divide it by, both (F,).

    That is the standard deviation, times the square root of how many channels its group has (against 112), so that
    weight decay does not let the hundreds of deep channels outvote the few fine ones. On road scenes this gave 1.6
    points of mIoU at 3,500 clicks (1.0 to 2.3 in three draws), and nothing beyond chance at 100 and 500.
    """
    mean = torch.stack([first for first, _ in moments]).mean(0)
    variance = torch.stack([second for _, second in moments]).mean(0) - mean.square()
    # A channel that never moves carries nothing; without the floor its noise would be blown up.
    deviation = variance.clamp_min(1e-6).sqrt().float()
    weight = torch.cat([torch.full((channels,), math.sqrt(channels / 112)) for channels in group_channels])
    return mean.float(), deviation * weight.to(deviation)


def class_weights(count_C: Tensor, balance: float) -> Tensor:
    """Weight of a label of each class, (C,) float32: count ** -balance, 0 for an absent class, mean 1 over labels.

    balance 0 lets every label count the same, 1 every class.
    """
    raw = torch.where(count_C > 0, count_C.clamp_min(1).float() ** -balance, 0.0)
    total = (raw * count_C).sum()
    return raw * count_C.sum() / total if total > 0 else raw


def label_cells(features: Features, labels: Labels) -> Tensor:
    """(h, w) int64 label map of an image on the cells of its features."""
    return rasterise(labels.places, labels.classes, grid_size(features))


@torch.no_grad()
def _labelled_rows(features: Features, labels: Labels, like: Tensor) -> _Rows | None:
    """What the fit needs of an image's labelled cells; None when none carries a class."""
    if not bool(labels.spoken.any()):
        return None
    label_map = label_cells(features, labels).flatten()
    cells = (label_map < VOID).nonzero().flatten()
    if not len(cells):
        return None
    width = grid_size(features)[1]
    points = cell_points(cells, grid_size(features)).to(like.device)
    side = HELD_OUT_BLOCK_PX // OUTPUT_STRIDE
    return _Rows(
        # Bilinear sampling at cell centres is what upsampling the whole map to stride 4 gives there.
        raw=torch.cat([_sample(group, points) for group in direct_features(features.stages)], dim=1),
        offsets=like.new_zeros(len(cells), len(like))
        if features.correction is None
        else _sample(features.correction, points),
        classes=label_map[cells].to(like.device),
        squares=cells // width // side * width + cells % width // side,
        present=frozenset(label_map[cells].tolist()),
    )


def _sample(group: Tensor, points: Tensor) -> Tensor:
    sampled = F.grid_sample(group.float(), points, padding_mode="border", align_corners=False)
    return sampled[0, :, 0].T


def _fit(
    rows_PG: Tensor,
    offsets_CP: Tensor,
    classes_P: Tensor,
    prior: _Solution,
    start: _Solution,
    cfg: FastHeadConfig,
) -> _Solution:
    """Class-balanced multinomial logistic regression with an L2 pull towards the prior.

    `rows` are the standardised features and a last column that is `_BIAS_FEATURE` throughout.
    """
    count = torch.bincount(classes_P, minlength=len(prior.bias))
    shares = class_weights(count, cfg.balance)[classes_P]
    objective = _Objective(rows_PG, offsets_CP, classes_P, shares / shares.sum(), prior.joined(), cfg.weight_decay)
    # Where the gradient is g, the objective is at most |g|^2 / (2 x weight decay) above its minimum.
    found = _minimise(objective, start.joined(), cfg.max_iterations, 2 * cfg.weight_decay * _TOLERANCE)
    return _Solution(found[:, :-1].contiguous(), found[:, -1] * _BIAS_FEATURE)


_BIAS_FEATURE = 10.0  # the bias is the weight of this, so that the same decay pulls a hundredth as hard on it
_TOLERANCE = 1e-6  # how far above its minimum the objective may stay, in nats
_MEMORY = 20  # steps that L-BFGS remembers
_MOST_TRIALS = 20  # of a step's length


@dataclass(frozen=True)
class _Objective:
    """Weighted cross-entropy and the L2 pull towards a prior, of a linear layer (C, G).

    Classes come first, for then sums over them run along memory: a softmax is ten times as fast.
    """

    rows: Tensor  # (P, G)
    offsets: Tensor  # (C, P), added to logits
    classes: Tensor  # (P,) int64
    shares: Tensor  # (P,) weight of each row
    prior: Tensor  # (C, G)
    decay: float  # weight of the pull

    def logits(self, layer: Tensor) -> Tensor:
        return torch.addmm(self.offsets, layer, self.rows.T)

    def gradient(self, layer: Tensor, logits: Tensor) -> Tensor:
        blame = logits.softmax(0) * self.shares
        blame[self.classes, torch.arange(len(self.classes), device=blame.device)] -= self.shares
        return torch.add(blame @ self.rows, layer - self.prior, alpha=self.decay)

    def step(self, layer: Tensor, logits: Tensor, direction: Tensor, slope: float) -> tuple[float, Tensor]:
        """How far to go along `direction`, and the logits there: to where the slope is half as steep or less.

        Logits change in proportion to the step, so a trial costs no product with the rows.
        """
        change = direction @ self.rows.T
        own = change.gather(0, self.classes[None])[0]
        pull = self.decay * float((direction * (layer - self.prior)).sum())
        more_pull = self.decay * float(direction.square().sum())
        below, above, length = 0.0, math.inf, 1.0
        for _ in range(_MOST_TRIALS):
            there = torch.add(logits, change, alpha=length)
            weighed = there.softmax(0) * change
            mean = weighed.sum(0)
            spread = (weighed * change).sum(0) - mean.square()
            first, second = torch.stack([mean - own, spread]).mv(self.shares).tolist()
            first += pull + length * more_pull
            if abs(first) <= -slope / 2:
                break
            below, above = (length, above) if first < 0 else (below, length)
            # Newton's step, kept within what is known; the objective is convex along the line.
            length -= first / max(second + more_pull, 1e-12)
            if math.isinf(above):
                length = min(length, 10 * below)
            elif not below < length < above:
                length = (below + above) / 2
        return length, there


def _minimise(objective: _Objective, start: Tensor, most_steps: int, least_square: float) -> Tensor:
    """L-BFGS (Liu and Nocedal, 1989), until the squared length of the gradient is `least_square` or steps run out.

    Directions are sums of past steps, past changes of the gradient and the gradient, so that the two loops run over
    products between these, a few dozen numbers, and the long vectors are read twice a step.
    """
    layer, logits = start, objective.logits(start)
    gradient = objective.gradient(layer, logits)
    # Rows: steps, changes of the gradient, the gradient.
    basis = start.new_zeros(2 * _MEMORY + 1, start.numel())
    products = np.zeros((len(basis), len(basis)))
    known: list[int] = []  # slots that hold a step, oldest first
    for number in range(most_steps):
        basis[-1] = gradient.flatten()
        changed = [known[-1], _MEMORY + known[-1], len(basis) - 1] if known else [len(basis) - 1]
        products[changed] = (basis[changed] @ basis.T).cpu().numpy()
        products[:, changed] = products[changed].T
        square = float(products[-1, -1])
        if square <= least_square:
            break
        shares = _two_loops(products, known)
        slope = float(products[-1] @ shares)
        direction = (torch.as_tensor(shares, dtype=basis.dtype, device=basis.device) @ basis).view_as(layer)
        length, logits = objective.step(layer, logits, direction, slope)
        layer = layer + length * direction
        before, gradient = gradient, objective.gradient(layer, logits)
        slot = number % _MEMORY
        basis[slot] = length * direction.flatten()
        basis[_MEMORY + slot] = (gradient - before).flatten()
        known = [other for other in known if other != slot] + [slot]
        # Of a convex function these agree in direction; where they do not, rounding is all that is left.
        if not float(basis[slot] @ basis[_MEMORY + slot]) > 0:
            break
    return layer


def _two_loops(products: npt.NDArray[np.float64], known: Sequence[int]) -> npt.NDArray[np.float64]:
    """The shares of the basis of `_minimise` in the next direction."""
    shares = np.zeros(len(products))
    shares[-1] = -1.0
    if not known:
        return shares / max(1.0, math.sqrt(products[-1, -1]))
    taken = {}
    for slot in reversed(known):
        taken[slot] = products[slot] @ shares / products[slot, _MEMORY + slot]
        shares[_MEMORY + slot] -= taken[slot]
    last = known[-1]
    shares *= products[last, _MEMORY + last] / products[_MEMORY + last, _MEMORY + last]
    for slot in known:
        shares[slot] += taken[slot] - products[_MEMORY + slot] @ shares / products[slot, _MEMORY + slot]
    return shares


_LEAST_LABELS = 200  # below, a temperature would be a guess: at 100 labels it made calibration worse
_LEFT_OUT = 4  # one in so many
_MOVED = 0.1  # share by which the labels change before a kept temperature is found anew
_TEMPERATURES = torch.linspace(math.log(0.25), math.log(4.0), 81).exp()


def _left_out(squares: Sequence[Tensor]) -> Tensor:
    """(P,) bool, a quarter of the labels; those in one square of an image share their fate, for they are much alike."""
    owners = torch.cat([torch.full_like(places, number) for number, places in enumerate(squares)])
    _, group = torch.unique(torch.stack([owners, torch.cat(list(squares))]), dim=1, return_inverse=True)
    order = torch.randperm(int(group.max()) + 1, generator=torch.Generator().manual_seed(0))
    return order[group] % _LEFT_OUT == 0


def _temperature(
    rows_PG: Tensor, offsets_CP: Tensor, classes_P: Tensor, left_out_P: Tensor, prior: _Solution, cfg: FastHeadConfig
) -> float:
    """What logits are to be divided by so that labels left out of the fit are predicted best (Guo et al., 2017)."""
    if len(classes_P) < _LEAST_LABELS:
        return 1.0
    left_out = left_out_P.to(rows_PG.device)
    seen = torch.bincount(classes_P[~left_out], minlength=len(prior.bias)) > 0
    # A class whose every label is left out is unknown to the fit; it says nothing about how sure the fit may be.
    judged = left_out & seen[classes_P]
    if not bool(judged.any()):
        return 1.0
    # From the prior, not from the full fit's solution: that has seen the labels that are left out here.
    found = _fit(rows_PG[~left_out], offsets_CP[:, ~left_out], classes_P[~left_out], prior, prior, cfg)
    logits = torch.addmm(offsets_CP[:, judged], found.joined(), rows_PG[judged].T)
    own = float(logits.gather(0, classes_P[judged][None]).mean())
    losses = [
        float((logits / temperature).logsumexp(0).mean()) - own / temperature for temperature in _TEMPERATURES.tolist()
    ]
    return float(_TEMPERATURES[losses.index(min(losses))])
