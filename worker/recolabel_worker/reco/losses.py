"""The three terms of Eq. 5. Functions of tensors; every emptiness gives exactly 0 with a gradient of 0.

Letters: B images, C classes, D representation, h w cells at output stride 4, Q queries, K negative keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco import sampling
from recolabel_worker.reco.config import MAX_CLASSES, UNLABELLED, VOID, InvalidArgument, RecoConfig
from recolabel_worker.reco.sampling import NO_LENGTH, direction_and_length

_FRESH_KEYS_AT_ONCE = 8192  # rows of negative keys in memory when each query has its own: 8 MB at D = 256
_ALIGNMENT = 64  # bytes; where torch itself lets memory start
_EXPONENTS_FIT_ABOVE = 0.025  # temperature; exp(40) and its sums are far from the ends of float32


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


def info_nce(
    directions_QD: Tensor,
    lengths_Q: Tensor,
    positive_D: Tensor,
    negatives: Tensor,
    temperature: float,
    *,
    weight: float = 1.0,
    room: Room | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Tell each query's positive key from its negative keys: one class's share of the contrast (inner term of Eq. 1).

    Deviation: the paper sums over queries, we average, so the value does not grow with the number of queries.

    Args:
        directions_QD: unit vectors along the representations of the class's queries, float32.
        lengths_Q: how long those representations are, (Q, 1).
        positive_D: unit vector of the class's mean.
        negatives: unit vectors, (K, D) shared by the class's queries, or (Q, K, D) of their own.
        temperature: divisor of the dot products of unit vectors, above 0.
        weight: factor of both results.
        room: memory for what is computed on the way; allocated when left out.
        out: (Q, D) where the gradient goes, which may be `directions_QD`; allocated when left out.

    Returns:
        The mean over queries, 0-dim, and its gradient in the queries' representations, (Q, D): taken here, where the
        exponentials are at hand, it costs one matrix product more. Autograd records nothing.

    Raises:
        InvalidArgument: Q or K is 0. What an empty class means is decided where classes are looped over.
    """
    queries, keys = len(directions_QD), negatives.shape[-2]
    if not queries or not keys:
        raise InvalidArgument("directions_QD, negatives", "need at least one row each.")
    with torch.no_grad():
        room = room or Room.to_hold(queries, keys, directions_QD)
        to_positive = directions_QD @ positive_D / temperature
        exponents = _rows_times(directions_QD, negatives.mT, 1 / temperature, room.scores)
        top = torch.zeros_like(to_positive)
        if temperature < _EXPONENTS_FIT_ABOVE:
            # The largest exponent becomes 0, so that nothing overflows.
            top = torch.maximum(exponents.amax(1), to_positive)
            exponents.sub_(top[:, None])
        weights = exponents.exp_()
        of_negatives = weights.sum(1)
        total = of_negatives + (to_positive - top).exp()
        value = (total.log() + top - to_positive).mean() * weight

        towards = _rows_times(weights, negatives, 1.0, room.towards)
        towards.addr_(of_negatives, positive_D, alpha=-1)
        # A unit vector only turns: what points along it is lost. One of no length has nowhere to turn from.
        along = torch.mul(towards, directions_QD, out=_first(room.product, *towards.shape)).sum(1, keepdim=True)
        scale = weight / (total[:, None] * (temperature * queries) * lengths_Q)
        scale = torch.where(lengths_Q > NO_LENGTH, scale, 0.0)
        gradient = torch.mul(directions_QD, -along * scale, out=out)
        return value, gradient.addcmul_(towards, scale)


class Room(NamedTuple):
    """Memory that the classes use one after another: to ask the system anew for each costs more than to compute."""

    scores: Tensor
    towards: Tensor
    product: Tensor

    @classmethod
    def to_hold(cls, queries: int, keys: int, like: Tensor) -> Room:
        """For up to (Q, D) queries with (K, D) keys; D, precision and device are those of `like`."""
        return cls(*(like.new_empty(queries * columns) for columns in (keys, like.shape[-1], like.shape[-1])))


def _first(buffer: Tensor, rows: int, columns: int) -> Tensor:
    return buffer[: rows * columns].view(rows, columns)


