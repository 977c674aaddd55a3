"""The first model a person sees: one linear layer on frozen features, fitted on the clicks in a fraction of a second.

The same layer is the network's direct head, so its solution is where deep training starts. Where the network's decoder
has learnt something, the head is fitted on top of that and held near the network's own weights.

Letters: C classes, F feature channels, P labelled cells, h w cells at output stride 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco.config import VOID, FastHeadConfig, InvalidArgument, TrainConfig
from recolabel_worker.reco.data import Labels, SparseImage, labels_of, rasterise
from recolabel_worker.reco.features import Features, cell_points, extract_features, grid_size
from recolabel_worker.reco.layers import upsample
from recolabel_worker.reco.network import DeepLabV3Plus, direct_features


@dataclass(frozen=True)
class FastHead:
    """A linear layer over standardised features."""

    weight: Tensor  # (C, F)
    bias: Tensor  # (C,)
    mean: Tensor  # (F,) of the features
    deviation: Tensor  # (F,) standard deviation, above 0

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
        full = upsample(logits, [4 * logits.shape[-2], 4 * logits.shape[-1]])[0, :, :height, :width]
        return full.softmax(0)


def fit_fast_head(
    network: DeepLabV3Plus,
    images: Sequence[SparseImage],
    cfg: TrainConfig,
    *,
    generator: torch.Generator | None = None,  # noqa: ARG001 - the fit is convex: chance has no say in it
) -> FastHead:
    """Fit the head on all class labels of `images`; unlabelled images help to standardise the features.

    Raises:
        InvalidArgument: no pixel carries a class label, or one names a class that does not exist.
    """
    features = [extract_features(network, item.image) for item in images]
    return fit_on_features(network, features, [labels_of(item, cfg.num_classes) for item in images], cfg.fast_head)


def fit_on_features(
    network: DeepLabV3Plus, features: Sequence[Features], labels: Sequence[Labels], cfg: FastHeadConfig
) -> FastHead:
    """As `fit_fast_head`, on features that are at hand. `features[i]` and `labels[i]` belong together.

    Raises:
        InvalidArgument: no pixel carries a class label.
    """
    direct = network.direct
    prior_weight, prior_bias = direct.weight.detach().clone(), direct.bias.detach().clone()
    if bool(prior_weight.any()):
        mean, deviation = direct.mean.clone(), direct.deviation.clone()
    else:
        mean, deviation = feature_statistics(features)
    rows, offsets, classes = _labelled_rows(features, labels, direct.bias)
    if not len(classes):
        raise InvalidArgument("images", "carry no class label; click at least one pixel of a class first.")
    rows = (rows - mean) / deviation
    weight, bias = _fit(rows, offsets, classes, prior_weight, prior_bias, cfg)
    return FastHead(weight, bias, mean, deviation)


@torch.no_grad()
def feature_statistics(features: Sequence[Features]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature channel over the pixels of all images, both (F,)."""
    means, squares = [], []
    for item in features:
        groups = direct_features(item.stages)
        means.append(torch.cat([group.double().mean((0, 2, 3)) for group in groups]))
        squares.append(torch.cat([group.double().square().mean((0, 2, 3)) for group in groups]))
    mean = torch.stack(means).mean(0)
    variance = torch.stack(squares).mean(0) - mean.square()
    # A channel that never moves carries nothing; without the floor its noise would be blown up.
    return mean.float(), variance.clamp_min(1e-6).sqrt().float()


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
def _labelled_rows(
    features: Sequence[Features], labels: Sequence[Labels], like: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Raw features (P, F), decoder's logits (P, C) and classes (P,) of the labelled cells."""
    rows, offsets, classes = [], [], []
    for item, given in zip(features, labels, strict=True):
        if not bool(given.spoken.any()):
            continue
        label_map = label_cells(item, given).flatten()
        cells = (label_map < VOID).nonzero().flatten()
        if not len(cells):
            continue
        points = cell_points(cells, grid_size(item)).to(like.device)
        # Bilinear sampling at cell centres is what upsampling the whole map to stride 4 gives there.
        groups = [_sample(group, points) for group in direct_features(item.stages)]
        rows.append(torch.cat(groups, dim=1))
        classes.append(label_map[cells].to(like.device))
        offsets.append(
            like.new_zeros(len(cells), len(like)) if item.correction is None else _sample(item.correction, points)
        )
    if not rows:
        return like.new_zeros(0, 1), like.new_zeros(0, len(like)), torch.zeros(0, dtype=torch.int64)
    return torch.cat(rows), torch.cat(offsets), torch.cat(classes)


def _sample(group: Tensor, points: Tensor) -> Tensor:
    sampled = F.grid_sample(group.float(), points, padding_mode="border", align_corners=False)
    return sampled[0, :, 0].T


def _fit(
    rows_PF: Tensor,
    offsets_PC: Tensor,
    classes_P: Tensor,
    prior_weight_CF: Tensor,
    prior_bias_C: Tensor,
    cfg: FastHeadConfig,
) -> tuple[Tensor, Tensor]:
    """Class-balanced multinomial logistic regression with an L2 pull towards the prior; convex, by L-BFGS."""
    count = torch.bincount(classes_P, minlength=len(prior_bias_C))
    shares = class_weights(count, cfg.balance)[classes_P]
    shares = shares / shares.sum()
    weight = prior_weight_CF.clone().requires_grad_()
    bias = prior_bias_C.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=cfg.max_iterations, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimiser.zero_grad()
        logits = rows_PF @ weight.T + bias + offsets_PC
        misfit = (F.cross_entropy(logits, classes_P, reduction="none") * shares).sum()
        distance = (weight - prior_weight_CF).square().sum() + 1e-2 * (bias - prior_bias_C).square().sum()
        loss = misfit + cfg.weight_decay / 2 * distance
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(objective)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
