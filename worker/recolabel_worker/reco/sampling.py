"""Which pixels the contrast looks at: class means, class graph, queries, negative keys. No gradients, no loss.

Letters: B images, C classes, D representation, h w cells at output stride 4, N = B h w cells, Q queries, K keys.
Cells are numbered b h w + y w + x, in one dimension, so that a choice is a vector of int64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recolabel_worker.reco.config import QuerySampling

NO_LENGTH = 1e-12


class ClassCells(NamedTuple):
    """The labelled cells, sorted by class: class c owns `order[start[c] : start[c] + size[c]]`."""

    order: Tensor  # int64, one entry for each labelled cell
    start: Tensor  # (C,) int64
    size: Tensor  # (C,) int64


def uniform(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """`count` numbers in [0, 1), drawn where the generator lives, given where they are needed."""
    return torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64).to(device)


def group_by_class(labels_N: Tensor, num_classes: int) -> ClassCells:
    """Sort cells by class; values of `num_classes` and above (void, unlabelled) belong to none."""
    size = torch.bincount(labels_N.clamp_max(num_classes), minlength=num_classes + 1)[:num_classes]
    # As bytes, labels are sorted four times as fast.
    order = torch.argsort(labels_N.to(torch.uint8), stable=True)[: int(size.sum())]
    return ClassCells(order=order, start=size.cumsum(0) - size, size=size)


def only(cells: ClassCells, labels_N: Tensor, wanted_N: Tensor) -> ClassCells:
    """The cells of each class that are wanted, (N,) bool."""
    order = cells.order[wanted_N[cells.order]]
    size = torch.bincount(labels_N[order], minlength=len(cells.size))
    return ClassCells(order=order, start=size.cumsum(0) - size, size=size)


def class_sums(representation: Tensor, labels_N: Tensor, num_classes: int) -> Tensor:
    """Sum of the representations of each class and, in the last row, of all other cells: (C + 1, D) float32.

    Every number of the representation is in one of the sums, so finite sums prove it finite without a second look.
    """
    images, channels, height, width = representation.shape
    numbers = torch.arange(num_classes + 1, device=representation.device, dtype=torch.uint8)[:, None]
    labels = labels_N.clamp_max(num_classes).to(torch.uint8).view(images, 1, height * width)
    sums = torch.zeros(num_classes + 1, channels, device=representation.device)
    # A matrix product reads the representation once. Who is in which class may take a sixteenth of its memory. What has
    # to be copied first, for its precision or its order in memory, is taken in small parts.
    at_once, channels_at_once = 1, 32
    if representation.dtype == torch.float32:
        channels_at_once = channels
        if representation.is_contiguous() or representation.is_contiguous(memory_format=torch.channels_last):
            at_once = max(1, images * channels // (16 * (num_classes + 1)))
    by_image = torch.split(representation.detach(), at_once)
    for some, their_labels in zip(by_image, torch.split(labels, at_once), strict=True):
        members = (their_labels == numbers).float()
        for part, target in zip(
            torch.split(some.flatten(2), channels_at_once, dim=1),
            torch.split(sums, channels_at_once, dim=1),
            strict=True,
        ):
            target += (members @ part.float().mT).sum(0)
    return sums


def class_means(sums: Tensor, size_C: Tensor) -> Tensor:
    """Mean representation of each class (Eq. 2, positive keys) of its `class_sums`, (C, D); zero if it is absent."""
    return sums[: len(size_C)] / size_C.clamp_min(1)[:, None]


def class_graph(directions_CD: Tensor) -> Tensor:
    """Pairwise cosine similarity of the class means, given as unit vectors: (C, C) in -1..1 (Eq. 3)."""
    return directions_CD @ directions_CD.T


def direction_and_length(x: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Unit vectors along the last dimension, and the lengths (..., 1), at least NO_LENGTH.

    What is shorter than NO_LENGTH has no direction: its vector is shorter than 1.

    Args:
        x: (..., D) float32.
        out: where the unit vectors go, which may be `x` itself; allocated when left out.
    """
    # Numbers beyond 1e19 have squares beyond float32: shorten first. By two looks: a norm of order inf takes ten times
    # as long on the CPU.
    largest = torch.maximum(x.amax(-1, keepdim=True), -x.amin(-1, keepdim=True)).clamp_min(1.0)
    shortened = torch.div(x, largest, out=out)
    length = torch.linalg.vector_norm(shortened, dim=-1, keepdim=True).clamp_min(NO_LENGTH)
    return shortened.div_(length), length * largest


