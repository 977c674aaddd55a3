"""The three terms of Eq. 5. Functions of tensors; every emptiness gives exactly 0 with a gradient of 0.

Letters: B images, C classes, D representation, h w cells at output stride 4, Q queries, K negative keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
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
_CLASSES_AT_ONCE = 4  # in the products of queries and keys: even, for two threads; more would take too much memory
_QUERIES_AT_ONCE = 1024  # of several classes
_ALIGNMENT = 64  # bytes; where torch itself lets memory start
_EXPONENTS_FIT_ABOVE = 0.025  # temperature; exp(40) and its sums are far from the ends of float32


def supervised_loss(logits: Tensor, label_map: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy on the cells that somebody labelled: the weighted mean of -log softmax(logits)[label] over them.

    Args:
        logits: (B, C, h, w) float.
        label_map: (B, h, w) int64; UNLABELLED and VOID enter nothing.
        class_weights: (C,) float, weight of each class; all the same when left out.

    Returns:
        0-dim float32, at least 0.

    Raises:
        InvalidArgument: shapes do not match, or a class index is out of range.
    """
    _check_labels("label_map", label_map, logits)
    if class_weights is not None and tuple(class_weights.shape) != (logits.shape[1],):
        raise InvalidArgument(
            "class_weights", f"has shape {tuple(class_weights.shape)}; the logits ask ({logits.shape[1]},)."
        )
    given = label_map < VOID
    if not given.any():
        return _nothing(logits)
    chosen = logits.permute(0, 2, 3, 1)[given].float()
    return F.cross_entropy(chosen, label_map[given], weight=class_weights)


def eta(confidence: Tensor, counted: Tensor, delta_s: float) -> Tensor:
    """Share of an image's counted cells whose confidence exceeds delta_s (Eq. 5), (B,) in 0..1; 0 where none counts.

    Args:
        confidence: (B, h, w) float, 0..1.
        counted: (B, h, w) bool.
        delta_s: the strong threshold, 0..1.
    """
    sure = ((confidence > delta_s) & counted).flatten(1).sum(1)
    return sure / counted.flatten(1).sum(1).clamp_min(1)


def pseudo_label_loss(logits: Tensor, pseudo_labels: Tensor, confidence: Tensor, delta_s: float) -> Tensor:
    """Cross-entropy on pseudo-labels: mean over images of eta x the mean over an image's counted cells (Eq. 5).

    Args:
        logits: (B, C, h, w) float, of the strong views.
        pseudo_labels: (B, h, w) int64, given labels already laid over them; VOID and UNLABELLED enter nothing.
        confidence: (B, h, w) float of the teacher, 0..1; 1 where a label was given.
        delta_s: the strong threshold, 0..1.

    Returns:
        0-dim float32, at least 0.

    Raises:
        InvalidArgument: shapes do not match, or a class index is out of range.
    """
    _check_labels("pseudo_labels", pseudo_labels, logits)
    if confidence.shape != pseudo_labels.shape:
        raise InvalidArgument(
            "confidence", f"has shape {tuple(confidence.shape)}, pseudo_labels {tuple(pseudo_labels.shape)}."
        )
    counted = pseudo_labels < VOID
    if not counted.any():
        return _nothing(logits)
    targets = torch.where(counted, pseudo_labels, VOID)
    each = F.cross_entropy(logits.float(), targets, ignore_index=VOID, reduction="none")
    per_image = each.flatten(1).sum(1) / counted.flatten(1).sum(1).clamp_min(1)
    return (eta(confidence, counted, delta_s) * per_image).mean()


