"""The three terms of Eq. 5. Functions of tensors; every emptiness gives exactly 0 with a gradient of 0.

Letters: B images, C classes, D representation, h w cells at output stride 4, Q queries, K negative keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco import sampling
from recolabel_worker.reco.config import MAX_CLASSES, UNLABELLED, VOID, InvalidArgument, RecoConfig
from recolabel_worker.reco.sampling import NO_LENGTH, direction_and_length

_FRESH_KEYS_AT_ONCE = 8192  # rows of negative keys in memory when each query has its own: 8 MB at D = 256


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


def info_nce(queries_QD: Tensor, positive_D: Tensor, negatives: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Tell each query's positive key from its negative keys: one class's share of the contrast (inner term of Eq. 1).

    Deviation: the paper sums over queries, we average, so the value does not grow with the number of queries.

    Args:
        queries_QD: representations of the class's queries, float32, of any length.
        positive_D: unit vector of the class's mean.
        negatives: unit vectors, (K, D) shared by the class's queries, or (Q, K, D) of their own.
        temperature: divisor of the dot products of unit vectors, above 0.

    Returns:
        The mean over queries, 0-dim, and its gradient in `queries_QD`, (Q, D): taken here, where the exponentials are
        at hand, it costs one matrix product more. Autograd records nothing.

    Raises:
        InvalidArgument: Q or K is 0. What an empty class means is decided where classes are looped over.
    """
    if not len(queries_QD) or not negatives.shape[-2]:
        raise InvalidArgument("queries_QD, negatives", "need at least one row each.")
    with torch.no_grad():
        directions, lengths = direction_and_length(queries_QD)
        to_positive = directions @ positive_D / temperature
        to_negatives = _rows_times(directions / temperature, negatives.mT)
        # The largest exponent becomes 0, so that nothing overflows.
        top = torch.maximum(to_negatives.amax(1), to_positive)
        weights = to_negatives.sub_(top[:, None]).exp_()
        of_negatives = weights.sum(1)
        total = of_negatives + (to_positive - top).exp()
        value = (total.log() + top - to_positive).mean()

        towards = (_rows_times(weights, negatives) - of_negatives[:, None] * positive_D) / total[:, None]
        # A unit vector only turns: what points along it is lost. One of no length has nowhere to turn from.
        towards -= (towards * directions).sum(1, keepdim=True) * directions
        towards /= temperature * len(queries_QD) * lengths
        gradient: Tensor = torch.where(lengths > NO_LENGTH, towards, 0.0)
        return value, gradient


def _rows_times(rows_QN: Tensor, matrix: Tensor) -> Tensor:
    """(Q, M) of one (N, M) matrix for all rows, or of (Q, N, M), one for each."""
    return rows_QN @ matrix if matrix.ndim == 2 else (rows_QN[:, None] @ matrix)[:, 0]


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
        representation: (B, D, h, w) float of any precision and memory layout; only directions matter, not lengths.
        label_map: (B, h, w) int64: class index, UNLABELLED or VOID. Labelled pixels and pseudo-labels that passed
            delta_w; this function does not look at delta_w.
        probabilities: (B, C, h, w) float, the student's softmax; no gradient flows into it.
        config: thresholds and numbers; the published ones when left out.
        generator: where chance comes from; may live on another device than the tensors.

    Returns:
        0-dim float32, at least 0. It can be differentiated once. Same generator state, same bits on the CPU.

    Raises:
        InvalidArgument: shapes or devices do not match, a class index is out of range, the representation is not
            finite, or probabilities do not sum to 1. `argument` names the culprit.
    """
    config = config or RecoConfig()
    _check_contrast_arguments(representation, label_map, probabilities)
    with torch.no_grad(), torch.autocast(representation.device.type, enabled=False):
        loss, queries_P, gradient_PD = _contrast(representation.detach(), label_map, probabilities, config, generator)
    with_gradient: Tensor = _WithGradientAt.apply(  # type: ignore[no-untyped-call]
        representation, loss, queries_P, gradient_PD
    )
    return with_gradient


def _contrast(
    representation: Tensor, label_map: Tensor, probabilities: Tensor, config: RecoConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, the cells of its P queries, and its gradient at each of them, (P, D) float32."""
    num_classes = probabilities.shape[1]
    labels_N = label_map.flatten()
    cells = sampling.group_by_class(labels_N, num_classes)
    present = cells.size > 0
    means = sampling.class_means(_finite_sums(representation, labels_N, num_classes), cells.size)
    directions, _ = direction_and_length(means)
    if config.key_sampling == "active":
        shares = sampling.negative_class_probabilities(sampling.class_graph(directions), present)
    else:
        shares = sampling.negative_cell_shares(cells.size)
    label_probability = probabilities.gather(1, label_map.clamp_max(num_classes - 1)[:, None]).flatten()
    wanted = sampling.query_candidates(label_probability, config.query_sampling, config.delta_s)
    queries = sampling.draw_queries(sampling.only(cells, labels_N, wanted), config.num_queries, generator)
    if len(classes := present.nonzero().flatten().tolist()) < 2:
        return means.new_zeros(()), labels_N[:0], means[:0]

    loss = means.new_zeros(())
    cells_P = torch.cat(queries)
    gradient_PD = gather_cells(representation, cells_P)
    draw_keys = _key_source(representation, shares, cells, config, generator)
    for c, rows in zip(range(num_classes), torch.split(gradient_PD, [len(own) for own in queries]), strict=True):
        for part, keys in draw_keys(c, rows):
            weight = len(part) / (len(rows) * len(classes))
            value, gradient = info_nce(part, directions[c], keys, config.temperature)
            loss += weight * value
            # The queries are not needed any more: their gradients take their place.
            torch.mul(gradient, weight, out=part)
    return loss, cells_P, gradient_PD