def negative_class_probabilities(graph_CC: Tensor, present_C: Tensor) -> Tensor:
    """Softmax over the class graph without the query's own class (Eq. 3), (C, C); a row without rivals is zero.

    Row c, column c': exp(G[c, c']) / sum over v present, v != c, of exp(G[c, v]); 0 where c' is c or absent.

    Args:
        graph_CC: G, as `class_graph` gives it.
        present_C: (C,) bool.
    """
    return _shares_among_rivals(graph_CC.exp(), present_C)


def negative_cell_shares(size_C: Tensor) -> Tensor:
    """Share of each class among the cells of all other classes, (C, C): every such cell is as likely a key."""
    return _shares_among_rivals(size_C.float().expand(len(size_C), -1), size_C > 0)


def _shares_among_rivals(weights_CC: Tensor, present_C: Tensor) -> Tensor:
    allowed = present_C[None, :] & ~torch.eye(len(present_C), dtype=torch.bool, device=present_C.device)
    weights = torch.where(allowed, weights_CC, 0.0)
    return weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


def query_candidates(label_probability_N: Tensor, sampling: QuerySampling, delta_s: float) -> Tensor:
    """Cells that may become queries by the student's probability of their label, (N,) bool (Eq. 4)."""
    if sampling == "random":
        return torch.ones_like(label_probability_N, dtype=torch.bool)
    hard = label_probability_N < delta_s
    return hard if sampling == "hard" else ~hard


def draw_queries(candidates: ClassCells, num_queries: int, generator: torch.Generator) -> list[Tensor]:
    """Choose candidates of each class uniformly, each at most once: all of them when there are few; in rising order.

    Without replacement, because gradients of a cell drawn twice would be added in whatever order threads arrive.
    """
    chosen = []
    for own in torch.split(candidates.order, candidates.size.tolist()):
        if len(own) > num_queries:
            shuffled = torch.randperm(len(own), generator=generator, device=generator.device)
            own = own[shuffled[:num_queries].sort().values.to(own.device)]
        chosen.append(own)
    return chosen


class KeyPool(NamedTuple):
    """P cells, of which each class takes its negative keys: class c the cells where `taken[c]`."""

    cells: Tensor  # (P,) int64; a cell may stand here twice
    taken: Tensor  # (C, P) bool


def draw_key_pool(shares_CC: Tensor, cells: ClassCells, num_keys: int, generator: torch.Generator) -> KeyPool:
    """Draw `num_keys` negative keys for each class: classes by its row of shares, then their cells uniformly.

    For each class by itself these are independent draws with replacement. Two classes that both draw n cells of a third
    get the same n: a tenth as many cells have to be fetched from memory. A row of zeros gets no key.
    """
    num_classes, device = len(shares_CC), shares_CC.device
    drawn = _draw_classes(shares_CC, num_keys, generator)
    wanted = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
    wanted.scatter_add_(1, drawn, (shares_CC.sum(1, keepdim=True) > 0).expand_as(drawn).long())
    depth = wanted.amax(0)
    classes = torch.repeat_interleave(torch.arange(num_classes, device=device), depth)
    rank = torch.arange(len(classes), device=device) - (depth.cumsum(0) - depth)[classes]
    return KeyPool(_draw_cells(classes, cells, generator), taken=rank < wanted[:, classes])


def draw_negative_keys(shares_C: Tensor, cells: ClassCells, count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` cells, each on its own: a class by its share, then one of its cells uniformly."""
    return _draw_cells(_draw_classes(shares_C[None], count, generator)[0], cells, generator)


def _draw_classes(shares_RC: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(R, count) classes, each row by its own shares."""
    steps = shares_RC.double().cumsum(1)
    chance = uniform(len(steps) * count, generator, steps.device).view(len(steps), count)
    classes = torch.searchsorted(steps, chance * steps[:, -1:], right=True)
    # Rounding could end one class behind the last one that has a share.
    numbers = torch.arange(steps.shape[1], device=steps.device)
    return classes.minimum(torch.where(shares_RC > 0, numbers, 0).amax(1, keepdim=True))


def _draw_cells(classes_P: Tensor, cells: ClassCells, generator: torch.Generator) -> Tensor:
    within = (uniform(len(classes_P), generator, classes_P.device) * cells.size[classes_P]).long()
    return cells.order[cells.start[classes_P] + within]
