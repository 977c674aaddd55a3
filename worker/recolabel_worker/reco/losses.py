"""The three terms of Eq. 5. Functions of tensors; every emptiness gives exactly 0 with a gradient of 0.

Letters: B images, C classes, D representation, h w cells at output stride 4, Q queries, K negative keys.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco import sampling
from recolabel_worker.reco.config import UNLABELLED, VOID, InvalidArgument, RecoConfig


def supervised_loss(logits: Tensor, label_map: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy on the cells that somebody labelled.

    Args:
        logits: (B, C, h, w).
        label_map: (B, h, w) int64; UNLABELLED and VOID enter nothing.
        class_weights: (C,) weight of each class; the mean is weighted by it.
    """
    given = label_map < VOID
    if not given.any():
        return _nothing(logits)
    chosen = logits.permute(0, 2, 3, 1)[given].float()
    return F.cross_entropy(chosen, label_map[given], weight=class_weights)


def eta(confidence: Tensor, counted: Tensor, delta_s: float) -> Tensor:
    """Share of an image's counted cells whose confidence exceeds delta_s (Eq. 5), (B,); 0 where none counts."""
    sure = ((confidence > delta_s) & counted).flatten(1).sum(1)
    return sure / counted.flatten(1).sum(1).clamp_min(1)


def pseudo_label_loss(logits: Tensor, pseudo_labels: Tensor, confidence: Tensor, delta_s: float) -> Tensor:
    """Cross-entropy on pseudo-labels, each image weighted by its eta (Eq. 5), mean over images.

    Args:
        logits: (B, C, h, w) of the strong views.
        pseudo_labels: (B, h, w) int64, given labels already laid over them; VOID and UNLABELLED enter nothing.
        confidence: (B, h, w) of the teacher; 1 where a label was given.
        delta_s: the strong threshold.
    """
    counted = pseudo_labels < VOID
    if not counted.any():
        return _nothing(logits)
    targets = torch.where(counted, pseudo_labels, VOID)
    each = F.cross_entropy(logits.float(), targets, ignore_index=VOID, reduction="none")
    per_image = each.flatten(1).sum(1) / counted.flatten(1).sum(1).clamp_min(1)
    return (eta(confidence, counted, delta_s) * per_image).mean()