def info_nce(
    directions_GQD: Tensor,
    lengths_GQ: Tensor,
    positive_GD: Tensor,
    negatives_GKD: Tensor,
    temperature: float,
    *,
    weight: float = 1.0,
    room: Room | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Tell each query's positive key from its negative keys (inner terms of Eq. 1), for G groups of Q queries at once.

    Args:
        directions_GQD: unit vectors along the representations of the queries, float32.
        lengths_GQ: how long those representations are, (G, Q, 1).
        positive_GD: the positive key of each group, a unit vector: its class's mean.
        negatives_GKD: the negative keys that a group's queries share, unit vectors.
        temperature: divisor of the dot products of unit vectors, above 0.
        weight: factor of both results.
        room: memory for what is computed on the way; allocated when left out.
        out: (G, Q, D) where the gradient goes, which may be `directions_GQD`; allocated when left out.

    Returns:
        The sum over queries, 0-dim, and its gradient in the queries' representations, (G, Q, D): taken here, where the
        exponentials are at hand, it costs one matrix product more. Autograd records nothing.

    Raises:
        InvalidArgument: G, Q or K is 0. What an empty class means is decided where classes are looped over.
    """
    if not directions_GQD.numel() or not negatives_GKD.numel():
        raise InvalidArgument("directions_GQD, negatives_GKD", "need at least one row each.")
    with torch.no_grad():
        room = room or Room.to_hold(lengths_GQ.numel(), negatives_GKD.shape[1], directions_GQD)
        to_positive = directions_GQD @ positive_GD[:, :, None] / temperature
        exponents = _product(directions_GQD, negatives_GKD.mT, 1 / temperature, room.scores)
        top = torch.zeros_like(to_positive)
        if temperature < _EXPONENTS_FIT_ABOVE:
            # The largest exponent becomes 0, so that nothing overflows.
            top = torch.maximum(exponents.amax(2, keepdim=True), to_positive)
            exponents.sub_(top)
        weights = exponents.exp_()
        of_negatives = weights.sum(2, keepdim=True)
        total = of_negatives + (to_positive - top).exp()
        value = (total.log() + top - to_positive).sum() * weight

        towards = _product(weights, negatives_GKD, 1.0, room.towards)
        towards.baddbmm_(of_negatives, positive_GD[:, None], alpha=-1)
        # A unit vector only turns: what points along it is lost. One of no length has nowhere to turn from.
        product = room.scores[: towards.numel()].view(towards.shape)  # the scores are not needed any more
        along = torch.mul(towards, directions_GQD, out=product).sum(2, keepdim=True)
        scale = torch.where(lengths_GQ > NO_LENGTH, weight / (total * temperature * lengths_GQ), 0.0)
        gradient = torch.mul(directions_GQD, -along * scale, out=out)
        return value, gradient.addcmul_(towards, scale)


class Room(NamedTuple):
    """Memory that the classes use one after another: to ask the system anew for each costs more than to compute."""

    scores: Tensor
    towards: Tensor

    @classmethod
    def to_hold(cls, queries: int, keys: int, like: Tensor) -> Room:
        """For up to (Q, D) queries at once, each with (K, D) keys; D, precision and device are those of `like`."""
        channels = like.shape[-1]
        return cls(like.new_empty(queries * max(keys, channels)), like.new_empty(queries * channels))


def _product(left: Tensor, right: Tensor, factor: float, buffer: Tensor) -> Tensor:
    """(G, Q, M) of (G, Q, N) and (G, N, M), times a factor, held in `buffer`."""
    shape = (*left.shape[:2], right.shape[2])
    target = buffer[: math.prod(shape)].view(shape)
    return torch.baddbmm(target, left, right, beta=0, alpha=factor, out=target)


def regional_contrast_loss(
    representation: Tensor,
    label_map: Tensor,
    probabilities: Tensor,
    *,
    config: RecoConfig | None = None,
    generator: torch.Generator,
) -> Tensor:
    """Pull hard pixels to their class's mean and away from pixels of the classes they resemble (Eq. 1-4).

    With cosine similarity <a, b>, temperature T, P the classes present, Q_c the queries of class c, m_c the mean of
    class c, and K_q the negative keys of query q:

        loss = 1/|P|  sum over c in P of  1/|Q_c|  sum over q in Q_c of
                   -log( exp(<q, m_c> / T) / (exp(<q, m_c> / T) + sum over k in K_q of exp(<q, k> / T)) )

    Queries are pixels of c whose probability of c is below delta_s (Eq. 4). A negative key is a pixel of a class c',
    which is drawn by the softmax of <m_c, m_c'> over the other classes present (Eq. 3). The mean over a class's queries
    is ours: the paper sums over them, with which the value would grow with their number.

    A class that has no hard pixel or no rival adds 0, and where all are so the loss is exactly 0 and still
    differentiable. Gradients flow through the queries only.

    Args:
        representation: (B, D, h, w) float of any precision and memory layout, D at least 1, within the range of
            float32; only directions matter, not lengths.
        label_map: (B, h, w) int64: class index, UNLABELLED or VOID. Labelled pixels and pseudo-labels that passed
            delta_w; this function does not look at delta_w.
        probabilities: (B, C, h, w) float, the student's softmax; no gradient flows into it.
        config: thresholds and numbers; the published ones when left out.
        generator: where chance comes from; may live on another device than the tensors.

    Returns:
        0-dim float32, at least 0. It can be differentiated once. Same generator state, same bits on the CPU.

    Raises:
        InvalidArgument: kinds, shapes, dtypes or devices are not as said, a class index is out of range, the
            representation is not finite, or probabilities do not sum to 1. `argument` names the culprit.
    """
    config = RecoConfig() if config is None else config
    _check_types(
        representation=(representation, Tensor),
        label_map=(label_map, Tensor),
        probabilities=(probabilities, Tensor),
        config=(config, RecoConfig),
        generator=(generator, torch.Generator),
    )
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

    # Classes with as many queries lie side by side, so that some can be computed at once.
    order = sorted((c for c in classes if len(queries[c])), key=lambda c: len(queries[c]))
    if not order:
        return means.new_zeros(()), labels_N[:0], means[:0]
    cells_P = torch.cat([queries[c] for c in order])
    if config.fresh_keys:
        gradient_PD = gather_cells(representation, cells_P)
        _, lengths = direction_and_length(gradient_PD, out=gradient_PD)
        draw_keys = _fresh_keys(representation, shares, cells, config, generator)
    else:
        pool = sampling.draw_key_pool(shares, cells, config.num_keys, generator)
        # Queries and keys stand in the same lines of memory: fetched together, each line is read once.
        vectors = gather_cells(representation, torch.cat([cells_P, pool.cells]))
        _, lengths = direction_and_length(vectors, out=vectors)
        gradient_PD, keys = vectors[: len(cells_P)], vectors[len(cells_P) :]
        draw_keys = _shared_keys(keys, pool.taken, config.num_keys)
    loss = means.new_zeros(())
    most = len(queries[order[-1]])
    room = Room.to_hold(min(_CLASSES_AT_ONCE * most, max(most, _QUERIES_AT_ONCE)), config.num_keys, gradient_PD)
    first = 0
    for group in _of_equal(order, [len(queries[c]) for c in order]):
        each = len(queries[group[0]])
        weight = 1 / (each * len(classes))
        for part, positive_of, keys in draw_keys(group, each):
            rows = slice(first + part.start, first + part.stop)
            unit_vectors = gradient_PD[rows].view(len(keys), -1, gradient_PD.shape[1])
            # The unit vectors are not needed any more: their gradients take their place.
            value, _ = info_nce(
                unit_vectors,
                lengths[rows].view(len(keys), -1, 1),
                directions[positive_of],
                keys,
                config.temperature,
                weight=weight,
                room=room,
                out=unit_vectors,
            )
            loss += value
        first += each * len(group)
    return loss, cells_P, gradient_PD


def _of_equal(classes: list[int], counts: list[int]) -> Iterator[list[int]]:
    """Neighbouring classes of equal count, as many as go together; one alone may have more than _QUERIES_AT_ONCE."""
    for count, same in groupby(zip(classes, counts, strict=True), key=itemgetter(1)):
        numbers = [c for c, _ in same]
        at_once = max(1, min(_CLASSES_AT_ONCE, _QUERIES_AT_ONCE // count))
        for first in range(0, len(numbers), at_once):
            yield numbers[first : first + at_once]


_Keys = tuple[slice, list[int], Tensor]  # which of the queries, the class of each group, (G, K, D) unit keys


_KeySource = Callable[[list[int], int], Iterator[_Keys]]  # from classes of as many queries, and how many those are


def _fresh_keys(
    representation: Tensor,
    shares_CC: Tensor,
    cells: sampling.ClassCells,
    config: RecoConfig,
    generator: torch.Generator,
) -> _KeySource:
    """A group for each query, with keys of its own."""

    def fresh(classes: list[int], each: int) -> Iterator[_Keys]:
        at_once = max(1, _FRESH_KEYS_AT_ONCE // config.num_keys)
        for position, c in enumerate(classes):
            for first in range(position * each, (position + 1) * each, at_once):
                part = slice(first, min(first + at_once, (position + 1) * each))
                count = part.stop - part.start
                drawn = sampling.draw_negative_keys(shares_CC[c], cells, count * config.num_keys, generator)
                keys = gather_cells(representation, drawn)
                direction_and_length(keys, out=keys)
                yield part, [c] * count, keys.view(count, config.num_keys, -1)

    return fresh


def _shared_keys(keys_KD: Tensor, taken_CK: Tensor, num_keys: int) -> _KeySource:
    """A group for each class, whose queries share the keys that it takes of all."""
    own = keys_KD.new_empty(_CLASSES_AT_ONCE * num_keys, keys_KD.shape[1])

    def shared(classes: list[int], each: int) -> Iterator[_Keys]:
        taken = taken_CK[classes].nonzero()[:, 1]
        found = torch.index_select(keys_KD, 0, taken, out=own[: len(taken)])
        yield slice(0, len(classes) * each), classes, found.view(len(classes), num_keys, -1)

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
    # float64 has numbers that are infinite in float32, in which the contrast is computed.
    if not all(bool(torch.isfinite(image.float()).all()) for image in representation):
        raise InvalidArgument("representation", "holds NaN or infinity, or numbers beyond float32.")
    # Only the sums are too large. Similarities are cosines: the length of a mean does not matter.
    return sampling.class_sums(representation / representation.abs().amax(), labels_N, num_classes)


def _nothing(like: Tensor) -> Tensor:
    """Exactly 0, with a gradient of exactly 0, also where `like` holds huge values."""
    return (like[:0].sum() if like.ndim else like * 0).float()


def _check_labels(argument: str, label_map: Tensor, logits: Tensor) -> None:
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(label_map.shape) != expected or label_map.dtype != torch.int64:
        raise InvalidArgument(argument, f"is {_described(label_map)}; the logits ask {expected} torch.int64.")
    if _has_unknown(label_map, logits.shape[1]):
        raise InvalidArgument(argument, f"holds a value that is no class of {_allowed(logits.shape[1])}.")


def _has_unknown(label_map: Tensor, num_classes: int) -> bool:
    outside = (label_map >= num_classes) & (label_map != VOID) & (label_map != UNLABELLED)
    return bool(((label_map < 0) | outside).any())


def _allowed(num_classes: int) -> str:
    return f"0..{num_classes - 1}, nor {VOID} void, nor {UNLABELLED}"


def _check_types(**arguments: tuple[object, type]) -> None:
    for name, (value, kind) in arguments.items():
        if not isinstance(value, kind):
            raise InvalidArgument(name, f"has to be a {kind.__name__}, not {type(value).__name__}.")


def _check_contrast_arguments(representation: Tensor, label_map: Tensor, probabilities: Tensor) -> None:
    if representation.ndim != 4 or not representation.is_floating_point() or not representation.shape[1]:
        raise InvalidArgument(
            "representation", f"has to be (B, D, h, w) float, D at least 1, not {_described(representation)}."
        )
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
    if _has_unknown(label_map, num_classes):
        raise InvalidArgument("label_map", f"holds a value that is no class of {_allowed(num_classes)}.")
    tolerance = 1e-3 if probabilities.dtype in (torch.float32, torch.float64) else 2e-2
    off = (probabilities.detach().sum(1) - 1).abs().max()
    if not bool(off <= tolerance) or bool(probabilities.detach().amin() < -tolerance):
        raise InvalidArgument("probabilities", "have to be at least 0 and sum to 1 over the classes at each pixel.")


def _described(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype}"