def _key_source(
    representation: Tensor,
    shares_CC: Tensor,
    cells: sampling.ClassCells,
    config: RecoConfig,
    generator: torch.Generator,
) -> Callable[[int, Tensor], Iterator[tuple[Tensor, Tensor]]]:
    """(class, its queries) -> queries with unit keys: all with one set (K, D), or parts with their own (Q, K, D)."""

    def fresh(c: int, queries_QD: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for part in torch.split(queries_QD, max(1, _FRESH_KEYS_AT_ONCE // config.num_keys)):
            drawn = sampling.draw_negative_keys(shares_CC[c], cells, len(part) * config.num_keys, generator)
            if len(part):
                keys, _ = direction_and_length(gather_cells(representation, drawn))
                yield part, keys.view(len(part), config.num_keys, -1)

    if config.fresh_keys:
        return fresh
    pool = sampling.draw_key_pool(shares_CC, cells, config.num_keys, generator)
    keys, _ = direction_and_length(gather_cells(representation, pool.cells))

    def shared(c: int, queries_QD: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        if len(queries_QD):
            yield queries_QD, keys[pool.taken[c]]

    return shared


class _WithGradientAt(torch.autograd.Function):
    """A loss whose gradient is known already, and is zero but at a few cells.

    Left to autograd, each class's gather would write a gradient as large as the representation, and the similarities of
    all classes would be kept until then. So each class's gradient is taken at once, while its numbers are in the cache,
    and the large one is written once.
    """

    @staticmethod
    def forward(ctx: Any, representation: Tensor, loss: Tensor, cells_P: Tensor, gradient_PD: Tensor) -> Tensor:
        ctx.save_for_backward(cells_P, gradient_PD)
        ctx.shape, ctx.dtype, ctx.memory_format = representation.shape, representation.dtype, torch.contiguous_format
        if representation.is_contiguous(memory_format=torch.channels_last):
            ctx.memory_format = torch.channels_last
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None]:
        cells_P, gradient_PD = ctx.saved_tensors
        whole = torch.empty(ctx.shape, dtype=ctx.dtype, device=outer.device, memory_format=ctx.memory_format)
        # Each image is filled while its zeros are in the cache. Cells are distinct: no sum depends on an order.
        for index, places, rows in _by_image(cells_P, ctx.shape):
            image = whole[index].zero_().flatten(1)
            gradient = (outer * gradient_PD[rows]).to(ctx.dtype)
            if image.T.is_contiguous():
                image.T.index_copy_(0, places, gradient)
            elif ctx.dtype == torch.float32:
                image.scatter_(1, places.expand(len(image), -1), gradient.T)
            else:
                # Slower, but scatter_ holds a float32 copy of a half precision image meanwhile.
                image[:, places] = gradient.T
        return whole, None, None, None


def gather_cells(representation: Tensor, cells_P: Tensor) -> Tensor:
    """The (P, D) representations of numbered cells as float32."""
    found = torch.empty(len(cells_P), representation.shape[1], device=representation.device)
    for index, places, rows in _by_image(cells_P, representation.shape):
        image = representation[index].flatten(1)
        if image.T.is_contiguous():
            found[rows] = image.T[places].float()
        else:
            # Channel by channel through rising places is memory's own order, several times as fast as cell by cell.
            found[rows] = image.gather(1, places.expand(len(image), -1)).T.contiguous().float()
    return found


def _by_image(cells_P: Tensor, shape: torch.Size) -> Iterator[tuple[int, Tensor, Tensor]]:
    """For each image: its index, the places h w of the cells that are in it, rising, and their positions in cells_P."""
    size = shape[2] * shape[3]
    rising, order = cells_P.sort()
    count = torch.bincount(rising // max(size, 1), minlength=shape[0]).tolist()
    for index, (numbers, rows) in enumerate(zip(torch.split(rising, count), torch.split(order, count), strict=True)):
        yield index, numbers - index * size, rows


def _finite_sums(representation: Tensor, labels_N: Tensor, num_classes: int) -> Tensor:
    sums = sampling.class_sums(representation, labels_N, num_classes)
    if torch.isfinite(sums).all():
        return sums
    if not all(bool(torch.isfinite(image).all()) for image in representation):
        raise InvalidArgument("representation", "holds NaN or infinity.")
    # Only the sums are too large. Similarities are cosines: the length of a mean does not matter.
    return sampling.class_sums(representation / representation.abs().amax(), labels_N, num_classes)


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
    if num_classes > MAX_CLASSES:
        raise InvalidArgument("probabilities", f"has {num_classes} classes; there can be {MAX_CLASSES}.")
    devices = {representation.device, label_map.device, probabilities.device}
    if len(devices) > 1:
        raise InvalidArgument("representation, label_map, probabilities", "have to be on one device.")
    if not label_map.numel():
        return
    wrong = ((label_map < 0) | ((label_map >= num_classes) & (label_map != VOID) & (label_map != UNLABELLED))).any()
    if wrong:
        raise InvalidArgument(
            "label_map", f"holds a value that is no class of 0..{num_classes - 1}, nor {VOID} void, nor {UNLABELLED}."
        )
    tolerance = 1e-3 if probabilities.dtype in (torch.float32, torch.float64) else 2e-2
    off = (probabilities.detach().sum(1) - 1).abs().max()
    if not bool(off <= tolerance) or bool(probabilities.detach().amin() < -tolerance):
        raise InvalidArgument("probabilities", "have to be at least 0 and sum to 1 over the classes at each pixel.")


def _described(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype}"