def info_nce(queries_QD: Tensor, positive_D: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Tell each query's positive key from its negative keys: one class's share of the contrast (inner term of Eq. 1).

    Deviation: the paper sums over queries, we average, so the value does not grow with the number of queries.

    Args:
        queries_QD: representations of the class's hard cells; gradients flow through these only.
        positive_D: mean representation of the class, detached.
        negatives: (K, D) shared by the class's queries, or (Q, K, D) of their own, detached.
        temperature: divisor of the normalised dot products, above 0.

    Raises:
        InvalidArgument: Q or K is 0. What an empty class means is decided where classes are looped over.
    """
    if not len(queries_QD) or not negatives.shape[-2]:
        raise InvalidArgument("queries_QD, negatives", "need at least one row each.")
    queries = F.normalize(queries_QD.float(), dim=1)
    positive = F.normalize(positive_D.float(), dim=0)
    keys = F.normalize(negatives.float(), dim=-1)
    to_positive = queries @ positive
    to_negatives = queries @ keys.T if keys.ndim == 2 else torch.einsum("qd,qkd->qk", queries, keys)
    similarities = torch.cat([to_positive[:, None], to_negatives], dim=1) / temperature
    return (torch.logsumexp(similarities, dim=1) - similarities[:, 0]).mean()


def regional_contrast_loss(
    representation: Tensor,
    label_map: Tensor,
    probabilities: Tensor,
    *,
    config: RecoConfig | None = None,
    generator: torch.Generator,
) -> Tensor:
    """Pull hard pixels to their class's mean and away from pixels of the classes they resemble (Eq. 1-4).

    The mean over the classes present; one that has no hard pixel or no rival adds 0, and where all are so the loss is
    exactly 0 and still differentiable. Gradients flow through the queries only.

    Args:
        representation: (B, D, h, w) float.
        label_map: (B, h, w) int64: class index, UNLABELLED or VOID. Labelled pixels and pseudo-labels that passed
            delta_w; this function does not look at delta_w.
        probabilities: (B, C, h, w) the student's softmax.
        config: thresholds and numbers; the published ones when left out.
        generator: where chance comes from; may live on another device than the tensors.

    Returns:
        0-dim float32, at least 0.

    Raises:
        InvalidArgument: shapes do not match, a class index is out of range, the representation is not finite, or
            probabilities do not sum to 1. `argument` names the culprit.
    """
    config = config or RecoConfig()
    _check_contrast_arguments(representation, label_map, probabilities)
    num_classes = probabilities.shape[1]
    labels_N = label_map.reshape(-1)
    with torch.no_grad():
        cells = sampling.group_by_class(labels_N, num_classes)
        present = cells.size > 0
        num_present = int(present.sum())
        label_probability = probabilities.detach().gather(1, label_map.clamp_max(num_classes - 1)[:, None])
        hard = (label_probability.reshape(-1) < config.delta_s) & (labels_N < num_classes)
        means = sampling.class_means(representation, labels_N, cells.size)
        shares = sampling.negative_class_probabilities(sampling.class_graph(means), present)
    if num_present < 2:
        return _nothing(representation)
    terms: list[Tensor] = []
    for c in present.nonzero().flatten().tolist():
        queries = sampling.draw_queries(hard, cells, c, config.num_queries, generator)
        if not len(queries):
            continue
        sets = len(queries) if config.fresh_keys else 1
        keys = sampling.draw_negative_keys(shares[c], cells, sets * config.num_keys, generator)
        negatives = gather_cells(representation.detach(), keys)
        if config.fresh_keys:
            negatives = negatives.view(sets, config.num_keys, -1)
        terms.append(info_nce(gather_cells(representation, queries), means[c], negatives, config.temperature))
    return torch.stack(terms).sum() / num_present if terms else _nothing(representation)


def gather_cells(representation: Tensor, cells_P: Tensor) -> Tensor:
    """The (P, D) representations of numbered cells."""
    height, width = representation.shape[-2:]
    image, place = cells_P // (height * width), cells_P % (height * width)
    return representation[image, :, place // width, place % width]


def _nothing(like: Tensor) -> Tensor:
    """Exactly 0, with a gradient of exactly 0, also where `like` holds huge values."""
    return (like[:0].sum() if like.ndim else like * 0).float()


def _check_contrast_arguments(representation: Tensor, label_map: Tensor, probabilities: Tensor) -> None:
    if representation.ndim != 4 or not representation.is_floating_point():
        raise InvalidArgument("representation", f"has to be (B, D, h, w) float, not {_described(representation)}.")
    expected = (representation.shape[0], *representation.shape[2:])
    if tuple(label_map.shape) != expected:
        raise InvalidArgument("label_map", f"has shape {tuple(label_map.shape)}; the representation asks {expected}.")
    if label_map.dtype != torch.int64:
        raise InvalidArgument("label_map", f"has to be int64, not {label_map.dtype}.")
    if probabilities.ndim != 4 or (probabilities.shape[0], *probabilities.shape[2:]) != expected:
        raise InvalidArgument(
            "probabilities",
            f"has shape {tuple(probabilities.shape)}; needed is (B, C, h, w) with B, h, w = {expected}.",
        )
    if not probabilities.is_floating_point() or not probabilities.shape[1]:
        raise InvalidArgument("probabilities", f"has to be (B, C, h, w) float, not {_described(probabilities)}.")
    num_classes = probabilities.shape[1]
    if not label_map.numel():
        return
    wrong = ((label_map < 0) | ((label_map >= num_classes) & (label_map != VOID) & (label_map != UNLABELLED))).any()
    if wrong:
        raise InvalidArgument(
            "label_map", f"holds a value that is no class of 0..{num_classes - 1}, nor {VOID} void, nor {UNLABELLED}."
        )
    # A finite sum proves finite values; the slow look is needed only where a sum overflows.
    flat = representation.detach()
    if not torch.isfinite(flat.sum()) and not torch.isfinite(flat).all():
        raise InvalidArgument("representation", "holds NaN or infinity.")
    tolerance = 1e-3 if probabilities.dtype in (torch.float32, torch.float64) else 2e-2
    off = (probabilities.detach().sum(1) - 1).abs().max()
    if not bool(off <= tolerance) or bool(probabilities.detach().amin() < -tolerance):
        raise InvalidArgument("probabilities", "have to be at least 0 and sum to 1 over the classes at each pixel.")


def _described(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype}"