def _rows_times(rows_QN: Tensor, matrix: Tensor, factor: float, buffer: Tensor) -> Tensor:
    """(Q, M) of one (N, M) matrix for all rows, or of (Q, N, M), one for each; times a factor; held in `buffer`."""
    target = _first(buffer, len(rows_QN), matrix.shape[-1])
    if matrix.ndim == 2:
        return torch.addmm(target, rows_QN, matrix, beta=0, alpha=factor, out=target)
    wide = target[:, None]
    torch.baddbmm(wide, rows_QN[:, None], matrix, beta=0, alpha=factor, out=wide)
    return target


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
    _, lengths_P = direction_and_length(gradient_PD, out=gradient_PD)
    draw_keys = _key_source(representation, shares, cells, config, generator)
    room = Room.to_hold(max(len(own) for own in queries), config.num_keys, gradient_PD)
    counts = [len(own) for own in queries]
    by_class = zip(torch.split(gradient_PD, counts), torch.split(lengths_P, counts), strict=True)
    for c, (rows, lengths) in enumerate(by_class):
        for part, keys in draw_keys(c, len(rows)):
            unit_vectors = rows[part]
            weight = len(unit_vectors) / (len(rows) * len(classes))
            # The unit vectors are not needed any more: their gradients take their place.
            value, _ = info_nce(
                unit_vectors,
                lengths[part],
                directions[c],
                keys,
                config.temperature,
                weight=weight,
                room=room,
                out=unit_vectors,
            )
            loss += value
    return loss, cells_P, gradient_PD


def _key_source(
    representation: Tensor,
    shares_CC: Tensor,
    cells: sampling.ClassCells,
    config: RecoConfig,
    generator: torch.Generator,
) -> Callable[[int, int], Iterator[tuple[slice, Tensor]]]:
    """(class, number of its queries) -> which queries, and their unit keys: (K, D) for all, or (Q, K, D) for a part."""

    def fresh(c: int, count: int) -> Iterator[tuple[slice, Tensor]]:
        at_once = max(1, _FRESH_KEYS_AT_ONCE // config.num_keys)
        for first in range(0, count, at_once):
            part = slice(first, min(first + at_once, count))
            drawn = sampling.draw_negative_keys(
                shares_CC[c], cells, (part.stop - part.start) * config.num_keys, generator
            )
            keys = gather_cells(representation, drawn)
            direction_and_length(keys, out=keys)
            yield part, keys.view(-1, config.num_keys, keys.shape[1])

    if config.fresh_keys:
        return fresh
    pool = sampling.draw_key_pool(shares_CC, cells, config.num_keys, generator)
    keys = gather_cells(representation, pool.cells)
    direction_and_length(keys, out=keys)
    own = keys.new_empty(config.num_keys, keys.shape[1])

    def shared(c: int, count: int) -> Iterator[tuple[slice, Tensor]]:
        if count:
            yield slice(count), torch.index_select(keys, 0, pool.taken[c].nonzero().flatten(), out=own)

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
        whole = _zeros(ctx.shape, ctx.dtype, outer.device, ctx.memory_format)
        # Cells are distinct: no sum depends on an order.
        for index, places, rows in _by_image(cells_P, ctx.shape):
            image = whole[index].flatten(1)
            gradient = (outer * gradient_PD[rows]).to(ctx.dtype)
            if image.T.is_contiguous():
                image.T.index_copy_(0, places, gradient)
            elif ctx.dtype == torch.float32:
                image.scatter_(1, places.expand(len(image), -1), gradient.T)
            else:
                # Slower, but scatter_ holds a float32 copy of a half precision image meanwhile.
                image[:, places] = gradient.T
        return whole, None, None, None


def _zeros(shape: torch.Size, dtype: torch.dtype, device: torch.device, memory_format: torch.memory_format) -> Tensor:
    """A tensor of zeros.

    On the processor by way of numpy, which asks Linux for zeroed memory in pages of 2 MB. torch takes pages of 4 kB,
    and to be given those takes two to three times as long as to write them.
    """
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device, memory_format=memory_format).zero_()
    numbers = math.prod(shape)
    memory = torch.from_numpy(np.zeros(numbers * dtype.itemsize + _ALIGNMENT, np.uint8))
    start = -memory.data_ptr() % _ALIGNMENT
    flat = memory[start : start + numbers * dtype.itemsize].view(dtype)
    if memory_format == torch.channels_last:
        images, channels, height, width = shape
        return flat.view(images, height, width, channels).permute(0, 3, 1, 2)
    return flat.view(shape)


def gather_cells(representation: Tensor, cells_P: Tensor) -> Tensor:
    """The (P, D) representations of numbered cells as float32."""
    found = torch.empty(len(cells_P), representation.shape[1], device=representation.device)
    for index, places, rows in _by_image(cells_P, representation.shape):
        image = representation[index].flatten(1)
        if image.T.is_contiguous():
            found[rows] = image.T[places].float()
        else:
            # Channel by channel through rising places is memory's own order, several times as fast as cell by cell.
            found.index_copy_(0, rows, image.gather(1, places.expand(len(image), -1)).T.float())
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
